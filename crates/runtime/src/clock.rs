//! The time.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The current time of the runtime's timers, which tests can pause.
#[must_use]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The time of the host's clock, in seconds since the Unix epoch. It may be wrong, and may go
/// backwards.
#[must_use]
pub fn unix_seconds() -> u64 {
    unix_nanos() / 1_000_000_000
}

/// The same in milliseconds.
#[must_use]
pub fn unix_millis() -> u64 {
    unix_nanos() / 1_000_000
}

/// The same in microseconds.
#[must_use]
pub fn unix_micros() -> u64 {
    unix_nanos() / 1000
}

/// The time of the host's clock, in nanoseconds since 1970. It may be wrong, and may go backwards.
#[must_use]
#[cfg(not(simulation))]
pub fn unix_nanos() -> u64 {
    let time = clock_gettime(ClockId::Realtime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec.unsigned_abs())
}

#[cfg(simulation)]
pub use simulated::host_clock::unix_nanos;

/// Wall and CPU time of an operation on this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    /// Elapsed time.
    pub wall: Duration,
    /// CPU time of the thread. During the rest it waited, or was preempted.
    pub cpu: Duration,
}

impl Elapsed {
    /// No time at all.
    pub const NOTHING: Self = Self { wall: Duration::ZERO, cpu: Duration::ZERO };

    /// The maximum of both times.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { wall: self.wall.max(other.wall), cpu: self.cpu.max(other.cpu) }
    }
}

/// Measures an operation on this thread. Costs one system call at its start and one at its end.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    since: Instant,
    cpu: Duration,
}

impl Stopwatch {
    /// Starts the measurement.
    #[must_use]
    pub fn start() -> Self {
        Self { since: now(), cpu: cpu() }
    }

    /// The time elapsed so far. Must be called on the thread that started it.
    #[must_use]
    pub fn took(self) -> Elapsed {
        let wall = now() - self.since;
        // With a paused clock, no time passes.
        Elapsed { wall, cpu: cpu().saturating_sub(self.cpu).min(wall) }
    }

    /// The time elapsed so far, or [`Elapsed::NOTHING`] if less than `least`, which saves the second
    /// system call.
    #[must_use]
    pub fn took_at_least(self, least: Duration) -> Elapsed {
        if now() - self.since < least { Elapsed::NOTHING } else { self.took() }
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
    fn waiting_takes_no_cpu_time() {
        let stopwatch = Stopwatch::start();
        let (_sender, receiver) = mpsc::channel::<()>();
        assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err());
        let Elapsed { wall, cpu } = stopwatch.took();
        assert!(Duration::from_millis(50) <= wall && cpu < wall / 2, "{wall:?} {cpu:?}");
    }

    #[test]
    fn time_below_the_minimum_is_nothing() {
        let stopwatch = Stopwatch::start();
        assert_eq!(stopwatch.took_at_least(Duration::MAX), Elapsed::NOTHING);
        assert_ne!(stopwatch.took_at_least(Duration::ZERO), Elapsed::NOTHING);
    }

    #[test]
    fn computing_takes_cpu_time() {
        let stopwatch = Stopwatch::start();
        while stopwatch.took().cpu < Duration::from_millis(5) {
            black_box(());
        }
        assert!(Duration::from_millis(5) <= stopwatch.took().wall);
    }
}
