//! Whether this process stood still for so long that a gateway may have given it up: a value.

use std::time::{Duration, Instant};

/// How many looks must find nothing unread, after a standstill, until a link has survived it: what came
/// meanwhile, the end of the link with it, is read before that.
const LOOKS: u32 = 2;

/// When a link ends, it tells since when it may have been of no use.
///
/// A gateway gives up who has said nothing for its own `--peer-timeout`, which we do not know; ours is
/// the best guess. The last word may be a sixth of it older than the standstill, and the last question a
/// sixth younger, so that half of it is little enough.
#[derive(Debug)]
pub(super) struct Standstill {
    /// How long the gateway may be silent.
    patience: Duration,
    /// When the link's task last ran.
    awake: Instant,
    /// Since when it stood still, if it is not known yet what became of the link meanwhile.
    since: Option<Instant>,
    /// How many looks are left.
    looks: u32,
}

impl Standstill {
    pub(super) const fn new(patience: Duration, now: Instant) -> Self {
        Self { patience, awake: now, since: None, looks: 0 }
    }

    /// The link's task runs. To be called far more often than in half of `patience`.
    pub(super) fn runs(&mut self, now: Instant) {
        if self.patience / 2 < now.saturating_duration_since(self.awake) {
            self.since.get_or_insert(self.awake);
            self.looks = LOOKS;
        }
        self.awake = now;
    }

    /// Nothing is left unread, and the link still stands.
    pub(super) const fn survived(&mut self) {
        self.looks = self.looks.saturating_sub(1);
        if self.looks == 0 {
            self.since = None;
        }
    }

    /// Since when a link that ends now may have been of no use: from the beginning of a standstill, or
    /// from when it fell silent.
    pub(super) fn lost_since(&mut self, silent: bool, now: Instant) -> Instant {
        self.runs(now);
        // Nobody tells of the end of a link whose gateway vanished, or that was cut on its way.
        let ended = if silent { now.checked_sub(self.patience).unwrap_or(now) } else { now };
        self.since.map_or(ended, |since| since.min(ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const TICK: Duration = Duration::from_secs(5);

    /// One whose task has run up to a time.
    fn awake() -> (Standstill, Instant) {
        let mut now = Instant::now();
        let mut standstill = Standstill::new(PATIENCE, now);
        for _ in 0..9 {
            now += TICK;
            standstill.runs(now);
            standstill.survived();
        }
        (standstill, now)
    }

    #[test]
    fn a_link_that_ends_while_we_are_awake_is_lost_then() {
        let (mut standstill, last) = awake();
        assert_eq!(standstill.lost_since(false, last + TICK), last + TICK);
        let (mut standstill, last) = awake();
        assert_eq!(standstill.lost_since(true, last + TICK), last + TICK - PATIENCE);
    }

    #[test]
    fn one_whose_end_is_found_after_a_standstill_was_lost_at_its_beginning() {
        let (mut standstill, last) = awake();
        assert_eq!(standstill.lost_since(false, last + PATIENCE), last);
        // Something was read before the end was.
        let (mut standstill, last) = awake();
        standstill.runs(last + PATIENCE);
        standstill.survived();
        assert_eq!(standstill.lost_since(false, last + PATIENCE + TICK), last);
        // Or it fell silent besides.
        let (mut standstill, last) = awake();
        standstill.runs(last + PATIENCE);
        assert_eq!(standstill.lost_since(true, last + PATIENCE + TICK), last);
    }

    #[test]
    fn the_first_of_several_standstills_counts() {
        let (mut standstill, last) = awake();
        standstill.runs(last + PATIENCE);
        assert_eq!(standstill.lost_since(false, last + PATIENCE * 2), last);
    }

    #[test]
    fn a_link_that_has_survived_a_standstill_is_lost_when_it_ends() {
        let (mut standstill, last) = awake();
        let mut now = last + PATIENCE;
        standstill.runs(now);
        for _ in 0..LOOKS {
            now += TICK;
            standstill.runs(now);
            standstill.survived();
        }
        assert_eq!(standstill.lost_since(false, now + TICK), now + TICK);
    }
}
