//! Each client of a native worker has standbys: other workers that are informed of the client, so
//! that one of them can emit its close event if its owner and this gateway die.
//!
//! A standby learns of a client before the client's owner does, and is released only once the owner
//! has acknowledged the close event. Registrations, and changes of the workers that have the
//! client, are sent immediately; sessions follow, each a few times a second at most. The updates in
//! flight are limited (`AHEAD`): a client that connects while a standby is at that limit is
//! sent to its owner first. See `docs/guarantees.md`.

mod feed;
mod set;
mod updates;

use protocol::{ConnectionId, standby::StandbyClient};
use rustc_hash::FxHashMap;

pub(super) use self::{feed::Feed, set::Standbys};

/// Standby state of a shard that is no part of a connection.
#[derive(Debug, Default)]
pub(super) struct StandbyState {
    /// Disconnected clients, until a worker has acknowledged the close event.
    closing: FxHashMap<ConnectionId, ClosingClient>,
    /// The next slot that the sweep checks for a client without an owner or standby, while one is
    /// running.
    sweep: Option<usize>,
}

/// A disconnected client whose close event is not acknowledged yet.
#[derive(Debug)]
struct ClosingClient {
    client: StandbyClient,
    standbys: Standbys,
}
