//! Where a store is, as the settings say it.

use std::{fmt, path::PathBuf, str::FromStr};

use thiserror::Error;

/// The store that a process uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreAddress {
    /// `none`: nothing is kept.
    #[default]
    None,
    /// `sqlite:PATH`: a file, shared by the workers of one host.
    Sqlite(PathBuf),
}

/// Not the address of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a store is sqlite:PATH, such as sqlite:/var/lib/push-suite/streams.db, or none")]
pub struct InvalidAddress;

impl FromStr for StoreAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ => Err(InvalidAddress),
        }
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_shown() {
        for text in ["none", "sqlite:streams.db", "sqlite:/var/lib/a:b.db", "sqlite:///data/s.db"] {
            let address: StoreAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        let path = StoreAddress::Sqlite("streams.db".into());
        assert_eq!("sqlite:streams.db".parse(), Ok(path));
    }

    #[test]
    fn other_texts_are_refused_with_the_forms_that_exist() {
        for text in ["", "None", "sqlite", "sqlite:", "streams.db", "/streams.db", "mysql://host"] {
            let error = text.parse::<StoreAddress>().unwrap_err().to_string();
            assert!(error.contains("sqlite:PATH"), "{text}: {error}");
        }
    }
}
