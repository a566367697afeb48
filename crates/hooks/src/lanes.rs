//! The queue of one receiver, with a lane for each subject: one request of a subject is under way
//! at a time, and the next begins when it is done.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// How much may be queued, with what is under way.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests.
    pub count: usize,
    /// Bytes of their bodies and keys.
    pub bytes: usize,
}

/// The requests of one receiver by subject.
#[derive(Debug)]
pub struct Lanes<K, T> {
    limits: Limits,
    lanes: HashMap<K, VecDeque<(T, usize)>>,
    count: usize,
    bytes: usize,
}

/// The outcome of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is the only one of its subject: its lane starts.
    Starts,
    /// It follows others of its subject.
    Queued,
    /// There is no room; it is not queued.
    Full,
}

impl<K: Clone + Eq + Hash, T: Clone> Lanes<K, T> {
    /// Empty, with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, lanes: HashMap::new(), count: 0, bytes: 0 }
    }

    /// Queues a request of `bytes` bytes behind those of the same subject.
    pub fn push(&mut self, key: &K, item: T, bytes: usize) -> Pushed {
        if self.limits.count <= self.count || self.limits.bytes < self.bytes.saturating_add(bytes) {
            return Pushed::Full;
        }
        self.count += 1;
        self.bytes += bytes;
        match self.lanes.get_mut(key) {
            Some(lane) => {
                lane.push_back((item, bytes));
                Pushed::Queued
            }
            None => {
                self.lanes.insert(key.clone(), VecDeque::from([(item, bytes)]));
                Pushed::Starts
            }
        }
    }

    /// The first request of a subject, which stays until it is [done](Self::done).
    pub fn first(&self, key: &K) -> Option<T> {
        self.lanes.get(key).and_then(VecDeque::front).map(|(item, _)| item.clone())
    }

    /// Removes the first request of a subject, and returns the next; `None` ends the lane.
    pub fn done(&mut self, key: &K) -> Option<T> {
        let lane = self.lanes.get_mut(key)?;
        if let Some((_, bytes)) = lane.pop_front() {
            self.count -= 1;
            self.bytes -= bytes;
        }
        match lane.front() {
            Some((next, _)) => Some(next.clone()),
            None => {
                self.lanes.remove(key);
                None
            }
        }
    }

    /// Requests that are queued or under way.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Their bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lanes(count: usize, bytes: usize) -> Lanes<u8, u32> {
        Lanes::new(Limits { count, bytes })
    }

    #[test]
    fn requests_of_a_subject_follow_each_other() {
        let mut lanes = lanes(10, 100);
        assert_eq!(lanes.push(&1, 11, 1), Pushed::Starts);
        assert_eq!(lanes.push(&1, 12, 1), Pushed::Queued);
        assert_eq!(lanes.push(&2, 21, 1), Pushed::Starts);
        assert_eq!((lanes.first(&1), lanes.first(&2), lanes.first(&3)), (Some(11), Some(21), None));
        assert_eq!((lanes.done(&1), lanes.done(&1)), (Some(12), None));
        assert_eq!(lanes.push(&1, 13, 1), Pushed::Starts, "its lane has ended");
        assert_eq!((lanes.count(), lanes.bytes()), (2, 2));
    }

    #[test]
    fn queue_is_bounded_in_count_and_bytes() {
        let mut lanes = lanes(2, 10);
        assert_eq!(lanes.push(&1, 1, 11), Pushed::Full);
        assert_eq!(lanes.push(&1, 1, 6), Pushed::Starts);
        assert_eq!(lanes.push(&1, 2, 5), Pushed::Full);
        assert_eq!(lanes.push(&1, 2, 4), Pushed::Queued);
        assert_eq!(lanes.push(&2, 3, 0), Pushed::Full);
        assert_eq!(lanes.done(&1), Some(2));
        assert_eq!(lanes.push(&2, 3, 6), Pushed::Starts);
    }

    proptest! {
        #[test]
        fn every_accepted_request_comes_once_in_the_order_of_its_subject(
            steps in proptest::collection::vec((0..4_u8, any::<bool>(), 0..9_usize), 0..200),
        ) {
            let mut lanes = lanes(20, 60);
            let mut expected: HashMap<u8, VecDeque<u32>> = HashMap::new();
            for (number, (key, is_push, bytes)) in steps.into_iter().enumerate() {
                let queue = expected.entry(key).or_default();
                if is_push {
                    let number = u32::try_from(number).unwrap();
                    let starts = queue.is_empty();
                    match lanes.push(&key, number, bytes) {
                        Pushed::Full => {}
                        pushed => {
                            prop_assert_eq!(pushed == Pushed::Starts, starts);
                            queue.push_back(number);
                        }
                    }
                } else {
                    prop_assert_eq!(lanes.first(&key), queue.pop_front());
                    prop_assert_eq!(lanes.done(&key), queue.front().copied());
                }
                let count: usize = expected.values().map(VecDeque::len).sum();
                prop_assert_eq!(lanes.count(), count);
                prop_assert!(count <= 20 && lanes.bytes() <= 60);
            }
        }
    }
}
