//! The time.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Now, as timers have it: where a test has stopped the clock of its runtime, so is this.
#[must_use]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How long something took on this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Took {
    /// From its beginning to its end.
    pub wall: Duration,
    /// What of that the thread computed. The rest it waited, or others had its core.
    pub cpu: Duration,
}

impl Took {
    /// No time at all.
    pub const NOTHING: Self = Self { wall: Duration::ZERO, cpu: Duration::ZERO };

    /// The longer of both, in either respect.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { wall: self.wall.max(other.wall), cpu: self.cpu.max(other.cpu) }
    }
}

/// Measures what something takes on this thread. Costs a system call at its beginning, and one at its
/// end.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    since: Instant,
    cpu: Duration,
}

impl Stopwatch {
    /// Begins to measure.
    #[must_use]
    pub fn start() -> Self {
        Self { since: now(), cpu: cpu() }
    }

    /// What it took so far. To be asked on the thread that it was started on.
    #[must_use]
    pub fn took(self) -> Took {
        let wall = now() - self.since;
        // Where a test has stopped the clock, nothing takes any time.
        Took { wall, cpu: cpu().saturating_sub(self.cpu).min(wall) }
    }

    /// What it took so far, if that is not less than `least` in all, and nothing otherwise: that spares
    /// the second system call.
    #[must_use]
    pub fn took_at_least(self, least: Duration) -> Took {
        if now() - self.since < least { Took::NOTHING } else { self.took() }
    }
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use std::{hint::black_box, sync::mpsc};

    use super::*;

    #[test]
    fn waiting_is_not_computing() {
        let stopwatch = Stopwatch::start();
        let (_silent, words) = mpsc::channel::<()>();
        assert!(words.recv_timeout(Duration::from_millis(50)).is_err());
        let Took { wall, cpu } = stopwatch.took();
        assert!(Duration::from_millis(50) <= wall && cpu < wall / 2, "{wall:?} {cpu:?}");
    }

    #[test]
    fn what_is_short_is_nothing() {
        let stopwatch = Stopwatch::start();
        assert_eq!(stopwatch.took_at_least(Duration::MAX), Took::NOTHING);
        assert_ne!(stopwatch.took_at_least(Duration::ZERO), Took::NOTHING);
    }

    #[test]
    fn computing_is() {
        let stopwatch = Stopwatch::start();
        while stopwatch.took().cpu < Duration::from_millis(5) {
            black_box(());
        }
        assert!(Duration::from_millis(5) <= stopwatch.took().wall);
    }
}
