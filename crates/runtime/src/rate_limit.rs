//! Rate limits for what a peer can cause any number of times, such as warnings.

use std::time::{Duration, Instant};

/// Admits at most one occurrence in each interval, and counts those in between.
///
/// A value without a clock: callers pass the time, so that it works with a paused clock too.
///
/// ```
/// # use std::time::{Duration, Instant};
/// # use push_suite_runtime::rate_limit::Throttle;
/// # let now = Instant::now();
/// let mut warnings = Throttle::new(Duration::from_secs(1));
/// if let Some(suppressed) = warnings.admit(now) {
///     tracing::warn!(suppressed, "peer refused");
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Throttle {
    every: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// Admits one occurrence every `every`. With zero, all of them.
    #[must_use]
    pub const fn new(every: Duration) -> Self {
        Self { every, last: None, suppressed: 0 }
    }

    /// For log lines that a peer can cause: one a second.
    #[must_use]
    pub const fn per_second() -> Self {
        Self::new(Duration::from_secs(1))
    }

    /// Admits an occurrence at `now` and returns the number suppressed since the last admitted one; or
    /// counts it as suppressed and returns `None`.
    ///
    /// A `now` before the last admission counts as no time passed.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
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

    const EVERY: Duration = Duration::from_secs(1);

    #[test]
    fn throttle_within_an_interval_admits_one_and_counts_the_rest() {
        let (mut throttle, start) = (Throttle::new(EVERY), Instant::now());
        assert_eq!(throttle.admit(start), Some(0));
        for part in 1..=5 {
            assert_eq!(throttle.admit(start + EVERY * part / 6), None);
        }
        assert_eq!(throttle.admit(start + EVERY), Some(5));
        assert_eq!(throttle.admit(start + EVERY * 2), Some(0), "counted anew");
    }

    #[test]
    fn throttle_with_a_time_in_the_past_suppresses() {
        let (mut throttle, start) = (Throttle::new(EVERY), Instant::now());
        assert_eq!(throttle.admit(start + EVERY * 9), Some(0));
        assert_eq!(throttle.admit(start), None);
        assert_eq!(throttle.admit(start + EVERY * 10), Some(1));
    }

    #[test]
    fn throttle_without_an_interval_admits_all() {
        let (mut throttle, start) = (Throttle::new(Duration::ZERO), Instant::now());
        assert!((0..3).all(|_| throttle.admit(start) == Some(0)));
    }
}
