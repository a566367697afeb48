//! When no register could tell workers that this gateway is there.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A time without a register that was shorter cannot have had anybody take us for gone: workers wait
/// for longer, if they have a register themselves that does not name us. As long as it lasts, nobody
/// knows how long it will be.
const BRIEF: Duration = Duration::from_secs(2);

/// How many such times are remembered one by one.
const REMEMBERED: usize = 64;

/// When no register knew of this gateway.
///
/// Workers that are cut off from it meanwhile may take it for gone, and close their clients on its
/// behalf, without a mark if its registers lost it when they did. So it marks the ends of these clients,
/// which others have from it by then.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    patience: Duration,
    unseen: Arc<Mutex<Unseen>>,
}

#[derive(Debug, Default)]
struct Unseen {
    /// Since when no register knows of us.
    since: Option<Instant>,
    /// From when to when that was so before, oldest first, without those that were brief.
    before: VecDeque<(Instant, Instant)>,
}

impl Sight {
    /// That of a gateway whose peers and registers may be silent for `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, unseen: Arc::default() }
    }

    /// How long a link, or a register, may be of no use before that is noticed.
    pub(crate) const fn patience(&self) -> Duration {
        self.patience
    }

    /// No register knows of us any more, since then.
    pub(crate) fn lose(&self, since: Instant) {
        self.lock().since = Some(since);
    }

    /// A register knows of us again, from now on.
    pub(crate) fn regain(&self, now: Instant) {
        let mut unseen = self.lock();
        let Some(from) = unseen.since.take().filter(|from| *from + BRIEF <= now) else {
            return;
        };
        unseen.before.push_back((from, now));
        if REMEMBERED < unseen.before.len()
            && let (Some((oldest, _)), Some((from, _))) =
                (unseen.before.pop_front(), unseen.before.front_mut())
        {
            // In doubt they were one.
            *from = oldest;
        }
    }

    /// Whether a worker whose link was lost at that time may take us for gone, or have done so. Says
    /// `true` for good, except while no register has known of us for a moment only.
    pub(crate) fn is_doubtful(&self, lost: Instant) -> bool {
        let unseen = self.lock();
        unseen.since.is_some_and(|since| self.concerns(lost, since, None))
            || unseen.before.iter().any(|(from, to)| self.concerns(lost, *from, Some(*to)))
    }

    /// The same, as far as it will not change any more.
    pub(crate) fn was_doubtful(&self, lost: Instant) -> bool {
        let unseen = self.lock();
        unseen.before.iter().any(|(from, to)| self.concerns(lost, *from, Some(*to)))
    }

    /// Whether both were lost at the same time, as far as that can be told: each was perhaps so for
    /// `patience` before it was noticed, here or there. A worker that was lost long before knows that
    /// registers named us meanwhile, and marks what it closes.
    fn concerns(&self, lost: Instant, from: Instant, to: Option<Instant>) -> bool {
        from <= lost + self.patience + BRIEF && to.is_none_or(|to| lost <= to + self.patience)
    }

    fn lock(&self) -> MutexGuard<'_, Unseen> {
        // Every change is one step, so a panic elsewhere leaves nothing half done.
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const SOON: Duration = Duration::from_secs(1);

    /// One that was unseen for that long, from then on.
    fn unseen_for(time: Duration) -> (Sight, Instant) {
        let (sight, from) = (Sight::new(PATIENCE), Instant::now() + PATIENCE * 9);
        sight.lose(from);
        sight.regain(from + time);
        (sight, from)
    }

    #[test]
    fn whoever_a_register_knows_need_not_fear_to_be_taken_for_gone() {
        let sight = Sight::new(PATIENCE);
        sight.regain(Instant::now());
        assert!(!sight.is_doubtful(Instant::now()));
    }

    #[test]
    fn a_worker_that_is_lost_with_the_last_register_may_take_us_for_gone() {
        let (sight, from) = unseen_for(BRIEF);
        for lost in [from, from + BRIEF, from + BRIEF + PATIENCE, from - BRIEF - PATIENCE] {
            assert!(sight.is_doubtful(lost) && sight.was_doubtful(lost));
        }
    }

    #[test]
    fn one_that_is_lost_long_before_or_after_does_not() {
        let (sight, from) = unseen_for(BRIEF);
        assert!(!sight.is_doubtful(from - BRIEF - PATIENCE - SOON));
        assert!(!sight.is_doubtful(from + BRIEF + PATIENCE + SOON));
    }

    #[test]
    fn what_is_brief_counts_while_it_lasts() {
        let (sight, from) = (Sight::new(PATIENCE), Instant::now());
        sight.lose(from);
        assert!(sight.is_doubtful(from) && !sight.was_doubtful(from));
        sight.regain(from + SOON);
        assert!(!sight.is_doubtful(from));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_in_doubt_too_much() {
        let (sight, from) = unseen_for(BRIEF);
        let mut now = from;
        for _ in 0..REMEMBERED * 2 {
            now += PATIENCE * 9;
            sight.lose(now);
            sight.regain(now + BRIEF);
        }
        assert_eq!(sight.lock().before.len(), REMEMBERED);
        assert!(sight.is_doubtful(from) && sight.is_doubtful(now));
        assert!(!sight.is_doubtful(now + PATIENCE * 2));
    }
}
