//! Where a store is, as the settings say it.

use std::{fmt, path::PathBuf, str::FromStr};

use thiserror::Error;

#[cfg(feature = "redis")]
use crate::{InvalidRedisAddress, RedisAddress};

/// The store that a process uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreAddress {
    /// `none`: nothing is kept.
    #[default]
    None,
    /// `sqlite:PATH`: a file, shared by the workers of one host.
    Sqlite(PathBuf),
    /// `redis://…` or `rediss://…`: a server, shared by the workers of several hosts.
    #[cfg(feature = "redis")]
    Redis(RedisAddress),
}

/// Not the address of a store. Shows nothing of it, since it may have a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidAddress {
    /// Of no kind of store.
    #[error(
        "a store is sqlite:PATH (such as sqlite:/var/lib/push-suite/streams.db), redis://HOST:PORT, \
         or none"
    )]
    Kind,
    /// Of Redis, and invalid.
    #[cfg(feature = "redis")]
    #[error(transparent)]
    Redis(#[from] InvalidRedisAddress),
}

impl FromStr for StoreAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            #[cfg(feature = "redis")]
            Some(("redis" | "rediss", _)) => Ok(Self::Redis(text.parse()?)),
            _ => Err(InvalidAddress::Kind),
        }
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            #[cfg(feature = "redis")]
            Self::Redis(address) => address.fmt(f),
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
        #[cfg(feature = "redis")]
        for text in ["redis://cache:6379", "rediss://10.0.0.1:6380/2"] {
            assert_eq!(text.parse::<StoreAddress>().unwrap().to_string(), text);
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
