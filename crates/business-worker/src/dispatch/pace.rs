//! Whether methods run where their events are read, or on other threads from their first line.
//!
//! Where they are read costs least, and suits methods that wait or are done at once. Those that
//! compute for long would hold up every client of their gateway there; once they are noticed, all
//! begin in lanes, which give up their place among the runtime's threads while they compute, until
//! they have been quick for long enough. (Lanes alone would not do: the thread that computes may
//! be the very one that was to look after every socket.)

use std::{mem, time::Duration};

use service::clock::Took;

/// What a few methods in a row may compute where their events are read. Less in all is no reason to ask
/// what was computed.
pub(super) const SLICE: Duration = Duration::from_millis(2);

/// What they may take there in all. More than they may compute, since time in which others have the
/// core is not theirs: on a busy machine that is several milliseconds now and then, and were it held
/// against methods, all of them would go to lanes just when CPU is scarce.
const STANDSTILL: Duration = Duration::from_millis(25);

/// How many methods in a row are looked at together: the clock is not free.
pub(super) const METHODS_PER_SLICE: u32 = 16;

/// What a method in a lane may compute without a wait, and what it may take, to count as quick.
pub(super) const QUICK: Duration = Duration::from_micros(100);
const QUICK_IN_ALL: Duration = Duration::from_micros(1500);

/// How many quick ones in a row it takes to trust them again.
const TRUST: u32 = 256;

/// The pace of one link's events.
#[derive(Debug, Default)]
pub(super) struct Pace {
    in_lanes: bool,
    /// Methods begun in the present slice.
    begun: u32,
}

/// What happens in lanes, reported by them.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// Quick methods in a row.
    quick: u32,
    /// A method was noticed there.
    slow: bool,
}

impl Lanes {
    /// A method took that long, at most, from one wait to the next.
    pub(super) fn took(&mut self, longest: Took) {
        if QUICK <= longest.cpu {
            self.quick = 0;
        } else if longest.wall < QUICK_IN_ALL {
            self.quick = self.quick.saturating_add(1);
        }
        self.slow |= is_slow(longest);
    }
}

impl Pace {
    /// Whether the next method begins in a lane.
    pub(super) const fn is_in_lanes(&self) -> bool {
        self.in_lanes
    }

    /// A method was polled where its event was read. Says whether it is time to look at the clock.
    pub(super) const fn polled(&mut self) -> bool {
        self.begun += 1;
        METHODS_PER_SLICE <= self.begun
    }

    /// The methods since the last look, if any, took that long together.
    pub(super) fn slice(&mut self, took: Took) {
        if 0 < mem::take(&mut self.begun) && is_slow(took) {
            self.in_lanes = true;
        }
    }

    /// Takes in what lanes say.
    pub(super) fn reconsider(&mut self, lanes: &mut Lanes) {
        if mem::take(&mut lanes.slow) {
            self.in_lanes = true;
        } else if TRUST <= lanes.quick {
            self.in_lanes = false;
            lanes.quick = 0;
        }
    }
}

/// Whether that holds up whoever comes next.
fn is_slow(Took { wall, cpu }: Took) -> bool {
    SLICE < cpu || STANDSTILL < wall
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_nanos(1);

    fn computed(cpu: Duration) -> Took {
        Took { wall: cpu, cpu }
    }

    fn waited(wall: Duration) -> Took {
        Took { wall, cpu: Duration::ZERO }
    }

    #[test]
    fn one_slow_slice_sends_all_to_lanes() {
        for (fine, slow) in [
            (computed(SLICE), computed(SLICE + TICK)),
            (waited(STANDSTILL), waited(STANDSTILL + TICK)),
        ] {
            let mut pace = Pace::default();
            pace.polled();
            pace.slice(fine);
            assert!(!pace.is_in_lanes());
            pace.polled();
            pace.slice(slow);
            assert!(pace.is_in_lanes());
        }
    }

    #[test]
    fn time_in_which_nothing_began_does_not_count() {
        let mut pace = Pace::default();
        pace.slice(computed(SLICE * 100));
        assert!(!pace.is_in_lanes());
    }

    #[test]
    fn the_clock_is_looked_at_once_a_slice() {
        let mut pace = Pace::default();
        let looks = (0..METHODS_PER_SLICE).filter(|_| pace.polled()).count();
        assert_eq!(looks, 1);
    }

    #[test]
    fn only_many_quick_ones_in_a_row_bring_them_back() {
        let (mut pace, mut lanes) = (Pace { in_lanes: true, begun: 0 }, Lanes::default());
        for _ in 1..TRUST {
            lanes.took(Took::NOTHING);
        }
        lanes.took(computed(QUICK));
        pace.reconsider(&mut lanes);
        assert!(pace.is_in_lanes());
        for _ in 0..TRUST {
            lanes.took(Took::NOTHING);
        }
        pace.reconsider(&mut lanes);
        assert!(!pace.is_in_lanes());
        pace = Pace { in_lanes: true, begun: 0 };
        pace.reconsider(&mut lanes);
        assert!(pace.is_in_lanes(), "trust is earned anew");
    }

    #[test]
    fn who_waits_for_a_core_is_not_blamed_and_who_blocks_a_thread_is_not_trusted() {
        let (mut pace, mut lanes) = (Pace { in_lanes: true, begun: 0 }, Lanes::default());
        for _ in 0..TRUST {
            lanes.took(waited(QUICK_IN_ALL));
        }
        pace.reconsider(&mut lanes);
        assert!(pace.is_in_lanes());
        for _ in 0..TRUST {
            lanes.took(Took::NOTHING);
            lanes.took(waited(QUICK_IN_ALL));
        }
        pace.reconsider(&mut lanes);
        assert!(!pace.is_in_lanes());
    }

    #[test]
    fn what_computes_after_a_wait_is_noticed_as_well() {
        let (mut pace, mut lanes) = (Pace::default(), Lanes::default());
        lanes.took(computed(SLICE));
        pace.reconsider(&mut lanes);
        assert!(!pace.is_in_lanes());
        lanes.took(computed(SLICE * 2));
        pace.reconsider(&mut lanes);
        assert!(pace.is_in_lanes());
    }
}
