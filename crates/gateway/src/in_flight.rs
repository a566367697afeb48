//! The events that one worker has not acknowledged, as its shards last published them.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Sums over all shards, each of which adds the difference to what it published last.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    events: AtomicUsize,
    bytes: AtomicUsize,
}

/// The part of one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

impl InFlight {
    /// Replaces the part of a shard. Sums of unsigned numbers wrap around on the way to the right one.
    pub(crate) fn replace(&self, before: Part, now: Part) {
        if before != now {
            self.events.fetch_add(now.events.wrapping_sub(before.events), Ordering::Relaxed);
            self.bytes.fetch_add(now.bytes.wrapping_sub(before.bytes), Ordering::Relaxed);
        }
    }

    pub(crate) fn events(&self) -> usize {
        self.events.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_follow_the_parts_of_each_shard() {
        let (sum, none) = (InFlight::default(), Part::default());
        let (one, two) = (Part { events: 3, bytes: 100 }, Part { events: 1, bytes: 7 });
        sum.replace(none, one);
        sum.replace(none, two);
        assert_eq!((sum.events(), sum.bytes()), (4, 107));
        sum.replace(one, none);
        sum.replace(two, one);
        assert_eq!((sum.events(), sum.bytes()), (3, 100));
    }
}
