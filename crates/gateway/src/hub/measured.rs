//! The choice of commands whose delivery is measured. A value.

use std::time::{Duration, Instant};

/// At most one sample in this time, and one reading of the clock for each run of the hub.
const INTERVAL: Duration = Duration::from_millis(10);

/// Samples commands: the first of a run, if the last sample is long enough ago.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// Whether this run has a command.
    has_command: bool,
    arrived: Option<Instant>,
    last: Option<Instant>,
}

impl Measured {
    /// A command has arrived. The time is read for the first of a run only.
    pub(super) fn arrived(&mut self, now: impl FnOnce() -> Instant) {
        if self.has_command {
            return;
        }
        self.has_command = true;
        let now = now();
        if self.last.is_none_or(|last| INTERVAL <= now.saturating_duration_since(last)) {
            (self.arrived, self.last) = (Some(now), Some(now));
        }
    }

    /// The run ends: its sample, if it has one.
    pub(super) fn take(&mut self) -> Option<Instant> {
        self.has_command = false;
        self.arrived.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_command_of_a_run_is_measured_if_the_last_sample_is_long_ago() {
        let (mut measured, start) = (Measured::default(), Instant::now());
        let mut run = |after: u64| {
            let now = start + Duration::from_millis(after);
            measured.arrived(|| now);
            measured.arrived(|| unreachable!("the clock is read once per run"));
            measured.take()
        };
        assert_eq!(run(0), Some(start));
        assert_eq!(run(9), None);
        assert_eq!(run(10), Some(start + INTERVAL));
        assert_eq!(run(19), None);
        assert!(run(500).is_some());
        assert_eq!(measured.take(), None, "a run without a command");
    }
}
