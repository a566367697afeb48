//! Lines that wait to be written: a bounded queue that never waits.

use std::mem;

/// How many bytes of lines may wait.
pub(super) const CAPACITY: usize = 1024 * 1024;

/// A buffer larger than this is not kept once it is written.
const KEPT: usize = 64 * 1024;

/// Lines in one piece, so that they are written together.
#[derive(Debug)]
pub(super) struct Lines {
    waiting: Vec<u8>,
    /// How many there are in it.
    count: u64,
    /// Lines that were dropped, and not told of yet.
    untold: u64,
    /// How many lines were taken so far, and how many of these are dealt with.
    taken: u64,
    settled: u64,
}

impl Lines {
    pub(super) const fn new() -> Self {
        Self { waiting: Vec::new(), count: 0, untold: 0, taken: 0, settled: 0 }
    }

    /// Takes a line if there is room for it, and counts it as dropped if not. Says whether it was
    /// taken.
    pub(super) fn push(&mut self, line: &[u8]) -> bool {
        let has_room = self.waiting.len() + line.len() <= CAPACITY;
        match has_room {
            true => self.push_over(line),
            false => self.untold += 1,
        }
        has_room
    }

    /// Takes a line whether there is room or not. For one at a time.
    pub(super) fn push_over(&mut self, line: &[u8]) {
        self.waiting.extend_from_slice(line);
        self.count += 1;
        self.taken += 1;
    }

    /// Moves all that waits to `batch`, whose buffer is used for the next ones. How many lines it is.
    pub(super) fn swap(&mut self, batch: &mut Vec<u8>) -> u64 {
        batch.clear();
        if KEPT < batch.capacity() {
            *batch = Vec::new();
        }
        mem::swap(batch, &mut self.waiting);
        mem::take(&mut self.count)
    }

    /// A batch of `count` lines is dealt with, of which so many were not written.
    pub(super) const fn settle(&mut self, count: u64, lost: u64) {
        self.settled += count;
        self.untold += lost;
    }

    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether the first so many lines that were taken are dealt with.
    pub(super) const fn is_settled(&self, taken: u64) -> bool {
        taken <= self.settled
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many lines to tell of as dropped; they count as told.
    pub(super) const fn tell(&mut self) -> u64 {
        mem::replace(&mut self.untold, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_capacity_are_dropped_and_counted() {
        let (mut lines, line) = (Lines::new(), [b'x'; 1000]);
        let taken = (0..2000).filter(|_| lines.push(&line)).count();
        assert_eq!(taken, CAPACITY / 1000);
        let mut batch = Vec::new();
        assert_eq!(lines.swap(&mut batch), taken as u64);
        assert_eq!(batch.len(), taken * 1000);
        assert!(lines.is_empty() && lines.push(&line), "there is room again");
        assert_eq!((lines.tell(), lines.tell()), (2000 - taken as u64, 0));
    }

    #[test]
    fn a_line_larger_than_the_capacity_is_dropped() {
        let mut lines = Lines::new();
        assert!(!lines.push(&vec![b'x'; CAPACITY + 1]));
        assert!(lines.push(b"x"));
    }

    #[test]
    fn lines_in_a_full_queue_leave_room_for_what_must_be_said() {
        let mut lines = Lines::new();
        assert!(lines.push(&vec![b'x'; CAPACITY]));
        lines.push_over(b"y");
        assert!(!lines.push(b"z"));
        assert_eq!(lines.swap(&mut Vec::new()), 2);
    }

    #[test]
    fn lines_taken_are_settled_once_they_are_dealt_with_and_dropped_ones_do_not_count() {
        let mut lines = Lines::new();
        lines.push(b"one");
        let taken = lines.taken();
        for _ in 0..9 {
            lines.push(&vec![b'x'; CAPACITY]);
        }
        assert!(!lines.is_settled(taken));
        let count = lines.swap(&mut Vec::new());
        lines.settle(count, 1);
        assert!(lines.is_settled(taken) && lines.is_settled(lines.taken()));
        assert_eq!(lines.tell(), 10);
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let (mut lines, mut batch) = (Lines::new(), Vec::new());
        lines.push(&vec![b'x'; CAPACITY]);
        lines.swap(&mut batch);
        lines.push(b"x");
        lines.swap(&mut batch);
        lines.push(b"x");
        lines.swap(&mut batch);
        assert!(batch.capacity() <= KEPT, "{}", batch.capacity());
    }
}
