//! What is said to and by a register: who is a gateway, and where.
//!
//! The JSON is GatewayWorker's; our own fields stand beside it, and peers that do not know them
//! do not see them:
//!
//! ```text
//! gateway  {"event":"gateway_connect","address":"10.0.0.1:2900","secret_key":"…",
//!           "native":true,"instance":"9f…"}
//! worker   {"event":"worker_connect","secret_key":"…","known":["10.0.0.1:2900"]}
//! any      {"event":"ping"}
//! register {"event":"broadcast_addresses","addresses":["10.0.0.1:2900"],
//!           "gateways":[{"address":"10.0.0.1:2900","native":true,"instance":"9f…"}]}
//! ```
//!
//! Our fields say: `native`, that the address speaks our native wire too; `instance`, which life
//! of a gateway this is, so that a restart can be told from a lost link; `known`, what the worker
//! was last told; `gateways`, what `addresses` cannot. Parsing forgives what PHP forgives
//! (other fields, their order, a missing secret); it refuses what PHP would trip over.

mod from_register;
mod to_register;

use serde::Deserialize;

pub use from_register::{FromRegister, Incomprehensible, bad_request};
pub use to_register::{GatewayConnect, ToRegister, Unusable, WorkerConnect};

/// A gateway as it announced itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Gateway {
    /// Where its inner port is, as `host:port`. Not checked here: PHP peers may use names.
    pub address: String,
    /// Whether that port speaks our native wire. PHP gateways never say so.
    #[serde(default)]
    pub native: bool,
    /// Which life of the gateway this is.
    #[serde(default)]
    pub instance: Option<String>,
}

impl Gateway {
    /// One that speaks GatewayWorker's protocol only.
    pub const fn plain(address: String) -> Self {
        Self { address, native: false, instance: None }
    }

    const fn is_plain(&self) -> bool {
        !self.native && self.instance.is_none()
    }
}

/// The longest address and the longest instance taken, in bytes: each is told to every worker.
pub const MAX_NAME: usize = 255;
