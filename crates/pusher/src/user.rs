//! The ids of users.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use thiserror::Error;

/// The longest id of a user, in bytes.
pub const MAX_USER_ID: usize = 128;

/// The id of a user, as an application signs it: not empty, at most [`MAX_USER_ID`] bytes, no
/// control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct UserId(Box<str>);

/// Not the id of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidUserId {
    /// No id at all.
    #[error("the user id is empty")]
    Empty,
    /// Longer than [`MAX_USER_ID`].
    #[error("the user id has {0} bytes, the maximum is {MAX_USER_ID}")]
    TooLong(usize),
    /// A control character.
    #[error("the user id has a control character")]
    Control,
}

impl UserId {
    /// Reads an id.
    ///
    /// # Errors
    /// If it is invalid.
    pub fn parse(id: &str) -> Result<Self, InvalidUserId> {
        match id.len() {
            0 => Err(InvalidUserId::Empty),
            long if MAX_USER_ID < long => Err(InvalidUserId::TooLong(long)),
            _ if id.chars().any(char::is_control) => Err(InvalidUserId::Control),
            _ => Ok(Self(id.into())),
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_id_is_bounded_and_without_control_characters() {
        for (id, error) in [
            (String::new(), InvalidUserId::Empty),
            ("x".repeat(129), InvalidUserId::TooLong(129)),
            ("a\u{7}".to_owned(), InvalidUserId::Control),
            ("a\u{85}".to_owned(), InvalidUserId::Control),
        ] {
            assert_eq!(UserId::parse(&id).unwrap_err(), error);
            assert!(serde_json::from_value::<UserId>(id.into()).is_err());
        }
        for id in ["7", "ann é 字 !:#", &"x".repeat(128)] {
            assert_eq!(UserId::parse(id).unwrap().as_str(), id);
        }
    }
}
