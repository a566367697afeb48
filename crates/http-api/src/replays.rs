//! The answers to requests with an `Idempotency-Key`, remembered for a while: a value without a
//! clock or lock.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;

/// A key of a caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplayKey {
    /// The name of the caller.
    pub caller: String,
    /// The key.
    pub key: String,
}

/// An answer as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The status.
    pub status: u16,
    /// The body, which is JSON if it is not empty.
    pub body: Bytes,
}

/// The way to answer a request that has a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Execute it, and call [`Replays::finish`].
    Execute,
    /// The same request is being executed.
    InProgress,
    /// The key is that of another request.
    Mismatch,
    /// Answer as before.
    Replay(Remembered),
}

/// The requests with a key of the last minutes, bounded in number and bytes: the oldest answers are
/// forgotten first. Requests that are being executed are not forgotten; their number has a bound of
/// its own.
#[derive(Debug)]
pub struct Replays {
    known: HashMap<ReplayKey, Known>,
    /// Those that are finished, oldest first.
    order: VecDeque<(Instant, ReplayKey)>,
    bytes: usize,
    time: Duration,
    most: usize,
    most_bytes: usize,
}

#[derive(Debug)]
struct Known {
    fingerprint: [u8; 32],
    answer: Option<Remembered>,
}

/// Memory of an entry beyond its texts, in bytes.
const ENTRY: usize = 256;

impl Replays {
    /// Remembers answers for `time`, at most `most` of them and `most_bytes` in total.
    #[must_use]
    pub fn new(time: Duration, most: usize, most_bytes: usize) -> Self {
        let (known, order) = (HashMap::new(), VecDeque::new());
        Self { known, order, bytes: 0, time, most, most_bytes }
    }

    /// Looks a request up. `fingerprint` is a hash of everything in it that matters.
    pub fn begin(&mut self, now: Instant, key: &ReplayKey, fingerprint: [u8; 32]) -> Begin {
        self.forget_old(now);
        match self.known.get(key) {
            Some(known) if known.fingerprint != fingerprint => Begin::Mismatch,
            Some(Known { answer: Some(answer), .. }) => Begin::Replay(answer.clone()),
            Some(Known { answer: None, .. }) => Begin::InProgress,
            None => {
                self.known.insert(key.clone(), Known { fingerprint, answer: None });
                Begin::Execute
            }
        }
    }

    /// Ends the execution of a request; without an answer to remember, the next one with this key is
    /// executed.
    pub fn finish(&mut self, now: Instant, key: &ReplayKey, answer: Option<Remembered>) {
        let Some(known) = self.known.get_mut(key) else { return };
        match answer {
            None => drop(self.known.remove(key)),
            Some(answer) => {
                self.bytes += weight(key, &answer);
                known.answer = Some(answer);
                self.order.push_back((now, key.clone()));
            }
        }
        while self.most < self.order.len() || self.most_bytes < self.bytes {
            self.forget_first();
        }
    }

    /// The number of answers that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn forget_old(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, _)| *at + self.time <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((_, key)) = self.order.pop_front() else { return };
        if let Some(Known { answer: Some(answer), .. }) = self.known.remove(&key) {
            self.bytes -= weight(&key, &answer);
        }
    }
}

fn weight(key: &ReplayKey, answer: &Remembered) -> usize {
    ENTRY + 2 * (key.caller.len() + key.key.len()) + answer.body.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: &str) -> ReplayKey {
        ReplayKey { caller: "a".to_owned(), key: key.to_owned() }
    }

    fn answer(size: usize) -> Remembered {
        Remembered { status: 200, body: vec![b'x'; size].into() }
    }

    #[test]
    fn request_is_executed_once_within_the_time() {
        let mut replays = Replays::new(Duration::from_secs(300), 10, 100_000);
        let start = Instant::now();
        assert_eq!(replays.begin(start, &key("k"), [1; 32]), Begin::Execute);
        assert_eq!(replays.begin(start, &key("k"), [1; 32]), Begin::InProgress);
        assert_eq!(replays.begin(start, &key("k"), [2; 32]), Begin::Mismatch);
        let other = ReplayKey { caller: "b".to_owned(), key: "k".to_owned() };
        assert_eq!(replays.begin(start, &other, [2; 32]), Begin::Execute, "keys are per caller");
        replays.finish(start, &key("k"), Some(answer(3)));
        let later = start + Duration::from_secs(299);
        assert_eq!(replays.begin(later, &key("k"), [1; 32]), Begin::Replay(answer(3)));
        assert_eq!(replays.begin(later, &key("k"), [2; 32]), Begin::Mismatch);
        let over = start + Duration::from_secs(300);
        assert_eq!(replays.begin(over, &key("k"), [2; 32]), Begin::Execute);
        assert!(replays.is_empty());
    }

    #[test]
    fn request_without_answer_is_executed_again() {
        let mut replays = Replays::new(Duration::from_secs(300), 10, 100_000);
        let now = Instant::now();
        assert_eq!(replays.begin(now, &key("k"), [1; 32]), Begin::Execute);
        replays.finish(now, &key("k"), None);
        assert_eq!(replays.begin(now, &key("k"), [1; 32]), Begin::Execute);
    }

    #[test]
    fn oldest_answers_are_forgotten_beyond_number_and_bytes() {
        let now = Instant::now();
        let remember = |replays: &mut Replays, at: usize, size| {
            let key = key(&at.to_string());
            assert_eq!(replays.begin(now, &key, [1; 32]), Begin::Execute);
            replays.finish(now, &key, Some(answer(size)));
        };
        let mut replays = Replays::new(Duration::from_secs(300), 3, 1_000_000);
        (0..5).for_each(|at| remember(&mut replays, at, 10));
        assert_eq!(replays.len(), 3);
        assert_eq!(replays.begin(now, &key("1"), [1; 32]), Begin::Execute);
        assert_eq!(replays.begin(now, &key("2"), [1; 32]), Begin::Replay(answer(10)));
        let mut replays = Replays::new(Duration::from_secs(300), 100, 10_000);
        (0..50).for_each(|at| remember(&mut replays, at, 1_000));
        assert!(replays.len() < 10 && !replays.is_empty(), "{}", replays.len());
        remember(&mut replays, 50, 20_000);
        assert_eq!((replays.len(), replays.bytes, replays.known.len()), (0, 0, 0));
    }
}
