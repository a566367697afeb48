//! Which life of a process this is.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

/// The longest instance taken, in bytes: each is told to every worker.
pub const MAX_INSTANCE: usize = 255;

/// Names one life of a process: a gateway or a worker that is restarted has another, so that a
/// restart can be told from a lost link. Chosen at random by whoever it names; never empty. Cheap
/// to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(Arc<str>);

/// Not an instance: empty, or longer than [`MAX_INSTANCE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an instance has 1 to {MAX_INSTANCE} bytes, not {0}")]
pub struct InvalidInstance(usize);

impl Instance {
    /// Takes an instance as somebody else gave it.
    ///
    /// # Errors
    /// When it is empty or longer than [`MAX_INSTANCE`].
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidInstance> {
        let text = text.as_ref();
        match text.len() {
            1..=MAX_INSTANCE => Ok(Self(text.into())),
            length => Err(InvalidInstance(length)),
        }
    }

    /// A new one, if `dice` are random.
    pub fn from_dice(dice: u64) -> Self {
        Self(format!("{dice:016x}").into())
    }

    /// As it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Instance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Instance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_empty_and_never_long() {
        assert!(Instance::new("").is_err());
        assert!(Instance::new("x".repeat(MAX_INSTANCE)).is_ok());
        assert!(Instance::new("x".repeat(MAX_INSTANCE + 1)).is_err());
        assert_eq!(Instance::from_dice(0x9f).as_str(), "000000000000009f");
    }
}
