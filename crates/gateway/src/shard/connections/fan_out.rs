//! Connections with queued output of fan-out messages.
//!
//! One system call for each of thousands of sockets blocks a thread for tens of milliseconds. So a
//! few sockets are written per pass, and all others are read and served in between. A value.

use std::collections::VecDeque;

use crate::shard::slot::SlotKey;

/// The number of recipients of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Audience {
    /// Written with all other output.
    Few,
    /// Written to a few connections per pass.
    Many,
}

impl Audience {
    /// The audience of this many clients.
    pub(in crate::shard) const fn of(clients: usize) -> Self {
        if SLICE < clients { Self::Many } else { Self::Few }
    }
}

/// A message for up to this many clients is written with all other output; of a larger one, this
/// many connections are written per pass, which takes some hundred microseconds.
const SLICE: usize = 32;

/// Bytes that may be queued. Beyond that, all connections are written before anything else, so that
/// messages from workers are not taken faster than clients can be sent them.
const LIMIT: usize = 32 * 1024 * 1024;

/// The connections still to be written, in FIFO order.
#[derive(Debug, Default)]
pub(in crate::shard) struct FanOut {
    keys: VecDeque<SlotKey>,
    /// Approximate bytes queued for them.
    bytes: usize,
    /// Number of connections that were queued and written.
    written: u64,
}

impl FanOut {
    /// Adds a connection, which must not be queued yet.
    pub(super) fn add(&mut self, key: SlotKey) {
        self.keys.push_back(key);
    }

    /// Counts bytes queued for one of them.
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Removes and returns the next one. It is assumed to have an equal part of the queued bytes.
    pub(super) fn next(&mut self) -> Option<SlotKey> {
        let before = self.keys.len();
        let key = self.keys.pop_front()?;
        self.written += 1;
        self.bytes -= self.bytes / before;
        Some(key)
    }

    /// Number of connections to write in this pass.
    pub(in crate::shard) fn due(&self) -> usize {
        if LIMIT < self.bytes { self.keys.len() } else { self.keys.len().min(SLICE) }
    }

    /// Approximate bytes queued for them.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of connections written since the start.
    pub(in crate::shard) const fn written(&self) -> u64 {
        self.written
    }

    /// The [number](Self::written) at which those are written that are queued now.
    pub(in crate::shard) fn written_through(&self) -> u64 {
        self.written + self.keys.len() as u64
    }

    /// Whether no connection is queued.
    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Number of queued connections.
    pub(in crate::shard) fn len(&self) -> usize {
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
            fan_out.add(key as SlotKey);
            fan_out.count(bytes);
        }
        fan_out
    }

    #[test]
    fn few_connections_are_due_per_pass_in_fifo_order() {
        let mut fan_out = of(SLICE * 2 + 1, 10);
        let mut written = Vec::new();
        for due in [SLICE, SLICE, 1, 0] {
            assert_eq!(fan_out.due(), due);
            written.extend((0..due).filter_map(|_| fan_out.next()));
        }
        assert!(written.is_sorted() && written.len() == SLICE * 2 + 1);
        assert!(fan_out.is_empty() && fan_out.next().is_none());
        assert_eq!(fan_out.written(), written.len() as u64);
        fan_out.add(0);
        assert_eq!(fan_out.written_through(), fan_out.written() + 1);
    }

    #[test]
    fn all_connections_are_due_above_the_byte_limit() {
        let fan_out = of(SLICE * 2, LIMIT / SLICE / 2);
        assert_eq!(fan_out.due(), SLICE);
        let fan_out = of(SLICE * 2, LIMIT / SLICE / 2 + 1);
        assert_eq!(fan_out.due(), SLICE * 2);
    }

    #[test]
    fn written_bytes_are_not_counted() {
        let mut fan_out = of(100, 7);
        assert_eq!(fan_out.bytes(), 700);
        for left in (0..100).rev() {
            fan_out.next();
            assert_eq!(fan_out.bytes(), left * 7);
        }
    }
}
