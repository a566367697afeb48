//! Read quantum: how much of one connection is processed before others are served. A value.

/// Bytes read from a connection per quantum.
const READ_QUANTUM: usize = super::SCRATCH;

/// Messages, control frames and fragments processed per quantum: some hundred microseconds of work,
/// however small they are.
const ITEM_QUANTUM: usize = 1024;

/// Cost of a page request, in items.
const REQUEST_COST: usize = 32;

/// Bytes of one large message read per quantum. Then others are served, and the same connection
/// continues before any that is queued behind it, so that as few as possible are in the middle of a
/// large message at once.
const LARGE_QUANTUM: usize = 1024 * 1024;

/// The rest of a connection's quantum.
#[derive(Debug)]
pub(in crate::shard) struct Quantum {
    bytes: usize,
    /// Bytes of messages that may have been compressed.
    decoded: usize,
    items: usize,
}

impl Quantum {
    pub(in crate::shard) const fn new() -> Self {
        Self { bytes: 0, decoded: 0, items: ITEM_QUANTUM }
    }

    /// Bytes were read.
    pub(in crate::shard) const fn read(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// A message was decoded that may have been compressed, and so may be much longer than what was
    /// read.
    pub(in crate::shard) const fn decoded(&mut self, bytes: usize) {
        self.decoded += bytes;
    }

    /// A message, control frame or fragment was processed. Returns whether another may be.
    pub(in crate::shard) const fn item(&mut self) -> bool {
        self.items = self.items.saturating_sub(1);
        self.items != 0 && self.decoded < READ_QUANTUM
    }

    /// A request was answered. Returns whether another may be.
    pub(in crate::shard) const fn request(&mut self) -> bool {
        self.items = self.items.saturating_sub(REQUEST_COST);
        self.items != 0
    }

    /// Whether other connections are to be served first.
    pub(in crate::shard) const fn is_spent(&self) -> bool {
        READ_QUANTUM <= self.bytes || READ_QUANTUM <= self.decoded || self.items == 0
    }

    /// The same for a connection in the middle of a large message, which is read to its end.
    pub(in crate::shard) const fn is_spent_on_large(&self) -> bool {
        LARGE_QUANTUM <= self.bytes || self.items == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantum_is_spent_by_bytes_by_items_or_by_requests() {
        let mut quantum = Quantum::new();
        quantum.read(READ_QUANTUM - 1);
        assert!(!quantum.is_spent());
        quantum.read(1);
        assert!(quantum.is_spent() && !quantum.is_spent_on_large());
        quantum.read(LARGE_QUANTUM);
        assert!(quantum.is_spent_on_large());
        let mut quantum = Quantum::new();
        quantum.decoded(READ_QUANTUM - 1);
        assert!(quantum.item() && !quantum.is_spent());
        quantum.decoded(1);
        assert!(!quantum.item() && quantum.is_spent(), "however few bytes were read");
        let mut quantum = Quantum::new();
        assert_eq!((1..=ITEM_QUANTUM).filter(|_| quantum.item()).count(), ITEM_QUANTUM - 1);
        assert!(quantum.is_spent() && quantum.is_spent_on_large());
        let mut quantum = Quantum::new();
        assert_eq!(
            (1..=ITEM_QUANTUM).filter(|_| quantum.request()).count(),
            ITEM_QUANTUM / REQUEST_COST - 1
        );
    }
}
