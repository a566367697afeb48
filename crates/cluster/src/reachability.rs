//! Whether a worker reaches every gateway, and when it leaves its clients' events to workers that
//! do: a value.
//!
//! Messages that a handler sends to a uid, a group or all clients wait for an unreachable gateway,
//! and so does the acknowledgement of the event. If that lasts while another worker reaches every
//! gateway, this one becomes *passive*: it stays linked, sends commands and queries, and takes no
//! events; gateways reassign its clients and unfinished events. It becomes active again once it
//! reaches every gateway, or no other worker does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a gateway must be unreachable, as a fraction of the grace period, until that is
/// announced, and until this worker becomes passive. In between, other workers announce that they
/// have lost the same gateway, in which case they are no better. Both end before the grace period
/// does.
const ANNOUNCE_AFTER: f64 = 1.0 / 3.0;
const PASSIVE_AFTER: f64 = 3.0 / 4.0;

/// Maximum age of registers' data on other workers, and how often it is refreshed, as fractions of
/// the grace period: a stalled register keeps reporting outdated states of workers. When this
/// worker may become passive, data that counts is newer than the time at which others were due to
/// announce that they miss the same gateway.
const MAX_AGE: f64 = 1.0 / 4.0;
const REFRESH_INTERVAL: f64 = 1.0 / 10.0;

/// Reachability of the gateways from this worker.
#[derive(Debug)]
pub(crate) struct Reachability {
    grace: Duration,
    /// Gateways that registers list and that are not linked, and since when.
    missing: Vec<(Arc<str>, Instant)>,
    /// Whether all were linked at some time since this worker was last passive.
    was_complete: bool,
    complete: bool,
    passive: bool,
    /// When registers were last queried for the reachability of others, while it matters.
    refreshed_at: Option<Instant>,
}

/// A change of state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Announce to registers whether this worker reaches every gateway, and refresh the data on
    /// others.
    pub(crate) announce: bool,
    /// The worker becomes passive, or active.
    pub(crate) passive: Option<bool>,
}

impl Reachability {
    pub(crate) fn new(grace: Duration) -> Self {
        let (was_complete, complete, passive) = (false, false, false);
        Self { grace, missing: Vec::new(), was_complete, complete, passive, refreshed_at: None }
    }

    /// Data from registers older than this is ignored. `None` if all counts.
    pub(crate) fn recent(&self, now: Instant) -> Option<Instant> {
        now.checked_sub(self.grace.mul_f64(MAX_AGE))
    }

    /// Whether this worker takes events and reaches every gateway, or did a moment ago.
    pub(crate) const fn is_complete(&self) -> bool {
        self.complete
    }

    /// The gateway that has been unreachable for the longest.
    pub(crate) fn longest_missing(&self) -> Option<&Arc<str>> {
        self.missing.iter().min_by_key(|(_, since)| *since).map(|(gateway, _)| gateway)
    }

    /// Updates which gateways are `missing`, whether some are linked, and whether `others` reach
    /// all, according to [recent](Self::recent) data.
    pub(crate) fn update(
        &mut self,
        missing: &[Arc<str>],
        linked: bool,
        others: bool,
        now: Instant,
    ) -> Change {
        self.missing.retain(|(gateway, _)| missing.contains(gateway));
        for gateway in missing {
            if !self.missing.iter().any(|(known, _)| known == gateway) {
                self.missing.push((Arc::clone(gateway), now));
            }
        }
        self.was_complete |= linked && missing.is_empty();
        let before = (self.complete, self.passive);
        if self.passive && (!others || linked && missing.is_empty()) {
            (self.passive, self.was_complete) = (false, false);
            self.missing.clear();
        } else if !self.passive && others && self.is_out_of_reach(PASSIVE_AFTER, now) {
            self.passive = true;
        }
        self.complete =
            !self.passive && self.was_complete && !self.is_out_of_reach(ANNOUNCE_AFTER, now);
        let needs_refresh = self.needs_refresh(now);
        self.refreshed_at = self.refreshed_at.filter(|_| needs_refresh);
        let needs_refresh = needs_refresh
            && self.refreshed_at.is_none_or(|refreshed_at| {
                refreshed_at + self.grace.mul_f64(REFRESH_INTERVAL) <= now
            });
        let announce = before.0 != self.complete || needs_refresh;
        if announce {
            self.refreshed_at = Some(now);
        }
        Change { announce, passive: (before.1 != self.passive).then_some(self.passive) }
    }

    /// Whether a gateway has been missing for that fraction of the grace period.
    fn is_out_of_reach(&self, part: f64, now: Instant) -> bool {
        self.missing.iter().any(|(_, since)| *since + self.grace.mul_f64(part) <= now)
    }

