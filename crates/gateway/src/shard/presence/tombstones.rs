//! Departures that an owner has not settled yet, oldest first: a value.

use std::collections::VecDeque;

use protocol::{Group, MemberId};

/// Maximum number of departures that are kept; up to twice as many entries while half of them are
/// obsolete.
pub(super) const MOST: usize = 32 * 1024;

/// Entries below which obsolete ones are not looked for.
const FEW: usize = 256;

/// A member that left, or a group if it names none, with a number of its own.
pub(super) type Tombstone = (u64, Group, Option<MemberId>);

/// Names departures in their order. One that has returned, or is settled, stays listed for a while.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    entries: VecDeque<Tombstone>,
    last: u64,
    /// The entries that the last purge left.
    purged: usize,
}

impl Tombstones {
    /// Adds a departure. Returns its number.
    pub(super) fn add(&mut self, group: &Group, member: Option<&MemberId>) -> u64 {
        self.last += 1;
        self.entries.push_back((self.last, group.clone(), member.cloned()));
        self.last
    }

    /// Removes obsolete entries once they may be half of all, and returns the oldest departures if
    /// there are too many. `is_valid` is whether one has not returned and is not settled.
    pub(super) fn excess(&mut self, is_valid: impl Fn(&Tombstone) -> bool) -> Vec<Tombstone> {
        if self.entries.len() <= (2 * self.purged).clamp(FEW, 2 * MOST) {
            return Vec::new();
        }
        let most = if self.entries.len() > 2 * MOST { MOST } else { 2 * MOST };
        self.entries.retain(is_valid);
        let excess = self.entries.len().saturating_sub(most);
        let excess = self.entries.drain(..excess).collect();
        self.purged = self.entries.len();
        if self.entries.capacity() > 4 * self.purged.max(FEW) {
            self.entries.shrink_to(2 * self.purged.max(FEW));
        }
        excess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settled_departures_are_no_longer_listed_once_they_are_half_of_all() {
        let mut tombstones = Tombstones::default();
        let group = Group::try_from("a").unwrap();
        let mut most = 0;
        for number in 1..=10_000 {
            tombstones.add(&group, None);
            // All but the last hundred are settled.
            assert_eq!(tombstones.excess(|(at, ..)| number < at + 100), []);
            most = most.max(tombstones.entries.len());
        }
        assert_eq!(most, FEW);
        assert!(tombstones.entries.capacity() <= 4 * FEW);
        // None is settled: the oldest are in excess beyond twice the bound.
        let mut excess = 0;
        for _ in 0..=2 * MOST {
            tombstones.add(&group, None);
            excess += tombstones.excess(|_| true).len();
        }
        assert!((MOST..MOST + 2 * FEW).contains(&excess), "{excess}");
    }
}
