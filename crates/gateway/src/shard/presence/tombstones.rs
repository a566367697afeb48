//! Departures that an owner has not settled yet, oldest first: a value.

use std::collections::VecDeque;

use protocol::{Group, MemberId};

/// Maximum number of departures that are kept; up to twice as many entries while half of them are
/// obsolete.
pub(super) const MOST: usize = 32 * 1024;

/// A member that left, or a group if it names none, with a number of its own.
pub(super) type Tombstone = (u64, Group, Option<MemberId>);

/// Names departures in their order. One that has returned, or is settled, stays listed for a while.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    entries: VecDeque<Tombstone>,
    last: u64,
}

impl Tombstones {
    /// Adds a departure. Returns its number.
    pub(super) fn add(&mut self, group: &Group, member: Option<&MemberId>) -> u64 {
        self.last += 1;
        self.entries.push_back((self.last, group.clone(), member.cloned()));
        self.last
    }

    /// The oldest departures, if there are too many. `is_valid` is whether one has not returned and
    /// is not settled.
    pub(super) fn excess(&mut self, is_valid: impl Fn(&Tombstone) -> bool) -> Vec<Tombstone> {
        if self.entries.len() <= 2 * MOST {
            return Vec::new();
        }
        self.entries.retain(is_valid);
        let excess = self.entries.len().saturating_sub(MOST);
        self.entries.drain(..excess).collect()
    }
}
