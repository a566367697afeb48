//! Token buckets, by which rates are limited. Values without a clock: callers pass the time.

use std::time::{Duration, Instant};

/// The longest time that a bucket accounts for: a capacity or a debt beyond it counts as this one.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The longest time in which a debt is paid, unless the bucket takes longer to fill.
const LONGEST_DEBT: Duration = Duration::from_secs(60);

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens a second; never 0.
    per_second: u64,
    /// Tokens of a full bucket; never 0.
    burst: u64,
}

impl Rate {
    /// A rate of so many tokens a second, in a bucket of `burst`. 0 counts as 1.
    pub const fn new(per_second: u64, burst: u64) -> Self {
        const fn least_one(value: u64) -> u64 {
            if value == 0 { 1 } else { value }
        }
        Self { per_second: least_one(per_second), burst: least_one(burst) }
    }

    /// Tokens of a full bucket.
    pub const fn burst(self) -> u64 {
        self.burst
    }

    /// Tokens a second.
    pub const fn per_second(self) -> u64 {
        self.per_second
    }

    /// The time in which so many tokens are added, rounded down to a nanosecond, so that a full
    /// bucket suffices for as many takes of one.
    pub fn time(self, tokens: u64) -> Duration {
        let nanos = u128::from(tokens) * 1_000_000_000 / u128::from(self.per_second);
        u64::try_from(nanos).map_or(LONGEST, Duration::from_nanos).min(LONGEST)
    }

    /// The time in which an empty bucket becomes full.
    pub fn refill(self) -> Duration {
        self.time(self.burst)
    }
}

