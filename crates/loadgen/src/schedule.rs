//! The times at which an open loop sends.

use std::time::Duration;

/// When each message of an open loop is due: evenly spaced, each sender in turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    rate: f64,
}

impl Schedule {
    pub(crate) fn new(rate: f64) -> Self {
        Self { rate }
    }

    /// The time of the n-th message, from the start. Computed afresh, so errors do not add up.
    pub(crate) fn due(&self, n: u64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "2^53 messages are more than a run has")]
        Duration::from_secs_f64(n as f64 / self.rate)
    }

    /// How many are due before `end`.
    pub(crate) fn due_before(&self, end: Duration) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count, and saturating"
        )]
        let guess = (end.as_secs_f64() * self.rate) as u64;
        // Corrects rounding, so that the count agrees with `due`.
        (guess.saturating_sub(1)..).find(|n| end <= self.due(*n)).unwrap_or(guess)
    }

    /// The time of the n-th message of one of `of` senders that send in turn.
    pub(crate) fn turn(&self, sender: usize, of: usize, n: u64) -> Duration {
        self.due(sender as u64 + n * of as u64)
    }

    /// How many turns of that sender are due before `end`.
    pub(crate) fn turns_before(&self, sender: usize, of: usize, end: Duration) -> u64 {
        self.due_before(end).saturating_sub(sender as u64).div_ceil(of as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedule_does_not_drift() {
        let schedule = Schedule::new(30_000.0);
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(30_000), Duration::from_secs(1));
        assert_eq!(schedule.due(30_000 * 3600), Duration::from_secs(3600));
        assert_eq!(schedule.due_before(Duration::from_secs(2)), 60_000);
        let turns = |sender| schedule.turns_before(sender, 7, Duration::from_millis(1));
        assert_eq!((0..7).map(turns).sum::<u64>(), 30, "every message belongs to one sender");
        assert_eq!((turns(0), turns(1), turns(2)), (5, 5, 4));
        assert_eq!(schedule.turn(1, 7, 4), schedule.due(29));
        assert_eq!(Schedule::new(3.0).due_before(Duration::from_millis(400)), 2);
    }
}
