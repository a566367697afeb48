//! Messages between a register and its peers: service discovery of gateways.
//!
//! The JSON is GatewayWorker's, extended by fields that peers without support for them ignore:
//!
//! ```text
//! gateway  {"event":"gateway_connect","address":"10.0.0.1:2900","secret_key":"…",
//!           "native":true,"instance":"9f…"}
//! worker   {"event":"worker_connect","secret_key":"…","known":["10.0.0.1:2900"],
//!           "instance":"3c…","settled":[["8e…","3c…"]],
//!           "takeovers":[["8e…","4d…","1f…","3c…","4d…"]],"complete":true}
//! gateway  {"event":"gateway_leave"}
//! any      {"event":"ping","answer":true}
//! operator {"event":"refused_peers","secret_key":"…"}
//! register {"event":"pong"}
//! register {"event":"about","version":"…","uptime":…,"certificates":[…]}
//! register {"event":"probe"}
//! register {"event":"refused","reason":"address_taken","by":"10.0.0.2:43210"}
//! register {"event":"broadcast_addresses","addresses":["10.0.0.1:2900"],
//!           "gateways":[{"address":"10.0.0.1:2900","native":true,"instance":"9f…"}],
//!           "workers":["3c…"],"settled":[["8e…","3c…"]],
//!           "takeovers":[["8e…","4d…","1f…","3c…","4d…"]],"complete":["3c…"]}
//! register {"event":"refused_peers","peers":[
//!           {"from":"10.0.0.3","kind":"gateway","address":"10.0.0.3:2900",
//!            "reason":"wrong_key","times":14,"ago":350}]}
//! ```
//!
//! The additional fields:
//!
//! - `native`: the address supports the native protocol too.
//! - `instance`: the instance of a gateway or a worker, which distinguishes a restart from a lost
//!   link.
//! - `known`: the gateway addresses that the worker received last.
//! - `gateways`: details of gateways that `addresses` cannot hold.
//! - `workers`: the workers that are registered.
//! - `settled`: cleanup records, pairs of a dead gateway and an owner that has closed its clients
//!   on that gateway.
//! - `takeovers`: clients closed by a standby of their owner instead: gateway, standby, digest of
//!   the clients, and their holders in order (see [`Takeover`]).
//! - `complete`: whether a worker reaches every gateway that it received.
//! - `about`: requests a line about the register itself before the list.
//! - `answer`: requests a pong, which no PHP register sends.
//!
//! `workers`, `settled`, `takeovers` and `complete` are sent to workers that state their instance.
//! A gateway sends `gateway_leave`, only to Rust registers, when it shuts down gracefully. Where
//! two gateways announce one address, such a register sends a liveness probe to a gateway
//! (`probe`), and sends the reason when it closes the connection (`refused`). `refused_peers` is
//! answered by Rust registers only: a PHP register closes the connection. Parsing is as lenient
//! as PHP's (other fields, their order, a missing secret); it refuses input that would make PHP
//! fail.

mod about;
mod from_register;
mod notice;
mod refused_peers;
mod to_register;

use serde::Deserialize;

use crate::InstanceId;

pub use about::AboutRegister;
pub use from_register::{FromRegister, Presence, RegisterParseError, bad_request, pong};
pub use notice::GatewayNotice;
pub use refused_peers::{MAX_REFUSED_PEERS, RefusedKind, RefusedPeer, RefusedPeers};
pub use to_register::{GatewayConnect, RequestParseError, ToRegister, WorkerConnect};

/// A gateway as it announced itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Gateway {
    /// The address of its inner port, as `host:port`; the host may be a name.
    pub address: String,
    /// Whether that port supports the native protocol. PHP gateways never set it.
    #[serde(default)]
    pub native: bool,
    /// The gateway's instance.
    #[serde(default)]
    pub instance: Option<InstanceId>,
}

/// All of a worker's clients on a dead gateway have been closed on the gateway's behalf, by the
/// worker itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CleanupRecord {
    /// The instance of the gateway.
    pub gateway: InstanceId,
    /// The worker that owned the clients.
    pub owner: InstanceId,
}

/// A standby has closed clients on a dead gateway, in place of their owner, which is dead as well:
/// all clients on that gateway with these holders, as far as the standby has records of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Takeover {
    /// The instance of the gateway.
    pub gateway: InstanceId,
    /// The standby that closed them.
    pub by: InstanceId,
    /// The [digest](crate::standby::digest) of the clients that it closed: a later standby with
    /// records of other clients closes those, too.
    pub digest: u64,
    /// The owner of the clients, then their standbys, in order.
    pub holders: Vec<InstanceId>,
}

impl Takeover {
    /// As a list of strings: gateway, standby, digest, holders.
    fn to_texts(&self) -> Vec<String> {
        let Self { gateway, by, digest, holders } = self;
        let mut texts = vec![gateway.to_string(), by.to_string(), format!("{digest:016x}")];
        texts.extend(holders.iter().map(ToString::to_string));
        texts
    }

    /// From these strings; `None` if they are invalid.
    fn from_texts(texts: &[String]) -> Option<Self> {
        let [gateway, by, digest, holders @ ..] = texts else { return None };
        let instance = |text: &String| InstanceId::new(text).ok();
        let holders: Option<Vec<_>> = holders.iter().map(instance).collect();
        Some(Self {
            gateway: instance(gateway)?,
            by: instance(by)?,
            digest: u64::from_str_radix(digest, 16).ok()?,
            holders: holders.filter(|it| (2..=MAX_HOLDERS).contains(&it.len()))?,
        })
    }
}

/// Maximum number of holders of a client, including those that it was handed over to.
pub const MAX_HOLDERS: usize = 16;

impl Gateway {
    /// A gateway that supports GatewayWorker's protocol only.
    pub const fn plain(address: String) -> Self {
        Self { address, native: false, instance: None }
    }

    const fn is_plain(&self) -> bool {
        !self.native && self.instance.is_none()
    }
}

/// The longest accepted address, in bytes: each is sent to every worker.
pub const MAX_NAME: usize = 255;