    /// Whether the reports of other workers matter.
    fn needs_refresh(&self, now: Instant) -> bool {
        self.passive || self.is_out_of_reach(ANNOUNCE_AFTER, now)
    }

    /// When the next update is due, unless something changes before.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        let at =
            |part| self.missing.iter().map(move |(_, since)| *since + self.grace.mul_f64(part));
        let refreshed_at = self
            .refreshed_at
            .filter(|_| self.needs_refresh(now))
            .map(|refreshed_at| refreshed_at + self.grace.mul_f64(REFRESH_INTERVAL));
        at(ANNOUNCE_AFTER).chain(at(PASSIVE_AFTER)).filter(|at| now < *at).chain(refreshed_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(12);

    struct World {
        reachability: Reachability,
        now: Instant,
    }

    impl World {
        /// A worker that has reached every gateway.
        fn fully_linked() -> Self {
            let mut world = Self { reachability: Reachability::new(GRACE), now: Instant::now() };
            assert_eq!(world.update(&[], true), Change { announce: true, passive: None });
            world
        }

        fn update(&mut self, missing: &[&str], others: bool) -> Change {
            let missing: Vec<Arc<str>> = missing.iter().map(|text| (*text).into()).collect();
            self.reachability.update(&missing, true, others, self.now)
        }

        fn after(&mut self, seconds: u64, missing: &[&str], others: bool) -> Change {
            self.now += Duration::from_secs(seconds);
            self.update(missing, others)
        }
    }

    const NO_CHANGE: Change = Change { announce: false, passive: None };
    const REFRESH: Change = Change { announce: true, passive: None };

    #[test]
    fn partitioned_worker_announces_it_and_is_passive_until_it_reaches_all() {
        let mut world = World::fully_linked();
        assert_eq!(world.update(&["a"], true), NO_CHANGE);
        assert_eq!(world.reachability.next(world.now), Some(world.now + GRACE / 3));
        assert_eq!(world.after(3, &["a"], true), NO_CHANGE);
        assert_eq!(world.after(1, &["a"], true), Change { announce: true, passive: None });
        assert!(!world.reachability.is_complete());
        assert_eq!(
            world.after(5, &["a", "b"], true),
            Change { announce: true, passive: Some(true) }
        );
        assert_eq!(world.reachability.longest_missing().map(|name| &**name), Some("a"));
        assert_eq!(world.after(60, &["a"], true), REFRESH);
        assert_eq!(world.reachability.next(world.now), Some(world.now + GRACE / 10));
        assert_eq!(world.update(&["a"], true), NO_CHANGE);
        assert_eq!(world.after(1, &[], true), Change { announce: false, passive: Some(false) });
        assert_eq!(world.update(&["b"], true), NO_CHANGE, "while it relinks");
        assert_eq!(world.after(1, &[], true), Change { announce: true, passive: None });
    }

    #[test]
    fn worker_stays_active_if_others_miss_the_same_gateway() {
        let mut world = World::fully_linked();
        world.update(&["a"], true);
        assert_eq!(world.after(4, &["a"], true), Change { announce: true, passive: None });
        assert_eq!(world.after(1, &["a"], false), NO_CHANGE);
        assert_eq!(world.after(60, &["a"], false), REFRESH);
    }

    #[test]
    fn passive_worker_becomes_active_if_no_other_worker_reaches_every_gateway() {
        let mut world = World::fully_linked();
        world.update(&["a"], true);
        world.after(4, &["a"], true);
        assert_eq!(world.after(5, &["a"], true).passive, Some(true));
        assert_eq!(world.after(1, &["a"], false).passive, Some(false));
        assert_eq!(world.update(&["a"], true), NO_CHANGE, "the time restarts");
        assert_eq!(world.after(8, &["a"], true), REFRESH);
        assert_eq!(world.after(1, &["a"], true).passive, Some(true));
    }

    #[test]
    fn worker_that_never_reached_all_gateways_is_not_complete_and_becomes_passive() {
        let mut world = World { reachability: Reachability::new(GRACE), now: Instant::now() };
        assert_eq!(world.update(&["a"], true), NO_CHANGE);
        assert_eq!(world.after(9, &["a"], true), Change { announce: true, passive: Some(true) });
    }

    #[test]
    fn gateway_that_is_back_soon_causes_no_change() {
        let mut world = World::fully_linked();
        for _ in 0..9 {
            world.update(&["a"], true);
            assert_eq!(world.after(3, &[], true), NO_CHANGE);
        }
    }

    #[test]
    fn worker_without_any_link_is_not_complete() {
        let mut reachability = Reachability::new(GRACE);
        assert_eq!(reachability.update(&[], false, true, Instant::now()), NO_CHANGE);
    }
}
