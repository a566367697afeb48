//! Which thread a new connection goes to.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What each thread has, as far as it matters to whoever lets connections in.
///
/// Threads are filled one after the other: as long as one of them can do the work, what its clients
/// say is read together, goes to a worker in one piece, and nobody is woken across threads. So a
/// further thread is used for every `per_thread` connections that there are, and among those in use
/// the one that has the fewest gets the next.
#[derive(Debug)]
pub(crate) struct Places {
    each: Vec<Place>,
    per_thread: usize,
}

#[derive(Debug, Default)]
struct Place {
    connections: AtomicUsize,
    crowded: AtomicBool,
}

// None of these is ordered with anything else: a count that is a moment old costs a little balance.
impl Places {
    /// Places on `threads` threads, of which a further one is used for each `per_thread`
    /// connections.
    pub(crate) fn new(threads: usize, per_thread: usize) -> Self {
        let each = (0..threads).map(|_| Place::default()).collect();
        Self { each, per_thread }
    }

    /// How many threads there are.
    pub(crate) fn threads(&self) -> usize {
        self.each.len()
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.each.iter().map(|place| place.connections.load(Ordering::Relaxed)).sum()
    }

    /// Takes a place for a new connection: on which thread; none if all of them hold too much.
    pub(crate) fn take(&self) -> Option<usize> {
        let in_use = (self.taken() / self.per_thread).min(self.each.len() - 1) + 1;
        let (first, rest) = self.each.split_at(in_use);
        let thread = fewest(first).or_else(|| Some(in_use + fewest(rest)?))?;
        self.each[thread].connections.fetch_add(1, Ordering::Relaxed);
        Some(thread)
    }

    /// A connection of this thread is over.
    pub(crate) fn leave(&self, thread: usize) {
        self.each[thread].connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Says whether a thread holds so much that it should get no more connections.
    pub(crate) fn set_crowded(&self, thread: usize, crowded: bool) {
        let place = &self.each[thread].crowded;
        // Looked at by others more often than it changes.
        if place.load(Ordering::Relaxed) != crowded {
            place.store(crowded, Ordering::Relaxed);
        }
    }
}

fn fewest(places: &[Place]) -> Option<usize> {
    let roomy = places.iter().enumerate().filter(|(_, it)| !it.crowded.load(Ordering::Relaxed));
    let fewest = roomy.min_by_key(|(_, place)| place.connections.load(Ordering::Relaxed));
    fewest.map(|(thread, _)| thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(places: &Places, connections: usize) -> Vec<usize> {
        (0..connections).map(|_| places.take().unwrap()).collect()
    }

    #[test]
    fn threads_are_filled_one_after_the_other_and_then_evenly() {
        let places = Places::new(3, 2);
        assert_eq!(taken(&places, 4), [0, 0, 1, 1]);
        assert_eq!(taken(&places, 5), [2, 2, 0, 1, 2]);
        assert_eq!(places.taken(), 9);
    }

    #[test]
    fn places_that_were_left_are_taken_first() {
        let places = Places::new(2, 2);
        taken(&places, 4);
        for thread in [0, 0, 1] {
            places.leave(thread);
        }
        assert_eq!(taken(&places, 3), [0, 0, 1]);
    }

    #[test]
    fn a_crowded_thread_gets_nothing_while_another_is_not() {
        let places = Places::new(2, 100);
        places.set_crowded(0, true);
        assert_eq!(taken(&places, 2), [1, 1]);
        places.set_crowded(1, true);
        assert_eq!(places.take(), None);
        places.set_crowded(0, false);
        assert_eq!(taken(&places, 1), [0]);
        assert_eq!(places.taken(), 3, "who found no place has none");
    }
}
