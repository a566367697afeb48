//! Decides whether handlers start on the task that reads their events, or in lanes.
//!
//! The reading task is cheapest, and suits handlers that wait or complete at once. Handlers that
//! compute for long would block every client of their gateway there. Once they are detected, all
//! handlers start in lanes, which use `block_in_place` while they compute, until handlers have been
//! fast for long enough. (Lanes alone are not sufficient: the thread that computes may be the one
//! that runs the I/O driver.)

use std::{mem, time::Duration};

use runtime::clock::Elapsed;

/// CPU time that the handlers of one slice may use on the reading task. Below this wall time, the
/// CPU time is not measured.
pub(super) const SLICE: Duration = Duration::from_millis(2);

/// Wall time that they may take there. Longer than the CPU time, since it includes preemption: on a
/// busy machine that is several milliseconds at times, and counting it would move all handlers to
/// lanes just when CPU is scarce.
const STALL: Duration = Duration::from_millis(25);

/// Handlers per slice, which are measured together: reading the clock has a cost.
const HANDLERS_PER_SLICE: u32 = 16;

/// CPU time and wall time between two waits below which a handler in a lane counts as fast.
pub(super) const FAST: Duration = Duration::from_micros(100);
const FAST_WALL: Duration = Duration::from_micros(1500);

/// Number of consecutive fast handlers after which handlers leave the lanes again.
const FAST_IN_A_ROW: u32 = 256;

/// The state of one link.
#[derive(Debug, Default)]
pub(super) struct BlockingDetector {
    in_lanes: bool,
    /// Handlers started in the current slice.
    begun: u32,
}

/// Measurements reported by lanes.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// Consecutive fast handlers.
    fast: u32,
    /// Whether a slow handler was detected.
    slow: bool,
}

impl Lanes {
    /// Records a handler's longest time between two waits.
    pub(super) fn record(&mut self, longest: Elapsed) {
        if FAST <= longest.cpu {
            self.fast = 0;
        } else if longest.wall < FAST_WALL {
            self.fast = self.fast.saturating_add(1);
        }
        self.slow |= is_slow(longest);
    }
}

impl BlockingDetector {
    /// Whether the next handler starts in a lane.
    pub(super) const fn is_in_lanes(&self) -> bool {
        self.in_lanes
    }

    /// Records that a handler was polled on the reading task. Returns whether the slice is
    /// complete.
    pub(super) const fn polled(&mut self) -> bool {
        self.begun += 1;
        HANDLERS_PER_SLICE <= self.begun
    }

    /// Records the time taken by the handlers of the current slice, if any, and starts the next.
    pub(super) fn slice(&mut self, took: Elapsed) {
        if 0 < mem::take(&mut self.begun) && is_slow(took) {
            self.in_lanes = true;
        }
    }

    /// Applies the measurements of lanes.
    pub(super) fn reconsider(&mut self, lanes: &mut Lanes) {
        if mem::take(&mut lanes.slow) {
            self.in_lanes = true;
        } else if FAST_IN_A_ROW <= lanes.fast {
            self.in_lanes = false;
            lanes.fast = 0;
        }
    }
}

/// Whether that delays the next events too much.
fn is_slow(Elapsed { wall, cpu }: Elapsed) -> bool {
    SLICE < cpu || STALL < wall
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_nanos(1);

    fn computed(cpu: Duration) -> Elapsed {
        Elapsed { wall: cpu, cpu }
    }

    fn waited(wall: Duration) -> Elapsed {
        Elapsed { wall, cpu: Duration::ZERO }
    }

    #[test]
    fn slow_slice_moves_handlers_to_lanes() {
        for (fast, slow) in
            [(computed(SLICE), computed(SLICE + TICK)), (waited(STALL), waited(STALL + TICK))]
        {
            let mut detector = BlockingDetector::default();
            detector.polled();
            detector.slice(fast);
            assert!(!detector.is_in_lanes());
            detector.polled();
            detector.slice(slow);
            assert!(detector.is_in_lanes());
        }
    }

    #[test]
    fn time_without_handlers_does_not_count() {
        let mut detector = BlockingDetector::default();
        detector.slice(computed(SLICE * 100));
        assert!(!detector.is_in_lanes());
    }

    #[test]
    fn clock_is_read_once_per_slice() {
        let mut detector = BlockingDetector::default();
        let reads = (0..HANDLERS_PER_SLICE).filter(|_| detector.polled()).count();
        assert_eq!(reads, 1);
    }

    #[test]
    fn handlers_leave_lanes_after_consecutive_fast_ones() {
        let (mut detector, mut lanes) =
            (BlockingDetector { in_lanes: true, begun: 0 }, Lanes::default());
        for _ in 1..FAST_IN_A_ROW {
            lanes.record(Elapsed::NOTHING);
        }
        lanes.record(computed(FAST));
        detector.reconsider(&mut lanes);
        assert!(detector.is_in_lanes());
        for _ in 0..FAST_IN_A_ROW {
            lanes.record(Elapsed::NOTHING);
        }
        detector.reconsider(&mut lanes);
        assert!(!detector.is_in_lanes());
        detector = BlockingDetector { in_lanes: true, begun: 0 };
        detector.reconsider(&mut lanes);
        assert!(detector.is_in_lanes(), "the count starts again");
    }

    #[test]
    fn long_wall_time_neither_resets_nor_extends_the_run_of_fast_handlers() {
        let (mut detector, mut lanes) =
            (BlockingDetector { in_lanes: true, begun: 0 }, Lanes::default());
        for _ in 0..FAST_IN_A_ROW {
            lanes.record(waited(FAST_WALL));
        }
        detector.reconsider(&mut lanes);
        assert!(detector.is_in_lanes());
        for _ in 0..FAST_IN_A_ROW {
            lanes.record(Elapsed::NOTHING);
            lanes.record(waited(FAST_WALL));
        }
        detector.reconsider(&mut lanes);
        assert!(!detector.is_in_lanes());
    }

    #[test]
    fn handler_that_computes_after_a_wait_is_detected() {
        let (mut detector, mut lanes) = (BlockingDetector::default(), Lanes::default());
        lanes.record(computed(SLICE));
        detector.reconsider(&mut lanes);
        assert!(!detector.is_in_lanes());
        lanes.record(computed(SLICE * 2));
        detector.reconsider(&mut lanes);
        assert!(detector.is_in_lanes());
    }
}
