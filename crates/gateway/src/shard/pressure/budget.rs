//! The memory budget of a shard, and its memory pressure.

use std::time::{Duration, Instant};

use framing::shared_frames::SharedFrameBytes;

/// A shard's share of `--memory-budget`, and its use.
///
/// Half of the share is for events, which wait for workers and are never shed: each worker's window
/// gets an equal part of that half, if that is less than `--worker-window`. The other half is for
/// data that clients have queued in either direction, and [`Budget::assess`] is the policy for it.
/// A shard considers only its own share, so nothing is counted across threads.
#[derive(Debug)]
pub(in crate::shard) struct Budget {
    /// Half of the share; `None` if there is no budget.
    half: Option<usize>,
    /// Bytes that connections hold for themselves.
    own: usize,
    /// Large frames that connections share.
    pub(in crate::shard) frames: SharedFrameBytes,
    /// Since when the shard is under memory pressure, and how long that may last.
    pressed: Option<(Instant, Duration)>,
    /// Until when new pressure counts as a relapse.
    relapse: Option<Instant>,
}

/// Memory pressure, and what it requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemoryPressure {
    /// No action.
    Normal,
    /// Accepting pauses, and so do reads of clients in the middle of a large message.
    High,
    /// The largest holders are closed until this many bytes are in use.
    Exceeded(usize),
    /// The same for clients that do not read, or whose upload has stalled; with `any_client`, if
    /// that was not enough, for any client. Clients that are paused only because of their worker
    /// are never closed.
    Sustained { target: usize, any_client: bool },
}

/// How long pressure may last before the largest holders are closed; and the same for a relapse.
const PRESSURE_TOLERANCE: Duration = Duration::from_secs(5);
const RELAPSE_DELAY: Duration = Duration::from_millis(500);

/// How long pressure may last before any client may be closed.
const LAST_RESORT_AFTER: Duration = Duration::from_secs(30);

impl Budget {
    pub(super) fn new(share: Option<usize>) -> Self {
        Self {
            half: share.map(|share| share / 2),
            own: 0,
            frames: SharedFrameBytes::default(),
            pressed: None,
            relapse: None,
        }
    }

    /// A connection's own bytes change from `before` to `after`.
    pub(super) fn change(&mut self, before: usize, after: usize) {
        self.own = self.own + after - before;
    }

    /// Bytes that clients have queued.
    pub(in crate::shard) fn used(&self) -> usize {
        self.own + self.frames.bytes()
    }

    /// The policy. Pressure begins at three quarters of the half for clients and ends at one half
    /// of it. Use beyond all of it is shed immediately, and use beyond one half of it after
    /// [`PRESSURE_TOLERANCE`].
    pub(super) fn assess(&mut self, now: Instant) -> MemoryPressure {
        let Some(half) = self.half.filter(|_| self.is_pressed()) else {
            return MemoryPressure::Normal;
        };
        let relapsed = self.relapse.is_some_and(|until| now < until);
        let begins = (now, if relapsed { RELAPSE_DELAY } else { PRESSURE_TOLERANCE });
        let (since, tolerance) = *self.pressed.get_or_insert(begins);
        match self.used() {
            few if few <= half / 2 => {
                self.pressed = None;
                let lasted = tolerance <= now.saturating_duration_since(since);
                self.relapse = lasted.then_some(now + PRESSURE_TOLERANCE);
                MemoryPressure::Normal
            }
            all if half < all => MemoryPressure::Exceeded(half / 4 * 3),
            _ => match now.saturating_duration_since(since) {
                lasts if lasts < tolerance => MemoryPressure::High,
                lasts => MemoryPressure::Sustained {
                    target: half / 2,
                    any_client: LAST_RESORT_AFTER <= lasts,
                },
            },
        }
    }

    /// Whether the shard is under memory pressure.
    pub(in crate::shard) fn is_pressed(&self) -> bool {
        self.pressed.is_some() || self.half.is_some_and(|half| half / 4 * 3 < self.used())
    }

    /// Bytes of events that one of `workers` workers may have unacknowledged.
    pub(in crate::shard) fn window(&self, configured: usize, workers: usize) -> usize {
        // One more part is for unassigned events.
        self.half.map_or(configured, |half| configured.min(half / (workers + 1)))
    }

    /// How many clients in the middle of a message of up to `size` bytes may be resumed under
    /// memory pressure. A buffer may be twice as large as its contents.
    pub(super) fn room_for(&self, size: usize) -> usize {
        self.half.map_or(usize::MAX, |half| (half / 8 / size).max(1))
    }

    /// Bytes that may be queued before sockets are flushed.
    pub(in crate::shard) fn unwritten(&self) -> usize {
        self.half.map_or(usize::MAX, |half| half / 4)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn pressed_from_three_quarters_on_until_half_is_free() {
        let (mut budget, now) = (Budget::new(Some(2000)), Instant::now());
        budget.change(0, 750);
        assert_eq!((budget.is_pressed(), budget.assess(now)), (false, MemoryPressure::Normal));
        budget.change(0, 1);
        assert_eq!((budget.is_pressed(), budget.assess(now)), (true, MemoryPressure::High));
        budget.change(751, 501);
        assert_eq!(budget.assess(now), MemoryPressure::High);
        budget.change(501, 500);
        assert_eq!((budget.assess(now), budget.is_pressed()), (MemoryPressure::Normal, false));
    }

    #[test]
    fn excess_is_shed_at_once_and_lasting_pressure_after_a_while() {
        let (mut budget, now) = (Budget::new(Some(2000)), Instant::now());
        budget.change(0, 1001);
        assert_eq!(budget.assess(now), MemoryPressure::Exceeded(750));
        budget.change(1001, 749);
        assert_eq!(budget.assess(now), MemoryPressure::High);
        let later = now + 2 * PRESSURE_TOLERANCE;
        assert_eq!(
            budget.assess(later),
            MemoryPressure::Sustained { target: 500, any_client: false }
        );
        budget.change(749, 500);
        assert_eq!(budget.assess(later), MemoryPressure::Normal);
        // A relapse is tolerated for less time.
        budget.change(500, 800);
        assert_eq!(budget.assess(later), MemoryPressure::High);
        let sustained = |any_client| MemoryPressure::Sustained { target: 500, any_client };
        assert_eq!(budget.assess(later + RELAPSE_DELAY), sustained(false));
        assert_eq!(budget.assess(later + LAST_RESORT_AFTER), sustained(true));
    }

    #[test]
    fn shared_frames_count_as_well() {
        let (mut budget, now) = (Budget::new(Some(20_000)), Instant::now());
        let frame = budget.frames.count(Bytes::from(vec![0; 10_000]));
        budget.change(0, 1);
        assert_eq!(budget.assess(now), MemoryPressure::Exceeded(7500));
        drop(frame);
        assert_eq!(budget.assess(now), MemoryPressure::Normal);
    }

    #[test]
    fn windows_never_take_more_than_half() {
        let budget = Budget::new(Some(1000));
        assert_eq!([0, 1, 9].map(|workers| budget.window(200, workers)), [200, 200, 50]);
        assert_eq!(Budget::new(None).window(200, 9), 200);
    }

    #[test]
    fn without_a_budget_there_is_no_pressure() {
        let mut budget = Budget::new(None);
        budget.change(0, usize::MAX / 2);
        assert_eq!(budget.assess(Instant::now()), MemoryPressure::Normal);
    }
}
