//! The rate of requests of each app: token buckets.

use std::time::{Duration, Instant};

/// The rate of an app: so many requests a second, and as many at once. Events of a batch count each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    /// A full bucket of an app with this rate.
    pub(crate) fn full(per_second: u32, now: Instant) -> Self {
        Self { tokens: f64::from(per_second), filled_at: now }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The time until there is one again. Nothing is taken then.
    pub(crate) fn take(&mut self, per_second: u32, now: Instant) -> Result<(), Duration> {
        let rate = f64::from(per_second.max(1));
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = passed.mul_add(rate, self.tokens).min(rate);
        self.filled_at = now;
        if self.tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.tokens) / rate));
        }
        self.tokens -= 1.0;
        Ok(())
    }

    /// Takes tokens even if there are fewer: the next requests wait for that.
    pub(crate) fn take_more(&mut self, tokens: usize) {
        self.tokens -= tokens as f64;
    }
}

/// The whole seconds of a `Retry-After` header: at least 1.
pub(crate) fn retry_after(wait: Duration) -> u64 {
    wait.as_secs_f64().ceil().max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_holds_a_second_and_refills() {
        let start = Instant::now();
        let mut bucket = Bucket::full(3, start);
        let at = |millis| start + Duration::from_millis(millis);
        for _ in 0..3 {
            assert_eq!(bucket.take(3, start), Ok(()));
        }
        let wait = bucket.take(3, start).unwrap_err();
        assert_eq!((wait.as_millis(), retry_after(wait)), (333, 1));
        assert_eq!(bucket.take(3, at(334)), Ok(()));
        assert!(bucket.take(3, at(334)).is_err());
        assert_eq!(bucket.take(3, at(60_000)), Ok(()));
        assert_eq!(bucket.take(3, at(60_000)), Ok(()));
        assert_eq!(bucket.take(3, at(60_000)), Ok(()));
        assert!(bucket.take(3, at(60_000)).is_err(), "no more than a second's worth");
    }

    #[test]
    fn batch_beyond_the_bucket_delays_the_next_requests() {
        let start = Instant::now();
        let mut bucket = Bucket::full(2, start);
        assert_eq!(bucket.take(2, start), Ok(()));
        bucket.take_more(9);
        let wait = bucket.take(2, start).unwrap_err();
        assert_eq!((wait, retry_after(wait)), (Duration::from_millis(4500), 5));
        assert_eq!(bucket.take(2, start - Duration::from_secs(1)).unwrap_err(), wait);
    }
}
