//! Detects whether this process stalled for so long that a gateway may have closed the link: a
//! value.

use std::time::{Duration, Instant};

/// How many checks after a stall must find nothing unread until a link has survived it: input that
/// arrived meanwhile, the end of the link included, is read before that.
const CHECKS: u32 = 2;

/// Computes since when a closed link may have been dead.
///
/// A gateway closes a link after its own `--peer-timeout`, which is not known here; the local value
/// is the best guess. The last message may be a sixth of it older than the stall, and the last
/// probe a sixth younger, so that half of the timeout is a safe threshold.
#[derive(Debug)]
pub(super) struct StallDetector {
    /// Peer timeout.
    peer_timeout: Duration,
    /// When the task of the link last ran.
    last_run: Instant,
    /// Since when the process stalled, until it is known whether the link survived.
    since: Option<Instant>,
    /// How many checks are left.
    checks_left: u32,
}

impl StallDetector {
    pub(super) const fn new(peer_timeout: Duration, now: Instant) -> Self {
        Self { peer_timeout, last_run: now, since: None, checks_left: 0 }
    }

    /// The task of the link runs. Must be called far more often than every half of `peer_timeout`.
    pub(super) fn record_run(&mut self, now: Instant) {
        if self.peer_timeout / 2 < now.saturating_duration_since(self.last_run) {
            self.since.get_or_insert(self.last_run);
            self.checks_left = CHECKS;
        }
        self.last_run = now;
    }

    /// Nothing is left unread, and the link is still open.
    pub(super) const fn record_idle(&mut self) {
        self.checks_left = self.checks_left.saturating_sub(1);
        if self.checks_left == 0 {
            self.since = None;
        }
    }

    /// Since when a link that closes now may have been dead: from the beginning of a stall, or from
    /// the last input before a timeout.
    pub(super) fn lost_since(&mut self, timed_out: bool, now: Instant) -> Instant {
        self.record_run(now);
        // The end of a link is not signalled if the gateway's host vanished, or the network failed.
        let ended = if timed_out { now.checked_sub(self.peer_timeout).unwrap_or(now) } else { now };
        self.since.map_or(ended, |since| since.min(ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER_TIMEOUT: Duration = Duration::from_secs(30);
    const TICK: Duration = Duration::from_secs(5);

    /// A detector whose task has run up to the returned time.
    fn last_run() -> (StallDetector, Instant) {
        let mut now = Instant::now();
        let mut detector = StallDetector::new(PEER_TIMEOUT, now);
        for _ in 0..9 {
            now += TICK;
            detector.record_run(now);
            detector.record_idle();
        }
        (detector, now)
    }

    #[test]
    fn link_that_ends_without_a_stall_is_lost_at_its_end() {
        let (mut detector, last) = last_run();
        assert_eq!(detector.lost_since(false, last + TICK), last + TICK);
        let (mut detector, last) = last_run();
        assert_eq!(detector.lost_since(true, last + TICK), last + TICK - PEER_TIMEOUT);
    }

    #[test]
    fn link_found_closed_after_a_stall_was_lost_at_its_beginning() {
        let (mut detector, last) = last_run();
        assert_eq!(detector.lost_since(false, last + PEER_TIMEOUT), last);
        // Some input was read before the end of the link.
        let (mut detector, last) = last_run();
        detector.record_run(last + PEER_TIMEOUT);
        detector.record_idle();
        assert_eq!(detector.lost_since(false, last + PEER_TIMEOUT + TICK), last);
        // Or a timeout besides.
        let (mut detector, last) = last_run();
        detector.record_run(last + PEER_TIMEOUT);
        assert_eq!(detector.lost_since(true, last + PEER_TIMEOUT + TICK), last);
    }

    #[test]
    fn first_of_several_stalls_counts() {
        let (mut detector, last) = last_run();
        detector.record_run(last + PEER_TIMEOUT);
        assert_eq!(detector.lost_since(false, last + PEER_TIMEOUT * 2), last);
    }

    #[test]
    fn link_that_survived_a_stall_is_lost_at_its_end() {
        let (mut detector, last) = last_run();
        let mut now = last + PEER_TIMEOUT;
        detector.record_run(now);
        for _ in 0..CHECKS {
            now += TICK;
            detector.record_run(now);
            detector.record_idle();
        }
        assert_eq!(detector.lost_since(false, now + TICK), now + TICK);
    }
}
