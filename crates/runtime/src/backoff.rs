//! Exponential backoff with jitter.

use std::time::Duration;

use crate::random;

/// Exponential waits with full jitter: the n-th lies anywhere between nothing and
/// `first * 2^n`, and never above `cap`. Peers that lost the same server do not reconnect at the
/// same time.
///
/// ```
/// use std::time::Duration;
/// use push_suite_runtime::backoff::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
/// let wait = backoff.next(u64::MAX / 2);
/// assert!(wait <= Duration::from_millis(100));
/// backoff.reset();
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    tries: u32,
}

impl Backoff {
    /// Waits that start below `first` and stay below `cap`.
    #[must_use]
    pub const fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, tries: 0 }
    }

    /// The next wait; `random` is any random number.
    pub fn next(&mut self, random: u64) -> Duration {
        let factor = 1_u32.checked_shl(self.tries).unwrap_or(u32::MAX);
        let ceiling = self.first.checked_mul(factor).unwrap_or(self.cap).min(self.cap);
        self.tries = self.tries.saturating_add(1);
        scale(ceiling, random)
    }

    /// Starts over, after a success.
    pub const fn reset(&mut self) {
        self.tries = 0;
    }

    /// Starts over if the connection lasted for at least the cap. A shorter one counts as another
    /// failure, or a peer that accepts and closes would be retried without a pause.
    pub fn ended_after(&mut self, lasted: Duration) {
        if self.cap <= lasted {
            self.reset();
        }
    }

    /// The number of calls of [`next`](Self::next) since the last reset.
    #[must_use]
    pub const fn tries(&self) -> u32 {
        self.tries
    }

    /// Sleeps for the next wait, with a random jitter.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next(random::random())).await;
    }
}

/// `random` as a share of its range, of `ceiling`.
fn scale(ceiling: Duration, random: u64) -> Duration {
    let nanos = (ceiling.as_nanos().saturating_mul(u128::from(random))) >> u64::BITS;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const CAP: Duration = Duration::from_secs(5);

    #[test]
    fn waits_double_up_to_the_cap() {
        let mut backoff = Backoff::new(FIRST, CAP);
        for ceiling in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            let wait = backoff.next(u64::MAX);
            let ceiling = Duration::from_millis(ceiling);
            assert!(wait <= ceiling && ceiling - wait < Duration::from_micros(1), "{wait:?}");
        }
    }

    #[test]
    fn random_number_selects_any_part_of_the_wait() {
        assert_eq!(Backoff::new(FIRST, CAP).next(0), Duration::ZERO);
        assert_eq!(Backoff::new(FIRST, CAP).next(1 << 63), FIRST / 2);
    }

    #[test]
    fn endless_failure_never_overflows() {
        let mut backoff = Backoff::new(Duration::from_secs(u64::MAX / 4), Duration::MAX);
        for _ in 0..100 {
            backoff.next(u64::MAX);
        }
        let mut backoff = Backoff::new(FIRST, CAP);
        for _ in 0..100 {
            assert!(backoff.next(u64::MAX) <= CAP);
        }
    }

    #[test]
    fn a_success_starts_over() {
        let mut backoff = Backoff::new(FIRST, CAP);
        backoff.next(0);
        backoff.ended_after(CAP / 2);
        assert_eq!(backoff.tries(), 1, "a short connection is another failure");
        backoff.ended_after(CAP);
        assert_eq!(backoff.tries(), 0);
        assert!(backoff.next(u64::MAX) <= FIRST);
    }
}
