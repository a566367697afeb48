//! The rate of requests of each app.

use std::time::{Duration, Instant};

use runtime::token_bucket::{Bucket, Rate};

/// The rate of an app: so many requests a second, and as many at once. Events of a batch count each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AppRate {
    bucket: Bucket,
    /// A clock that goes back counts as no time passed.
    last: Instant,
}

impl AppRate {
    /// An app that has sent nothing.
    pub(crate) fn new(now: Instant) -> Self {
        Self { bucket: Bucket::default(), last: now }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The time until there is one again. Nothing is taken then.
    pub(crate) fn take(&mut self, per_second: u32, now: Instant) -> Result<(), Duration> {
        self.last = self.last.max(now);
        self.bucket.try_take(rate(per_second), 1, self.last)
    }

    /// Takes tokens even if there are fewer: the next requests wait for that.
    pub(crate) fn take_more(&mut self, per_second: u32, tokens: usize) {
        self.bucket.take(rate(per_second), tokens as u64, self.last);
    }
}

fn rate(per_second: u32) -> Rate {
    Rate::new(per_second.into(), per_second.into())
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
        let mut bucket = AppRate::new(start);
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
        let mut bucket = AppRate::new(start);
        assert_eq!(bucket.take(2, start), Ok(()));
        bucket.take_more(2, 9);
        let wait = bucket.take(2, start).unwrap_err();
        assert_eq!((wait, retry_after(wait)), (Duration::from_millis(4500), 5));
        assert_eq!(bucket.take(2, start - Duration::from_secs(1)).unwrap_err(), wait);
    }
}
