//! A rate limit for log lines that anybody can cause.

use std::time::{Duration, Instant};

/// Admits at most one occurrence in each interval, and counts those in between. A value: callers pass
/// the time.
#[derive(Debug)]
pub(crate) struct Throttle {
    every: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// One a second.
    pub(crate) const fn per_second() -> Self {
        Self { every: Duration::from_secs(1), last: None, suppressed: 0 }
    }

    /// Admits an occurrence at `now`, or counts it and returns `None`. What is returned is how many were
    /// suppressed since the last one that was admitted.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        let is_due = self.last.is_none_or(|last| self.every <= now.saturating_duration_since(last));
        if is_due {
            self.last = Some(now);
            return Some(std::mem::take(&mut self.suppressed));
        }
        self.suppressed = self.suppressed.saturating_add(1);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttle_admits_one_a_second_and_counts_the_rest() {
        let (mut throttle, start) = (Throttle::per_second(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(throttle.admit(start), Some(0));
        assert_eq!(throttle.admit(start + second / 3), None);
        assert_eq!(throttle.admit(start + second / 2), None);
        assert_eq!(throttle.admit(start + second), Some(2));
        assert_eq!(throttle.admit(start + second * 3), Some(0));
    }
}
