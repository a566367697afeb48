//! The status of a shard: what its connections hold, added up some at a time.

use std::hash::{DefaultHasher, Hash, Hasher};

use protocol::inspect::ThreadStatus;

use crate::{
    inspection::ShardStatus,
    shard::{Shard, slot::SlotKey},
};

/// Most groups, or uids, of a shard that are compared with those of other shards: more would take
/// too long in one step.
const MAX_NAMES: usize = 16 * 1024;

/// The connections so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StatusSweep {
    /// The next slot.
    at: usize,
    slow: u64,
    paused: u64,
    queued: u64,
}

impl Shard {
    /// Adds up the next connections. Returns whether there may be more.
    pub(super) fn sweep_status(&self, sweep: &mut StatusSweep, most: usize) -> bool {
        let end = self.connections.slots().min(sweep.at + most);
        for key in sweep.at..end {
            let Some(connection) = self.connections.get(key as SlotKey) else { continue };
            let queued = connection.queued();
            sweep.queued += queued as u64;
            if connection.id.is_some() {
                sweep.slow += u64::from(0 < queued && connection.is_blocked());
                sweep.paused += u64::from(!connection.gate.may_read());
            }
        }
        sweep.at = end;
        end < self.connections.slots()
    }

    /// The status, after all connections were added up.
    pub(super) fn status(&self, sweep: StatusSweep) -> ShardStatus {
        let thread = ThreadStatus {
            clients: self.directory.len() as u64,
            groups: self.directory.group_count() as u64,
            uids: self.directory.uid_count() as u64,
            slow_clients: sweep.slow,
            paused_clients: sweep.paused,
            queue_bytes: sweep.queued,
            unassigned_bytes: self.delivery.held() as u64,
            pressed: self.pressure.budget.is_pressed(),
        };
        let compares = 1 < self.gateway.shards.len()
            && self.directory.group_count().max(self.directory.uid_count()) <= MAX_NAMES;
        let (uids, groups) = self.directory.names();
        let names = compares.then(|| {
            (
                groups.map(|it| hash(it.as_bytes())).collect(),
                uids.map(|it| hash(it.as_bytes())).collect(),
            )
        });
        let window = self.delivery.windows(&self.pressure.budget).total;
        ShardStatus { thread, workers: self.delivery.workers.loads(), window, names }
    }
}

/// The same for a name on every shard.
fn hash(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
