//! Identifies an instance of a process.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

/// The longest accepted instance id, in bytes: each is sent to every worker.
pub const MAX_INSTANCE: usize = 255;

/// Identifies one instance (incarnation) of a process: a gateway or a worker gets a new one on
/// every start, which distinguishes a restart from a lost link. Chosen at random by the process
/// itself; never empty. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(Arc<str>);

/// Not an instance id: empty, or longer than [`MAX_INSTANCE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an instance has 1 to {MAX_INSTANCE} bytes, not {0}")]
pub struct InvalidInstance(usize);

impl InstanceId {
    /// An instance id received from a peer.
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

    /// A new instance id from a random number.
    pub fn from_random(random: u64) -> Self {
        Self(format!("{random:016x}").into())
    }

    /// The id as sent on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for InstanceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for InstanceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_id_has_a_bounded_nonzero_length() {
        assert!(InstanceId::new("").is_err());
        assert!(InstanceId::new("x".repeat(MAX_INSTANCE)).is_ok());
        assert!(InstanceId::new("x".repeat(MAX_INSTANCE + 1)).is_err());
        assert_eq!(InstanceId::from_random(0x9f).as_str(), "000000000000009f");
    }
}
