//! Whether a worker reaches every gateway, and when it leaves its clients' events to workers that do: a
//! value.
//!
//! What a handler sends to a uid, a group or all waits for a gateway that is out of reach, and so does
//! the event. If that lasts while another worker reaches every gateway, this one becomes *passive*: it
//! stays linked, sends and asks, and takes no events; gateways give its clients and what it has not
//! finished to others. It is active again once it reaches every gateway, or no other worker does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// After which parts of the grace a gateway that is out of reach counts: for what others are told, and
/// for this worker itself. In between others are heard who have lost the same gateway, since that is no
/// reason to leave anything to them. Both are over before the grace is.
const TOLD: f64 = 1.0 / 3.0;
const PASSIVE: f64 = 3.0 / 4.0;

/// How old, in parts of the grace, what registers say of others may be, and how often they are asked: a
/// register that stands still goes on saying of workers what they have told it before. When this worker
/// may become passive, what counts was said after others were due to say that they miss the same gateway.
const RECENT: f64 = 1.0 / 4.0;
const ASKED: f64 = 1.0 / 10.0;

/// What is known of a worker's reach.
#[derive(Debug)]
pub(crate) struct Reach {
    grace: Duration,
    /// Gateways that registers name and that are not linked, and since when.
    missing: Vec<(Arc<str>, Instant)>,
    /// Whether all were linked at some time, since this worker was last passive.
    was_whole: bool,
    complete: bool,
    passive: bool,
    /// When registers were last asked what others reach, while that decides something.
    asked: Option<Instant>,
}

/// What has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Registers are to be told whether this worker reaches every gateway, and asked about others.
    pub(crate) told: bool,
    /// The worker becomes passive, or active.
    pub(crate) passive: Option<bool>,
}

impl Reach {
    pub(crate) fn new(grace: Duration) -> Self {
        let (was_whole, complete, passive) = (false, false, false);
        Self { grace, missing: Vec::new(), was_whole, complete, passive, asked: None }
    }

    /// What registers have said before that does not count. `None` if everything does.
    pub(crate) fn recent(&self, now: Instant) -> Option<Instant> {
        now.checked_sub(self.grace.mul_f64(RECENT))
    }

    /// Whether this worker takes events and reaches every gateway, or did a moment ago.
    pub(crate) const fn is_complete(&self) -> bool {
        self.complete
    }

    /// The gateway that has been out of reach for the longest.
    pub(crate) fn farthest(&self) -> Option<&Arc<str>> {
        self.missing.iter().min_by_key(|(_, since)| *since).map(|(gateway, _)| gateway)
    }

    /// Takes which gateways are `missing`, whether some are linked, and whether `others` reach all, by what
    /// is [recent](Self::recent).
    pub(crate) fn look(
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
        self.was_whole |= linked && missing.is_empty();
        let before = (self.complete, self.passive);
        if self.passive && (!others || linked && missing.is_empty()) {
            (self.passive, self.was_whole) = (false, false);
            self.missing.clear();
        } else if !self.passive && others && self.is_out_of_reach(PASSIVE, now) {
            self.passive = true;
        }
        self.complete = !self.passive && self.was_whole && !self.is_out_of_reach(TOLD, now);
        let asks = self.passive || self.is_out_of_reach(TOLD, now);
        self.asked = self.asked.filter(|_| asks);
        let asks = asks && self.asked.is_none_or(|asked| asked + self.grace.mul_f64(ASKED) <= now);
        let told = before.0 != self.complete || asks;
        if told {
            self.asked = Some(now);
        }
        Change { told, passive: (before.1 != self.passive).then_some(self.passive) }
    }

    /// Whether a gateway has been missing for that part of the grace.
    fn is_out_of_reach(&self, part: f64, now: Instant) -> bool {
        self.missing.iter().any(|(_, since)| *since + self.grace.mul_f64(part) <= now)
    }

