//! When a request that has failed is sent again.

use std::time::{Duration, Instant};

/// The upper bound of the first wait, which is random; doubles each time, up to [`LONGEST`].
pub const FIRST: Duration = Duration::from_millis(200);

/// The longest wait, unless `Retry-After` is longer.
pub const LONGEST: Duration = Duration::from_secs(30);

/// The attempts of one request: exponential waits with full jitter until a deadline, and a last
/// attempt at the deadline.
#[derive(Clone, Debug)]
pub struct Schedule {
    deadline: Instant,
    failures: u32,
}

impl Schedule {
    /// Attempts from `now` for the time of `retry`; with zero, one attempt.
    pub fn new(now: Instant, retry: Duration) -> Self {
        Self { deadline: now + retry, failures: 0 }
    }

    /// How long to wait after a failure at `now`; `None` if no attempt is left. `random` is any
    /// random number, `retry_after` the shortest wait.
    pub fn next(
        &mut self,
        now: Instant,
        random: u64,
        retry_after: Option<Duration>,
    ) -> Option<Duration> {
        let left = self.deadline.saturating_duration_since(now);
        if left.is_zero() {
            return None;
        }
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let ceiling = FIRST.saturating_mul(factor).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let nanos = (ceiling.as_nanos() * u128::from(random)) >> u64::BITS;
        let wait = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Some(wait.max(retry_after.unwrap_or_default()).min(left))
    }

    /// When the last attempt starts.
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// Reads `Retry-After` as seconds. A date is ignored: the clocks of two hosts differ.
pub fn retry_after(value: &str) -> Option<Duration> {
    value.trim().parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_random_and_double_up_to_the_longest() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now, Duration::from_secs(3600));
        for ceiling in [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
            let mut same = schedule.clone();
            assert_eq!(same.next(now, 0, None), Some(Duration::ZERO));
            let half = schedule.next(now, 1 << 63, None).unwrap();
            assert_eq!(half, Duration::from_millis(ceiling) / 2);
        }
    }

    #[test]
    fn retry_after_only_extends_a_wait() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut schedule = Schedule::new(now, Duration::from_secs(10));
        assert_eq!(schedule.next(now, 0, Some(second)), Some(second));
        let wait = schedule.next(now, u64::MAX, Some(Duration::from_millis(1))).unwrap();
        assert!(Duration::from_millis(399) < wait, "{wait:?}");
    }

    #[test]
    fn last_attempt_is_at_the_deadline() {
        let (now, limit) = (Instant::now(), Duration::from_secs(300));
        let mut schedule = Schedule::new(now, limit);
        assert_eq!(schedule.next(now, 0, Some(Duration::from_secs(1000))), Some(limit));
        assert_eq!(schedule.next(now + limit, 0, None), None);
        assert_eq!(Schedule::new(now, Duration::ZERO).next(now, 0, None), None);
    }

    #[test]
    fn retry_after_is_read_as_seconds() {
        assert_eq!(retry_after(" 7 "), Some(Duration::from_secs(7)));
        for text in ["", "-1", "1.5", "soon", "Fri, 31 Dec 1999 23:59:59 GMT", "99999999999"] {
            assert_eq!(retry_after(text), None, "{text}");
        }
    }
}
