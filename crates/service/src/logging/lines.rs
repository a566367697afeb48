//! The bounded queue of log lines; it never blocks.

use std::mem;

/// The capacity of the queue, in bytes.
pub(super) const CAPACITY: usize = 1024 * 1024;

/// A buffer larger than this is freed once it is written.
const MAX_RETAINED: usize = 64 * 1024;

/// Lines in one buffer, so that they are written together.
#[derive(Debug)]
pub(super) struct Lines {
    queued: Vec<u8>,
    /// The number of lines in it.
    count: u64,
    /// Lines that were dropped and not reported yet.
    unreported: u64,
    /// Lines accepted so far, and those of them that were written or dropped.
    accepted: u64,
    completed: u64,
}

impl Lines {
    pub(super) const fn new() -> Self {
        Self { queued: Vec::new(), count: 0, unreported: 0, accepted: 0, completed: 0 }
    }

    /// Queues a line if there is room for it, and counts it as dropped if not. Returns whether it
    /// was queued.
    pub(super) fn push(&mut self, line: &[u8]) -> bool {
        let has_room = self.queued.len() + line.len() <= CAPACITY;
        match has_room {
            true => self.push_unbounded(line),
            false => self.unreported += 1,
        }
        has_room
    }

    /// Queues a line even beyond the capacity. For one line at a time.
    pub(super) fn push_unbounded(&mut self, line: &[u8]) {
        self.queued.extend_from_slice(line);
        self.count += 1;
        self.accepted += 1;
    }

    /// Moves the queued lines to `batch`, whose buffer the queue reuses. Returns their number.
    pub(super) fn swap(&mut self, batch: &mut Vec<u8>) -> u64 {
        batch.clear();
        if MAX_RETAINED < batch.capacity() {
            *batch = Vec::new();
        }
        mem::swap(batch, &mut self.queued);
        mem::take(&mut self.count)
    }

    /// Completes a batch of `count` lines, of which `lost` could not be written.
    pub(super) const fn complete(&mut self, count: u64, lost: u64) {
        self.completed += count;
        self.unreported += lost;
    }

    pub(super) const fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Whether the first `accepted` lines were written or dropped.
    pub(super) const fn is_complete(&self, accepted: u64) -> bool {
        accepted <= self.completed
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// Takes the number of dropped lines that were not reported yet.
    pub(super) const fn take_unreported(&mut self) -> u64 {
        mem::replace(&mut self.unreported, 0)
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
        let reported = (lines.take_unreported(), lines.take_unreported());
        assert_eq!(reported, (2000 - taken as u64, 0));
    }

    #[test]
    fn line_larger_than_the_capacity_is_dropped() {
        let mut lines = Lines::new();
        assert!(!lines.push(&vec![b'x'; CAPACITY + 1]));
        assert!(lines.push(b"x"));
    }

    #[test]
    fn full_queue_accepts_an_unbounded_line() {
        let mut lines = Lines::new();
        assert!(lines.push(&vec![b'x'; CAPACITY]));
        lines.push_unbounded(b"y");
        assert!(!lines.push(b"z"));
        assert_eq!(lines.swap(&mut Vec::new()), 2);
    }

    #[test]
    fn accepted_lines_are_complete_once_their_batch_is_whatever_was_dropped() {
        let mut lines = Lines::new();
        lines.push(b"one");
        let accepted = lines.accepted();
        for _ in 0..9 {
            lines.push(&vec![b'x'; CAPACITY]);
        }
        assert!(!lines.is_complete(accepted));
        let count = lines.swap(&mut Vec::new());
        lines.complete(count, 1);
        assert!(lines.is_complete(accepted) && lines.is_complete(lines.accepted()));
        assert_eq!(lines.take_unreported(), 10);
    }

    #[test]
    fn large_buffer_is_freed_after_use() {
        let (mut lines, mut batch) = (Lines::new(), Vec::new());
        lines.push(&vec![b'x'; CAPACITY]);
        lines.swap(&mut batch);
        lines.push(b"x");
        lines.swap(&mut batch);
        lines.push(b"x");
        lines.swap(&mut batch);
        assert!(batch.capacity() <= MAX_RETAINED, "{}", batch.capacity());
    }
}