    /// When to look again, if nothing happens before.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        let at =
            |part| self.missing.iter().map(move |(_, since)| *since + self.grace.mul_f64(part));
        let asks = self.passive || self.is_out_of_reach(TOLD, now);
        let asked = self.asked.filter(|_| asks).map(|asked| asked + self.grace.mul_f64(ASKED));
        at(TOLD).chain(at(PASSIVE)).filter(|at| now < *at).chain(asked).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(12);

    struct World {
        reach: Reach,
        now: Instant,
    }

    impl World {
        /// One that has reached every gateway.
        fn whole() -> Self {
            let mut world = Self { reach: Reach::new(GRACE), now: Instant::now() };
            assert_eq!(world.look(&[], true), Change { told: true, passive: None });
            world
        }

        fn look(&mut self, missing: &[&str], others: bool) -> Change {
            let missing: Vec<Arc<str>> = missing.iter().map(|text| (*text).into()).collect();
            self.reach.look(&missing, true, others, self.now)
        }

        fn after(&mut self, seconds: u64, missing: &[&str], others: bool) -> Change {
            self.now += Duration::from_secs(seconds);
            self.look(missing, others)
        }
    }

    const NOTHING: Change = Change { told: false, passive: None };
    const ASKS: Change = Change { told: true, passive: None };

    #[test]
    fn worker_that_is_cut_off_tells_others_and_becomes_passive_until_it_reaches_all() {
        let mut world = World::whole();
        assert_eq!(world.look(&["a"], true), NOTHING);
        assert_eq!(world.reach.next(world.now), Some(world.now + GRACE / 3));
        assert_eq!(world.after(3, &["a"], true), NOTHING);
        assert_eq!(world.after(1, &["a"], true), Change { told: true, passive: None });
        assert!(!world.reach.is_complete());
        assert_eq!(world.after(5, &["a", "b"], true), Change { told: true, passive: Some(true) });
        assert_eq!(world.reach.farthest().map(|name| &**name), Some("a"));
        assert_eq!(world.after(60, &["a"], true), ASKS);
        assert_eq!(world.reach.next(world.now), Some(world.now + GRACE / 10));
        assert_eq!(world.look(&["a"], true), NOTHING);
        assert_eq!(world.after(1, &[], true), Change { told: false, passive: Some(false) });
        assert_eq!(world.look(&["b"], true), NOTHING, "while it links anew");
        assert_eq!(world.after(1, &[], true), Change { told: true, passive: None });
    }

    #[test]
    fn worker_that_is_not_alone_in_missing_a_gateway_stays_active() {
        let mut world = World::whole();
        world.look(&["a"], true);
        assert_eq!(world.after(4, &["a"], true), Change { told: true, passive: None });
        assert_eq!(world.after(1, &["a"], false), NOTHING);
        assert_eq!(world.after(60, &["a"], false), ASKS);
    }

    #[test]
    fn passive_worker_becomes_active_if_nobody_else_reaches_every_gateway() {
        let mut world = World::whole();
        world.look(&["a"], true);
        world.after(4, &["a"], true);
        assert_eq!(world.after(5, &["a"], true).passive, Some(true));
        assert_eq!(world.after(1, &["a"], false).passive, Some(false));
        assert_eq!(world.look(&["a"], true), NOTHING, "the time begins anew");
        assert_eq!(world.after(8, &["a"], true), ASKS);
        assert_eq!(world.after(1, &["a"], true).passive, Some(true));
    }

    #[test]
    fn worker_that_never_reached_all_is_not_complete_and_becomes_passive() {
        let mut world = World { reach: Reach::new(GRACE), now: Instant::now() };
        assert_eq!(world.look(&["a"], true), NOTHING);
        assert_eq!(world.after(9, &["a"], true), Change { told: true, passive: Some(true) });
    }

    #[test]
    fn gateway_that_is_back_soon_changes_nothing() {
        let mut world = World::whole();
        for _ in 0..9 {
            world.look(&["a"], true);
            assert_eq!(world.after(3, &[], true), NOTHING);
        }
    }

    #[test]
    fn without_any_link_nothing_is_whole() {
        let mut reach = Reach::new(GRACE);
        assert_eq!(reach.look(&[], false, true, Instant::now()), NOTHING);
    }
}
