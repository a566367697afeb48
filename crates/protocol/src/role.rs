//! The roles of native peers.

use serde::{Deserialize, Serialize};

use crate::InstanceId;

/// The role of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Receives events. `key` is `name:id`; the gateway prefixes it with the peer's IP, and a newer
    /// link of the same key replaces the older. `instance` is the worker's instance.
    Worker { key: String, instance: InstanceId },
    /// Sends commands and queries only. `instance` is the back end's instance.
    Backend { instance: InstanceId },
}

impl Role {
    /// The instance of the peer.
    pub const fn instance(&self) -> &InstanceId {
        match self {
            Self::Worker { instance, .. } | Self::Backend { instance } => instance,
        }
    }
}
