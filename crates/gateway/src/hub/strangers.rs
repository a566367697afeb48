//! Links of those who have not shown yet that they know the secret: how many there may be, and how
//! often one is complained of.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

/// How many strangers may be connected to the inner port at a time. Each may keep a link for as
/// long as it takes to be found silent, and have us hold one frame of a stranger.
const MAX_STRANGERS: usize = 4096;

/// Strangers must not fill the log.
const WARN_EVERY: Duration = Duration::from_secs(1);

/// All strangers of a gateway.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    each: Rc<()>,
    last_warning: Option<Instant>,
}

/// One stranger. To be dropped when it is one no more.
#[derive(Debug)]
pub(super) struct Stranger {
    _one: Rc<()>,
}

impl Strangers {
    /// Lets one more in, if there are not too many.
    pub(super) fn meet(&self) -> Option<Stranger> {
        // One of the counted is ours.
        let room = Rc::strong_count(&self.each) <= MAX_STRANGERS;
        room.then(|| Stranger { _one: Rc::clone(&self.each) })
    }

    /// Whether it is time for another warning.
    pub(super) fn may_warn(&mut self, now: Instant) -> bool {
        let may = self.last_warning.is_none_or(|last| WARN_EVERY <= now - last);
        if may {
            self.last_warning = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_at_a_time() {
        let strangers = Strangers::default();
        let mut all: Vec<_> = (0..MAX_STRANGERS).map(|_| strangers.meet().unwrap()).collect();
        assert!(strangers.meet().is_none());
        all.pop();
        let last = strangers.meet();
        assert!(last.is_some() && strangers.meet().is_none());
    }

    #[test]
    fn warnings_are_rare() {
        let (mut strangers, start) = (Strangers::default(), Instant::now());
        assert!(strangers.may_warn(start));
        assert!(!strangers.may_warn(start + WARN_EVERY / 2));
        assert!(strangers.may_warn(start + WARN_EVERY));
    }
}
