//! The parts that shards contribute to the answers that operators get, and the means by which
//! operators act on the process.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use protocol::{
    ConnectionId,
    inspect::{ClientDetails, ThreadStatus, TracedFate},
};
use runtime::tls::Reload;
use tokio_util::sync::CancellationToken;

use crate::thread_messages::{LinkId, Ordinal};

/// The time between two moments, in microseconds.
pub(crate) fn micros(now: Instant, since: Instant) -> u64 {
    let time = now.saturating_duration_since(since).as_micros();
    u64::try_from(time).unwrap_or(u64::MAX)
}

/// The status of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShardStatus {
    pub(crate) thread: ThreadStatus,
    pub(crate) workers: Vec<WorkerLoad>,
    /// The most bytes that each of them may leave unacknowledged.
    pub(crate) window: usize,
    /// Hashes of its groups and uids, if they are few and other shards may have the same.
    pub(crate) names: Option<(Vec<u64>, Vec<u64>)>,
}

/// The events of a shard that a worker has not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerLoad {
    pub(crate) link: LinkId,
    pub(crate) in_flight: u64,
    pub(crate) bytes: usize,
    /// Since when it has acknowledged none of them.
    pub(crate) unmoved_since: Option<Instant>,
    /// Whether it takes no new ones.
    pub(crate) leaving: bool,
}

/// A shard's part of a page of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardPage {
    /// In the order in which they have connected.
    pub(crate) clients: Vec<(Ordinal, ClientDetails)>,
    /// Whether the shard has more of them behind the last one.
    pub(crate) more: bool,
}

/// The steps of a push on a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShardTrace {
    /// The number of the shard.
    pub(crate) thread: u16,
    /// When it has taken the push.
    pub(crate) taken: Instant,
    /// Clients that it was for.
    pub(crate) matched: u64,
    /// Some of them: the microseconds from `taken` until it was queued, the bytes queued before it,
    /// and its fate.
    pub(crate) clients: Vec<(ConnectionId, u64, u64, TracedFate)>,
}

/// The means by which operators act on the process.
#[derive(Debug, Default)]
pub(crate) struct Operators {
    /// Cancelled when a peer asks the gateway to drain.
    pub(crate) drain: CancellationToken,
    /// The effective settings as TOML, without secrets.
    pub(crate) settings: OnceLock<String>,
    /// Files in use, some of which are certificates.
    pub(crate) files: OnceLock<Vec<Arc<dyn Reload>>>,
}
