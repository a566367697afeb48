//! Messages between a generator and its child processes: lines of JSON on their standard input and
//! output.

use std::{
    io::{self, Write},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{counters::SerializedCounters, in_flight::Completion, live::Counts, shared::Phase};

/// To a process.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum ParentMessage {
    /// The run starts, at a time on the system clock.
    Begin(Clock),
    /// Begin nothing new.
    Drain,
    /// A message of one of its senders is complete in another process.
    Completed(Completion),
    End,
}

/// From a process.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum ChildMessage {
    Counts(Counts),
    Ready,
    Drained,
    /// A message of another process' sender is complete in this one.
    Completed(Completion),
    /// The last message.
    Counters(SerializedCounters),
}

impl ParentMessage {
    pub(super) fn of(phase: Phase) -> Option<Self> {
        match phase {
            Phase::Preparing => None,
            Phase::Running(start) => Some(Self::Begin(Clock::of(start))),
            Phase::Draining => Some(Self::Drain),
            Phase::Over => Some(Self::End),
        }
    }
}

/// A time that is valid in all processes of the machine: nanoseconds of the wall clock.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Clock(u64);

impl Clock {
    fn of(time: Instant) -> Self {
        Self(nanos_now() + nanos(time.saturating_duration_since(Instant::now())))
    }

    /// The same time on this process' clock. Both clocks are read within a microsecond, unless
    /// the process waits for a core just then: the closest of some attempts is taken.
    pub(super) fn instant(self) -> Instant {
        let attempt = |_| {
            let before = Instant::now();
            let left = Duration::from_nanos(self.0.saturating_sub(nanos_now()));
            let took = before.elapsed();
            (took, before + took / 2 + left)
        };
        let closest = (0..8).map(attempt).min_by_key(|(took, _)| *took);
        closest.map_or_else(Instant::now, |(_, time)| time)
    }
}

fn nanos_now() -> u64 {
    nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Writes a line.
pub(super) fn write_line(out: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_time_is_the_same_in_other_processes() {
        let time = Instant::now() + Duration::from_secs(60);
        let other = Clock::of(time).instant();
        let apart = time.saturating_duration_since(other) + other.saturating_duration_since(time);
        assert!(apart < Duration::from_secs(1), "{apart:?}");
    }

    #[test]
    fn messages_are_lines() {
        let message = ParentMessage::Completed((3, 9));
        let mut line = Vec::new();
        write_line(&mut line, &message).unwrap();
        assert!(line.ends_with(b"\n"));
        assert_eq!(serde_json::from_slice::<ParentMessage>(&line).unwrap(), message);
    }
}
