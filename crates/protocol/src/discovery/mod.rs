//! What is said to and by a register: who is a gateway, and where.
//!
//! The JSON is GatewayWorker's; our own fields stand beside it, and peers that do not know them
//! do not see them:
//!
//! ```text
//! gateway  {"event":"gateway_connect","address":"10.0.0.1:2900","secret_key":"…",
//!           "native":true,"instance":"9f…"}
//! worker   {"event":"worker_connect","secret_key":"…","known":["10.0.0.1:2900"],
//!           "instance":"3c…","settled":[["8e…","3c…"]]}
//! gateway  {"event":"gateway_leave"}
//! any      {"event":"ping","answer":true}
//! register {"event":"pong"}
//! register {"event":"probe"}
//! register {"event":"refused","reason":"address_taken","by":"10.0.0.2:43210"}
//! register {"event":"broadcast_addresses","addresses":["10.0.0.1:2900"],
//!           "gateways":[{"address":"10.0.0.1:2900","native":true,"instance":"9f…"}],
//!           "workers":["3c…"],"settled":[["8e…","3c…"]]}
//! ```
//!
//! Our fields say: `native`, that the address speaks our native wire too; `instance`, which life
//! of a gateway or a worker this is, so that a restart can be told from a lost link; `known`, what
//! the worker was last told; `gateways`, what `addresses` cannot; `workers`, which workers are there;
//! `settled`, on which gateways that are gone whose clients have been closed. The last two are
//! told to workers that say who they are. `answer` asks for a pong, which no PHP register sends.
//! A gateway says `gateway_leave`, only to registers of ours, when it goes down in order; such a
//! register asks a gateway for a sign of life (`probe`), and says why it closes (`refused`), where two
//! gateways announce one address. Parsing forgives what PHP forgives
//! (other fields, their order, a missing secret); it refuses what PHP would trip over.

mod from_register;
mod notice;
mod to_register;

use serde::Deserialize;

use crate::Instance;

pub use from_register::{FromRegister, Incomprehensible, Presence, bad_request, pong};
pub use notice::GatewayNotice;
pub use to_register::{GatewayConnect, ToRegister, Unusable, WorkerConnect};

/// A gateway as it announced itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Gateway {
    /// Where its inner port is, as `host:port`; the host may be a name.
    pub address: String,
    /// Whether that port speaks our native wire. PHP gateways never say so.
    #[serde(default)]
    pub native: bool,
    /// Which life of the gateway this is.
    #[serde(default)]
    pub instance: Option<Instance>,
}

/// All of a worker's clients on a gateway that is gone have been closed on the gateway's behalf, by
/// the worker itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settled {
    /// The life of the gateway.
    pub gateway: Instance,
    /// The worker that the clients belonged to.
    pub owner: Instance,
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

/// The longest address taken, in bytes: each is told to every worker.
pub const MAX_NAME: usize = 255;
