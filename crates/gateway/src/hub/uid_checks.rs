//! The checks of uids against the limit of connections: a value.
//!
//! After each new binding its uid is checked twice: among this gateway's clients, then by a worker
//! among those of all gateways. A uid is in one check at a time; a binding during a check repeats
//! the check, since the check may not have seen it.

use std::collections::{HashMap, HashSet, VecDeque};

use protocol::{Uid, UidLimit};

use crate::thread_messages::LinkId;

/// Maximum number of checks at the same time.
const RUNNING: usize = 256;

/// Maximum number of uids in a check or waiting for one. Beyond it, all uids are
/// [found again](UidChecks::takes_more) later.
const PENDING: usize = 16 * 1024;

/// Maximum number of uids that wait for a worker. Beyond it, the same.
const PARKED: usize = 4 * 1024;

/// The checks of a gateway.
#[derive(Debug)]
pub(super) struct UidChecks {
    pub(super) limit: UidLimit,
    // Uids are untrusted input, so their hash is keyed.
    pending: HashMap<Uid, Check>,
    /// The uids whose check has not begun.
    queue: VecDeque<Uid>,
    /// Number of checks that have begun.
    running: usize,
    /// Uids that were checked here while no worker was linked.
    parked: HashSet<Uid>,
    /// Whether bindings were left out for want of room.
    incomplete: bool,
    /// The number of the last check by a worker.
    last: u64,
}

#[derive(Debug)]
struct Check {
    stage: Stage,
    /// Whether the uid was bound to a client since the check has begun.
    again: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Queued,
    /// Shards are asked for their clients.
    Here,
    /// A worker asks all gateways.
    Worker(LinkId, u64),
}

impl UidChecks {
    pub(super) fn new(limit: UidLimit) -> Self {
        Self {
            limit,
            pending: HashMap::new(),
            queue: VecDeque::new(),
            running: 0,
            parked: HashSet::new(),
            incomplete: false,
            last: 0,
        }
    }

    /// A client was bound to the uid.
    pub(super) fn bound(&mut self, uid: Uid) {
        if let Some(check) = self.pending.get_mut(&uid) {
            check.again = check.stage != Stage::Queued;
        } else if self.pending.len() < PENDING {
            self.queue.push_back(uid.clone());
            self.pending.insert(uid, Check { stage: Stage::Queued, again: false });
        } else {
            self.incomplete = true;
        }
    }

    /// The next uid whose clients here are to be compared with the limit, if there is room for
    /// another check.
    pub(super) fn next(&mut self) -> Option<Uid> {
        if RUNNING <= self.running {
            return None;
        }
        let uid = self.queue.pop_front()?;
        if let Some(check) = self.pending.get_mut(&uid) {
            check.stage = Stage::Here;
            self.running += 1;
        }
        Some(uid)
    }

    /// The clients here are within the limit. Returns the number of the check that this worker is
    /// to be asked for; `None` if the uid has no client here any more, or no worker is linked.
    pub(super) fn checked_here(
        &mut self,
        uid: &Uid,
        has_clients: bool,
        worker: Option<LinkId>,
    ) -> Option<u64> {
        let check = self.pending.get_mut(uid).filter(|check| check.stage == Stage::Here)?;
        match worker {
            Some(worker) if has_clients => {
                self.last += 1;
                check.stage = Stage::Worker(worker, self.last);
                Some(self.last)
            }
            Some(_) => {
                self.end(uid);
                None
            }
            None => {
                if has_clients {
                    self.park(uid);
                }
                self.end(uid);
                None
            }
        }
    }

    /// A worker has completed a check. Other answers of it are obsolete.
    pub(super) fn checked(&mut self, by: LinkId, number: u64, uid: &Uid) {
        let check = self.pending.get(uid);
        if check.is_some_and(|check| check.stage == Stage::Worker(by, number)) {
            self.end(uid);
        }
    }

    /// The link of a worker has ended: its checks are repeated.
    pub(super) fn link_ended(&mut self, link: LinkId) {
        let mut ended = Vec::new();
        for (uid, check) in &mut self.pending {
            if let Stage::Worker(by, number) = check.stage
                && by == link
            {
                *check = Check { stage: Stage::Queued, again: false };
                self.running -= 1;
                ended.push((number, uid.clone()));
            }
        }
        // In the order in which they began.
        ended.sort_unstable_by_key(|(number, _)| *number);
        self.queue.extend(ended.into_iter().map(|(_, uid)| uid));
    }

    /// A worker that can check uids is linked.
    pub(super) fn worker_linked(&mut self) {
        // Sorted, so that the order does not depend on the key of the hash.
        let mut parked: Vec<_> = std::mem::take(&mut self.parked).into_iter().collect();
        parked.sort_unstable();
        for uid in parked {
            self.bound(uid);
        }
    }

    /// Every uid is to be found again, and checked as if it were bound now.
    pub(super) fn set_incomplete(&mut self) {
        self.incomplete = true;
    }

    /// Number of uids in a check or waiting for one.
    pub(super) fn len(&self) -> usize {
        self.pending.len() + self.parked.len()
    }

    /// Whether bindings were left out.
    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// The same; it is no longer from here on.
    pub(super) fn take_incomplete(&mut self) -> bool {
        std::mem::take(&mut self.incomplete)
    }

    /// Whether there is room for so many found uids, and for as many that are bound meanwhile.
    pub(super) fn takes_more(&self, count: usize) -> bool {
        self.pending.len() + 2 * count <= PENDING
    }

    fn park(&mut self, uid: &Uid) {
        match self.parked.len() < PARKED {
            true => drop(self.parked.insert(uid.clone())),
            false => self.incomplete = true,
        }
    }

    fn end(&mut self, uid: &Uid) {
        self.running -= 1;
        match self.pending.get_mut(uid) {
            Some(check) if check.again => {
                *check = Check { stage: Stage::Queued, again: false };
                self.queue.push_back(uid.clone());
            }
            _ => drop(self.pending.remove(uid)),
        }
    }
}

#[cfg(test)]
mod tests;