/// A bucket of tokens, full at first. The time at which it is full again is its whole state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes tokens if there are so many. More than a full bucket holds count as a full bucket.
    ///
    /// # Errors
    /// The time until there are as many. Nothing is taken then.
    pub fn try_take(&mut self, rate: Rate, tokens: u64, now: Instant) -> Result<(), Duration> {
        let tokens = tokens.min(rate.burst);
        match self.wait(rate, tokens, now) {
            Duration::ZERO => {
                self.take(rate, tokens, now);
                Ok(())
            }
            wait => Err(wait),
        }
    }

    /// Takes tokens, even if there are fewer: the bucket is in debt then.
    pub fn take(&mut self, rate: Rate, tokens: u64, now: Instant) {
        let missing = (self.missing(rate, now) + rate.time(tokens)).min(LONGEST);
        self.full_at = now.checked_add(missing);
    }

    /// The time until there are so many tokens; zero if there are.
    pub fn wait(&mut self, rate: Rate, tokens: u64, now: Instant) -> Duration {
        let room = rate.refill().saturating_sub(rate.time(tokens.min(rate.burst)));
        self.missing(rate, now).saturating_sub(room)
    }

    /// The tokens in it.
    pub fn tokens(&mut self, rate: Rate, now: Instant) -> u64 {
        let filled = rate.refill().saturating_sub(self.missing(rate, now));
        let tokens = filled.as_nanos() * u128::from(rate.per_second) / 1_000_000_000;
        u64::try_from(tokens).unwrap_or(u64::MAX).min(rate.burst)
    }

    /// The time until it is full. A longer one than any debt takes to be paid is that of a clock
    /// that went back: it is shortened.
    fn missing(&mut self, rate: Rate, now: Instant) -> Duration {
        let missing = self.full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let most = rate.refill().saturating_mul(2).clamp(LONGEST_DEBT, LONGEST);
        if most < missing {
            self.full_at = now.checked_add(most);
        }
        missing.min(most)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many of `attempts` at this time succeed.
    fn admitted(bucket: &mut Bucket, rate: Rate, attempts: usize, now: Instant) -> usize {
        (0..attempts).filter(|_| bucket.try_take(rate, 1, now).is_ok()).count()
    }

    #[test]
    fn bucket_admits_a_burst_and_then_the_rate() {
        let (rate, start) = (Rate::new(10, 25), Instant::now());
        let mut bucket = Bucket::default();
        assert_eq!(admitted(&mut bucket, rate, 100, start), 25);
        assert_eq!(bucket.try_take(rate, 1, start), Err(SECOND / 10));
        assert_eq!(admitted(&mut bucket, rate, 100, start + SECOND / 2), 5);
        assert_eq!(admitted(&mut bucket, rate, 100, start + 3 * SECOND / 2), 10);
        assert_eq!(admitted(&mut bucket, rate, 100, start + 1000 * SECOND), 25, "never more");
    }

    #[test]
    fn bucket_of_one_a_second_admits_one_a_second() {
        let (rate, start) = (Rate::new(1, 1), Instant::now());
        let mut bucket = Bucket::default();
        for second in 0..10 {
            let now = start + second * SECOND;
            assert_eq!(admitted(&mut bucket, rate, 5, now), 1);
            assert_eq!(bucket.try_take(rate, 1, now + SECOND / 4), Err(3 * SECOND / 4));
        }
        assert_eq!(Rate::new(0, 0), rate, "there is no rate of nothing");
    }

    #[test]
    fn burst_is_admitted_in_full_at_any_rate() {
        for per_second in [1, 3, 7, 30, 999, 123_457] {
            for burst in [1, 2, 3, 10, 1000] {
                let (rate, now) = (Rate::new(per_second, burst), Instant::now());
                let mut bucket = Bucket::default();
                assert_eq!(admitted(&mut bucket, rate, 2000, now), burst as usize, "{rate:?}");
            }
        }
    }

    #[test]
    fn wait_that_is_returned_suffices() {
        for (per_second, burst) in [(1, 1), (3, 7), (1000, 10), (u64::MAX, u64::MAX), (7, 1)] {
            let (rate, mut now) = (Rate::new(per_second, burst), Instant::now());
            let mut bucket = Bucket::default();
            for _ in 0..50 {
                while let Err(wait) = bucket.try_take(rate, 1, now) {
                    now += wait;
                    assert!(bucket.wait(rate, 1, now).is_zero(), "{rate:?}");
                }
                if bucket.tokens(rate, now) > 1000 {
                    break;
                }
            }
        }
    }

    #[test]
    fn huge_values_neither_overflow_nor_block_for_ever() {
        let now = Instant::now();
        for rate in [
            Rate::new(1, u64::MAX),
            Rate::new(u64::MAX, 1),
            Rate::new(u64::MAX, u64::MAX),
            Rate::new(1, 1),
        ] {
            let mut bucket = Bucket::default();
            assert_eq!(bucket.try_take(rate, u64::MAX, now), Ok(()), "a full bucket is enough");
            for _ in 0..3 {
                bucket.take(rate, u64::MAX, now);
            }
            let wait = bucket.wait(rate, 1, now);
            assert!(wait <= LONGEST, "{rate:?}: {wait:?}");
            assert!(bucket.wait(rate, 1, now + wait).is_zero());
            let _ = bucket.tokens(rate, now);
        }
    }

    #[test]
    fn debt_is_paid_before_anything_is_admitted() {
        let (rate, start) = (Rate::new(1000, 100), Instant::now());
        let mut bucket = Bucket::default();
        bucket.take(rate, 1100, start);
        assert_eq!(
            (bucket.tokens(rate, start), bucket.wait(rate, 100, start)),
            (0, 11 * SECOND / 10)
        );
        assert!(bucket.try_take(rate, 1, start + SECOND).is_err());
        assert_eq!(bucket.tokens(rate, start + 105 * SECOND / 100), 50);
    }

    #[test]
    fn clock_that_goes_back_delays_for_no_longer_than_an_empty_bucket() {
        let (rate, late) = (Rate::new(10, 20), Instant::now() + 3600 * SECOND);
        let mut bucket = Bucket::default();
        assert_eq!(admitted(&mut bucket, rate, 100, late), 20);
        let early = late - 3000 * SECOND;
        assert!(bucket.try_take(rate, 1, early).is_err(), "not admitted twice");
        let wait = bucket.wait(rate, 1, early);
        assert!(wait <= 60 * SECOND, "{wait:?}");
    }

    proptest! {
        /// Over any time, no more than the burst and the rate of that time are admitted.
        #[test]
        fn bucket_never_admits_more_than_burst_and_rate(
            per_second in 1_u64..100_000,
            burst in 1_u64..100_000,
            steps in prop::collection::vec((0_u64..5_000_000_000, 1_u64..50_000), 1..60),
        ) {
            let (rate, start) = (Rate::new(per_second, burst), Instant::now());
            let (mut bucket, mut now, mut taken) = (Bucket::default(), start, 0_u128);
            for (nanos, tokens) in steps {
                now += Duration::from_nanos(nanos);
                if tokens <= burst && bucket.try_take(rate, tokens, now).is_ok() {
                    taken += u128::from(tokens);
                }
                let most = u128::from(burst)
                    + (now - start).as_nanos() * u128::from(per_second) / 1_000_000_000;
                // One more for what is rounded.
                prop_assert!(taken <= most + 1, "{taken} of {most}");
            }
        }
    }
}
