//! Who is still to be written to, of those that a message for many was queued for.
//!
//! A call of the kernel for each of thousands of sockets holds up a thread for tens of milliseconds. So
//! they are written to a few at a time, and everybody else is heard, and answered, in between. A value.

use std::collections::VecDeque;

use super::connection::Key;

/// For how many something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Its client is written to with everything else.
    Few,
    /// They are written to a few at a time.
    Many,
}

impl Audience {
    /// What so many are.
    pub(super) const fn of(clients: usize) -> Self {
        if SLICE < clients { Self::Many } else { Self::Few }
    }
}

/// A message for no more clients than this is written with everything else; of one for more, that many
/// are written to in one turn of the shard, which takes some hundred microseconds.
const SLICE: usize = 32;

/// As many bytes may wait. Beyond that all of them are written to before anything else is done: what
/// workers send is not taken faster than clients can be sent it.
const LIMIT: usize = 32 * 1024 * 1024;

/// The connections that are still to be written to, first come first.
#[derive(Debug, Default)]
pub(super) struct FanOut {
    keys: VecDeque<Key>,
    /// How many bytes wait for them, about.
    bytes: usize,
}

impl FanOut {
    /// Adds a connection. It must not be there yet.
    pub(super) fn add(&mut self, key: Key) {
        self.keys.push_back(key);
    }

    /// Counts bytes that were queued for one of them.
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Takes the next one out. Of the bytes that wait each is taken to have the same part.
    pub(super) fn next(&mut self) -> Option<Key> {
        let before = self.keys.len();
        let key = self.keys.pop_front()?;
        self.bytes -= self.bytes / before;
        Some(key)
    }

    /// How many are to be written to in this turn.
    pub(super) fn due(&self) -> usize {
        if LIMIT < self.bytes { self.keys.len() } else { self.keys.len().min(SLICE) }
    }

    /// How many bytes wait for them, about.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod written;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(connections: usize, bytes: usize) -> FanOut {
        let mut fan_out = FanOut::default();
        for key in 0..connections {
            fan_out.add(key as Key);
            fan_out.count(bytes);
        }
        fan_out
    }

    #[test]
    fn a_few_are_due_at_a_time_and_the_first_come_first() {
        let mut fan_out = of(SLICE * 2 + 1, 10);
        let mut written = Vec::new();
        for due in [SLICE, SLICE, 1, 0] {
            assert_eq!(fan_out.due(), due);
            written.extend((0..due).filter_map(|_| fan_out.next()));
        }
        assert!(written.is_sorted() && written.len() == SLICE * 2 + 1);
        assert!(fan_out.is_empty() && fan_out.next().is_none());
    }

    #[test]
    fn all_are_due_when_too_much_waits_for_them() {
        let fan_out = of(SLICE * 2, LIMIT / SLICE / 2);
        assert_eq!(fan_out.due(), SLICE);
        let fan_out = of(SLICE * 2, LIMIT / SLICE / 2 + 1);
        assert_eq!(fan_out.due(), SLICE * 2);
    }

    #[test]
    fn what_was_written_waits_no_more() {
        let mut fan_out = of(100, 7);
        assert_eq!(fan_out.bytes(), 700);
        for left in (0..100).rev() {
            fan_out.next();
            assert_eq!(fan_out.bytes(), left * 7);
        }
    }
}
