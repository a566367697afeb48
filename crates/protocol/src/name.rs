//! Names assigned by an application: the uid and the groups of a client.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

/// The longest name, in bytes. A name stays in memory as long as a client has it.
pub const MAX_NAME: usize = 1024;

/// Not a name: empty, or longer than [`MAX_NAME`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// No bytes at all.
    #[error("a name is never empty")]
    Empty,
    /// Longer than [`MAX_NAME`].
    #[error("a name of {0} bytes is longer than {MAX_NAME}")]
    TooLong(usize),
}

/// A name in a human-readable format: text, or bytes if it is not UTF-8.
#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrBytes {
    Text(String),
    Bytes(Vec<u8>),
}

/// The decimal digits of a number are a name.
macro_rules! from_integers {
    ($name:ident: $($integer:ty)*) => {$(
        impl From<$integer> for $name {
            fn from(number: $integer) -> Self {
                Self(number.to_string().into_bytes().into())
            }
        }
    )*};
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Any bytes, usually UTF-8, since PHP peers may name things in any encoding. Cheap to
        /// clone.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<[u8]>);

        impl $name {
            /// Validates a name.
            ///
            /// # Errors
            /// When it is empty or longer than [`MAX_NAME`].
            pub fn new(name: impl AsRef<[u8]>) -> Result<Self, InvalidName> {
                match name.as_ref() {
                    [] => Err(InvalidName::Empty),
                    long if MAX_NAME < long.len() => Err(InvalidName::TooLong(long.len())),
                    name => Ok(Self(name.into())),
                }
            }

            /// Approximate memory that it takes in a list, in bytes.
            pub fn weight(&self) -> usize {
                // The pointer, plus reference counts and allocator overhead.
                size_of::<Self>() + 32 + self.0.len()
            }

            /// The name's bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// The name as text, if it is UTF-8. `Display` replaces what is not.
            pub fn as_str(&self) -> Option<&str> {
                std::str::from_utf8(&self.0).ok()
            }
        }

        impl Borrow<[u8]> for $name {
            fn borrow(&self) -> &[u8] {
                &self.0
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidName;

            fn try_from(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(name: String) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl TryFrom<&String> for $name {
            type Error = InvalidName;

            fn try_from(name: &String) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = InvalidName;

            fn try_from(name: &[u8]) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl From<&Self> for $name {
            fn from(name: &Self) -> Self {
                name.clone()
            }
        }

        from_integers!($name: u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                String::from_utf8_lossy(&self.0).fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), String::from_utf8_lossy(&self.0))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self.as_str() {
                    Some(text) if serializer.is_human_readable() => serializer.serialize_str(text),
                    _ => serializer.serialize_bytes(&self.0),
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    return match TextOrBytes::deserialize(deserializer)? {
                        TextOrBytes::Text(text) => Self::new(text),
                        TextOrBytes::Bytes(bytes) => Self::new(bytes),
                    }
                    .map_err(D::Error::custom);
                }
                let bytes = <&serde_bytes::Bytes>::deserialize(deserializer)?;
                Self::new(&**bytes).map_err(D::Error::custom)
            }
        }
    };
}

name! {
    /// The application's user id of a client. A client has at most one; a uid may have many
    /// clients.
    Uid
}

name! {
    /// A group that clients join to receive messages together. It exists while it has members.
    Group
}

name! {
    /// The id of a client's token (`jti`).
    TokenId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_text_and_names_are_names() {
        let forty_two = Uid::new("42").unwrap();
        assert_eq!(Uid::from(42), forty_two);
        assert_eq!(Uid::try_from(&"42".to_owned()).unwrap(), forty_two);
        assert_eq!(Uid::from(&forty_two), forty_two);
        assert_eq!(Group::from(-1_i64).as_str(), Some("-1"));
    }

    #[test]
    fn name_is_text_in_json() {
        for (name, json) in [(Uid::from(42), r#""42""#), (Uid::new([0xff]).unwrap(), "[255]")] {
            assert_eq!(serde_json::to_string(&name).unwrap(), json);
            assert_eq!(serde_json::from_str::<Uid>(json).unwrap(), name);
        }
        assert!(serde_json::from_str::<Uid>(r#""""#).is_err());
    }

    #[test]
    fn name_length_is_bounded() {
        assert_eq!(Uid::new(""), Err(InvalidName::Empty));
        assert_eq!(Group::new([0xff]).unwrap().as_bytes(), [0xff]);
        assert!(Group::new("x".repeat(MAX_NAME)).is_ok());
        assert_eq!(Group::new("x".repeat(MAX_NAME + 1)), Err(InvalidName::TooLong(MAX_NAME + 1)));
    }
}
