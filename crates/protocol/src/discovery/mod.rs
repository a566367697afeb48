//! What is said to and by a register: who is a gateway, and where.
//!
//! The JSON is GatewayWorker's; our own fields stand beside it, and peers that do not know them
//! do not see them:
//!
//! ```text
//! gateway  {"event":"gateway_connect","address":"10.0.0.1:2900","secret_key":"…",
//!           "native":true,"instance":"9f…"}
//! worker   {"event":"worker_connect","secret_key":"…","known":["10.0.0.1:2900"],
//!           "instance":"3c…","settled":[["8e…","3c…"]],
//!           "takeovers":[["8e…","4d…","1f…","3c…","4d…"]],"complete":true}
//! gateway  {"event":"gateway_leave"}
//! any      {"event":"ping","answer":true}
//! register {"event":"pong"}
//! register {"event":"probe"}
//! register {"event":"refused","reason":"address_taken","by":"10.0.0.2:43210"}
//! register {"event":"broadcast_addresses","addresses":["10.0.0.1:2900"],
//!           "gateways":[{"address":"10.0.0.1:2900","native":true,"instance":"9f…"}],
//!           "workers":["3c…"],"settled":[["8e…","3c…"]],
//!           "takeovers":[["8e…","4d…","1f…","3c…","4d…"]],"complete":["3c…"]}
//! ```
//!
//! Our fields say: `native`, that the address speaks our native wire too; `instance`, which life
//! of a gateway or a worker this is, so that a restart can be told from a lost link; `known`, what
//! the worker was last told; `gateways`, what `addresses` cannot; `workers`, which workers are there;
//! `settled`, on which gateways that are gone whose clients have been closed, by the worker that had
//! them; `takeovers`, which of them by a standby of that worker: gateway, standby, digest of the
//! clients, and their holders in order (see [`Takeover`]); `complete`, whether a worker reaches every
//! gateway that it was told of. The last four are told to workers that introduce themselves. `answer`
//! asks for a pong, which no PHP register sends. A gateway says `gateway_leave`, only to registers of
//! ours, when it goes down in order; such a register asks a gateway for a sign of life (`probe`), and
//! says why it closes (`refused`), where two gateways announce one address. Parsing forgives what PHP
//! forgives
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

/// A standby has closed clients on a gateway that is gone, in place of their owner, which is gone as
/// well: all clients on that gateway which have these holders, as far as the standby knows them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Takeover {
    /// The instance of the gateway.
    pub gateway: Instance,
    /// The standby that has closed them.
    pub by: Instance,
    /// The [digest](crate::standby::digest) of the clients that it has closed: a later standby that
    /// knows of other clients closes these, too.
    pub digest: u64,
    /// The owner of the clients, then their standbys, in order.
    pub holders: Vec<Instance>,
}

impl Takeover {
    /// As the texts of a list: gateway, standby, digest, holders.
    fn to_texts(&self) -> Vec<String> {
        let Self { gateway, by, digest, holders } = self;
        let mut texts = vec![gateway.to_string(), by.to_string(), format!("{digest:016x}")];
        texts.extend(holders.iter().map(ToString::to_string));
        texts
    }

    /// From these texts; `None` if they are something else.
    fn from_texts(texts: &[String]) -> Option<Self> {
        let [gateway, by, digest, holders @ ..] = texts else { return None };
        let instance = |text: &String| Instance::new(text).ok();
        let holders: Option<Vec<_>> = holders.iter().map(instance).collect();
        Some(Self {
            gateway: instance(gateway)?,
            by: instance(by)?,
            digest: u64::from_str_radix(digest, 16).ok()?,
            holders: holders.filter(|it| (2..=MAX_HOLDERS).contains(&it.len()))?,
        })
    }
}

/// How many holders a client has at most, those that it was handed over to included.
pub const MAX_HOLDERS: usize = 16;

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
