//! Assignment of new connections to threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The load of each thread, as far as the acceptor needs it.
///
/// Threads are filled one after the other. While one thread can handle the load, its clients'
/// events are read and sent to workers in one batch, without wake-ups across threads. Another
/// thread is used for every `per_thread` connections, and each new connection goes to the least
/// loaded thread in use.
#[derive(Debug)]
pub(crate) struct ShardLoads {
    each: Vec<ShardLoad>,
    per_thread: usize,
}

#[derive(Debug, Default)]
struct ShardLoad {
    connections: AtomicUsize,
    /// Connections without a place, which have a socket still.
    closing: AtomicUsize,
    overloaded: AtomicBool,
}

// All accesses are relaxed: a slightly stale count only costs a little balance.
impl ShardLoads {
    /// Loads of `threads` threads, one more of which is used for every `per_thread` connections.
    pub(crate) fn new(threads: usize, per_thread: usize) -> Self {
        let each = (0..threads).map(|_| ShardLoad::default()).collect();
        Self { each, per_thread }
    }

    /// Number of threads.
    pub(crate) fn threads(&self) -> usize {
        self.each.len()
    }

    /// Number of open connections.
    pub(crate) fn open_connections(&self) -> usize {
        self.each.iter().map(|load| load.connections.load(Ordering::Relaxed)).sum()
    }

    /// Number of sockets, with those of connections that wait for the answer to a close frame.
    pub(crate) fn sockets(&self) -> usize {
        let closing = self.each.iter().map(|load| load.closing.load(Ordering::Relaxed));
        self.open_connections() + closing.sum::<usize>()
    }

    /// Whether a thread has no connection, nor is to get one that was accepted before.
    pub(crate) fn is_unused(&self, thread: usize) -> bool {
        let ShardLoad { connections, closing, .. } = &self.each[thread];
        connections.load(Ordering::Relaxed) == 0 && closing.load(Ordering::Relaxed) == 0
    }

    /// Number of connections of a thread without a place.
    pub(crate) fn closing(&self, thread: usize) -> usize {
        self.each[thread].closing.load(Ordering::Relaxed)
    }

    /// Records a socket of this thread that has no place.
    pub(crate) fn begin_closing(&self, thread: usize) {
        self.each[thread].closing.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that such a socket is closed.
    pub(crate) fn end_closing(&self, thread: usize) {
        self.each[thread].closing.fetch_sub(1, Ordering::Relaxed);
    }

    /// Assigns a new connection to a thread; `None` if all threads are overloaded.
    pub(crate) fn assign(&self) -> Option<usize> {
        let in_use = (self.open_connections() / self.per_thread).min(self.each.len() - 1) + 1;
        let (first, rest) = self.each.split_at(in_use);
        let thread = fewest(first).or_else(|| Some(in_use + fewest(rest)?))?;
        self.each[thread].connections.fetch_add(1, Ordering::Relaxed);
        Some(thread)
    }

    /// Records that a connection of this thread has no place any more.
    pub(crate) fn release(&self, thread: usize) {
        self.each[thread].connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sets whether a thread is overloaded and should get no more connections.
    pub(crate) fn set_overloaded(&self, thread: usize, overloaded: bool) {
        let flag = &self.each[thread].overloaded;
        // Read far more often than changed: skipping the store keeps the cache line shared.
        if flag.load(Ordering::Relaxed) != overloaded {
            flag.store(overloaded, Ordering::Relaxed);
        }
    }
}

fn fewest(loads: &[ShardLoad]) -> Option<usize> {
    let available =
        loads.iter().enumerate().filter(|(_, it)| !it.overloaded.load(Ordering::Relaxed));
    let fewest = available.min_by_key(|(_, load)| load.connections.load(Ordering::Relaxed));
    fewest.map(|(thread, _)| thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(loads: &ShardLoads, connections: usize) -> Vec<usize> {
        (0..connections).map(|_| loads.assign().unwrap()).collect()
    }

    #[test]
    fn threads_fill_sequentially_and_then_evenly() {
        let loads = ShardLoads::new(3, 2);
        assert_eq!(assigned(&loads, 4), [0, 0, 1, 1]);
        assert_eq!(assigned(&loads, 5), [2, 2, 0, 1, 2]);
        assert_eq!(loads.open_connections(), 9);
    }

    #[test]
    fn thread_with_released_connections_is_filled_first() {
        let loads = ShardLoads::new(2, 2);
        assigned(&loads, 4);
        for thread in [0, 0, 1] {
            loads.release(thread);
        }
        assert_eq!(assigned(&loads, 3), [0, 0, 1]);
    }

    #[test]
    fn closing_connections_have_sockets_and_no_places() {
        let loads = ShardLoads::new(2, 100);
        assigned(&loads, 2);
        loads.release(0);
        loads.begin_closing(0);
        assert_eq!((loads.open_connections(), loads.sockets(), loads.closing(0)), (1, 2, 1));
        loads.release(0);
        assert!(!loads.is_unused(0) && loads.is_unused(1));
        assert_eq!(loads.assign(), Some(0));
        loads.end_closing(0);
        assert_eq!((loads.open_connections(), loads.sockets(), loads.closing(0)), (1, 1, 0));
        loads.release(0);
        assert!(loads.is_unused(0));
    }

    #[test]
    fn overloaded_thread_gets_no_connections() {
        let loads = ShardLoads::new(2, 100);
        loads.set_overloaded(0, true);
        assert_eq!(assigned(&loads, 2), [1, 1]);
        loads.set_overloaded(1, true);
        assert_eq!(loads.assign(), None);
        loads.set_overloaded(0, false);
        assert_eq!(assigned(&loads, 1), [0]);
        assert_eq!(loads.open_connections(), 3, "a failed assignment is not counted");
    }
}
