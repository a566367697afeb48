//! Links of those who have not shown yet that they know the secret: how many there may be, and how
//! often one is complained of.

use std::rc::Rc;

use service::rate_limit::Throttle;

/// All strangers of a gateway.
#[derive(Debug)]
pub(super) struct Strangers {
    each: Rc<()>,
    most: usize,
    /// Warnings about refused peers.
    pub(super) warnings: Throttle,
}

/// One stranger. To be dropped when it is one no more.
#[derive(Debug)]
pub(super) struct Stranger {
    _one: Rc<()>,
}

impl Strangers {
    /// As many as that may be connected to the inner port at a time.
    pub(super) fn new(most: usize) -> Self {
        Self { each: Rc::default(), most, warnings: Throttle::per_second() }
    }

    /// Lets one more in, if there are not too many.
    pub(super) fn meet(&self) -> Option<Stranger> {
        // One of the counted is ours.
        let room = Rc::strong_count(&self.each) <= self.most;
        room.then(|| Stranger { _one: Rc::clone(&self.each) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_at_a_time() {
        let strangers = Strangers::new(100);
        let mut all: Vec<_> = (0..100).map(|_| strangers.meet().unwrap()).collect();
        assert!(strangers.meet().is_none());
        all.pop();
        let last = strangers.meet();
        assert!(last.is_some() && strangers.meet().is_none());
    }
}
