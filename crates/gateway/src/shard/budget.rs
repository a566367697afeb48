//! How many bytes clients may make a shard hold, and when it is too much.

use std::time::{Duration, Instant};

use crate::ledger::Ledger;

/// A shard's share of `--memory-budget`, and what of it is in use.
///
/// Half of the share is for events, which wait for workers and are never given up: each worker's
/// window gets an equal part of that half, if that is less than `--worker-window`. The other half
/// is for what clients have queued, in either direction, and [`Budget::verdict`] says what becomes
/// of them when it is not enough. A shard looks at nothing but its own share, so that none of this
/// is counted across threads.
#[derive(Debug)]
pub(super) struct Budget {
    /// Half of the share; `None` if there is no budget.
    half: Option<usize>,
    /// Bytes that connections hold for themselves.
    own: usize,
    /// Large frames, which connections share.
    pub(super) frames: Ledger,
    /// Since when too much has been in use, and how long that may last.
    pressed: Option<(Instant, Duration)>,
    /// Until when pressure that comes back counts as the same.
    relapse: Option<Instant>,
}

/// What is to be done about the bytes that clients have queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Fine,
    /// Nobody is let in, and nobody is read who is in the midst of a large message.
    Pressed,
    /// The largest holders are closed until this many bytes are left.
    Over(usize),
    /// The same of those who do not read, or do not send the rest of what they began; or, if even
    /// that does not help, of `whoever` holds the most. Who waits for a worker is spared.
    Overdue { target: usize, whoever: bool },
}

/// How long clients in the midst of large messages may have to wait before the largest holders are
/// closed for their sake; and the same if that did not help for long.
const PATIENCE: Duration = Duration::from_secs(5);
const IMPATIENCE: Duration = Duration::from_millis(500);

/// How long, before it no longer matters who sends something now and then.
const WHOEVER: Duration = Duration::from_secs(30);

impl Budget {
    pub(super) fn new(share: Option<usize>) -> Self {
        Self {
            half: share.map(|share| share / 2),
            own: 0,
            frames: Ledger::default(),
            pressed: None,
            relapse: None,
        }
    }

    /// A connection held `before` bytes for itself, and holds `after` now.
    pub(super) fn change(&mut self, before: usize, after: usize) {
        self.own = self.own + after - before;
    }

    /// Bytes that clients have queued.
    pub(super) fn used(&self) -> usize {
        self.own + self.frames.bytes()
    }

    /// The policy: what to do about the bytes that are in use. From three quarters on the shard is
    /// pressed, and until no more than half is in use. Whatever is over the whole is given up at
    /// once, and whatever is over half after [`PATIENCE`].
    pub(super) fn verdict(&mut self, now: Instant) -> Verdict {
        let Some(half) = self.half.filter(|_| self.is_pressed()) else {
            return Verdict::Fine;
        };
        let relapsed = self.relapse.is_some_and(|until| now < until);
        let begins = (now, if relapsed { IMPATIENCE } else { PATIENCE });
        let (since, patience) = *self.pressed.get_or_insert(begins);
        match self.used() {
            few if few <= half / 2 => {
                self.pressed = None;
                let lasted = patience <= now.saturating_duration_since(since);
                self.relapse = lasted.then_some(now + PATIENCE);
                Verdict::Fine
            }
            all if half < all => Verdict::Over(half / 4 * 3),
            _ => match now.saturating_duration_since(since) {
                lasts if lasts < patience => Verdict::Pressed,
                lasts => Verdict::Overdue { target: half / 2, whoever: WHOEVER <= lasts },
            },
        }
    }

    /// Whether too much is in use.
    pub(super) fn is_pressed(&self) -> bool {
        self.pressed.is_some() || self.half.is_some_and(|half| half / 4 * 3 < self.used())
    }

    /// How many bytes of events one of so many workers may have unfinished.
    pub(super) fn window(&self, configured: usize, workers: usize) -> usize {
        // One more part for the events that wait for a worker.
        self.half.map_or(configured, |half| configured.min(half / (workers + 1)))
    }

    /// How many of those in the midst of a message of up to `size` bytes may be read on while the
    /// shard is pressed. A buffer may be twice as large as what is in it.
    pub(super) fn room_for(&self, size: usize) -> usize {
        self.half.map_or(usize::MAX, |half| (half / 8 / size).max(1))
    }

    /// How many bytes may be queued before those that their sockets take are written.
    pub(super) fn unwritten(&self) -> usize {
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
        assert_eq!((budget.is_pressed(), budget.verdict(now)), (false, Verdict::Fine));
        budget.change(0, 1);
        assert_eq!((budget.is_pressed(), budget.verdict(now)), (true, Verdict::Pressed));
        budget.change(751, 501);
        assert_eq!(budget.verdict(now), Verdict::Pressed);
        budget.change(501, 500);
        assert_eq!((budget.verdict(now), budget.is_pressed()), (Verdict::Fine, false));
    }

    #[test]
    fn what_is_over_is_given_up_at_once_and_what_stays_after_a_while() {
        let (mut budget, now) = (Budget::new(Some(2000)), Instant::now());
        budget.change(0, 1001);
        assert_eq!(budget.verdict(now), Verdict::Over(750));
        budget.change(1001, 749);
        assert_eq!(budget.verdict(now), Verdict::Pressed);
        let later = now + 2 * PATIENCE;
        assert_eq!(budget.verdict(later), Verdict::Overdue { target: 500, whoever: false });
        budget.change(749, 500);
        assert_eq!(budget.verdict(later), Verdict::Fine);
        // When it comes back at once, it has to wait for less.
        budget.change(500, 800);
        assert_eq!(budget.verdict(later), Verdict::Pressed);
        let overdue = |whoever| Verdict::Overdue { target: 500, whoever };
        assert_eq!(budget.verdict(later + IMPATIENCE), overdue(false));
        assert_eq!(budget.verdict(later + WHOEVER), overdue(true));
    }

    #[test]
    fn shared_frames_count_as_well() {
        let (mut budget, now) = (Budget::new(Some(20_000)), Instant::now());
        let frame = budget.frames.count(Bytes::from(vec![0; 10_000]));
        budget.change(0, 1);
        assert_eq!(budget.verdict(now), Verdict::Over(7500));
        drop(frame);
        assert_eq!(budget.verdict(now), Verdict::Fine);
    }

    #[test]
    fn windows_never_take_more_than_half() {
        let budget = Budget::new(Some(1000));
        assert_eq!([0, 1, 9].map(|workers| budget.window(200, workers)), [200, 200, 50]);
        assert_eq!(Budget::new(None).window(200, 9), 200);
    }

    #[test]
    fn without_a_budget_nothing_is_too_much() {
        let mut budget = Budget::new(None);
        budget.change(0, usize::MAX / 2);
        assert_eq!(budget.verdict(Instant::now()), Verdict::Fine);
    }
}
