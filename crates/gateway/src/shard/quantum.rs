//! How much of one connection is processed before others are served: a value.

/// How many bytes of a connection are read in one go.
const BYTES: usize = super::SCRATCH;

/// How many messages, control frames and fragments are processed in one go: some hundred
/// microseconds of work, however small they are.
const ITEMS: usize = 1024;

/// What a request for a page costs, in items.
const REQUEST: usize = 32;

/// How many bytes of one large message are read in one go: at this point others are served, and then
/// the same connection goes on before any that waits behind it, so that as few as can be are in
/// the midst of a large message at once.
const LARGE: usize = 1024 * 1024;

/// What a connection may still cost before others are served.
#[derive(Debug)]
pub(super) struct Quantum {
    bytes: usize,
    items: usize,
}

impl Quantum {
    pub(super) const fn new() -> Self {
        Self { bytes: 0, items: ITEMS }
    }

    /// So many bytes were read.
    pub(super) const fn read(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// A message, a control frame or a fragment was processed. Says whether another may be.
    pub(super) const fn item(&mut self) -> bool {
        self.items = self.items.saturating_sub(1);
        self.items != 0
    }

    /// A request was answered. Says whether another may be.
    pub(super) const fn request(&mut self) -> bool {
        self.items = self.items.saturating_sub(REQUEST);
        self.items != 0
    }

    /// Whether others are to be served first.
    pub(super) const fn is_spent(&self) -> bool {
        BYTES <= self.bytes || self.items == 0
    }

    /// The same for a connection in the midst of a large message, which is read to its end.
    pub(super) const fn is_spent_on_large(&self) -> bool {
        LARGE <= self.bytes || self.items == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantum_is_spent_by_bytes_by_items_or_by_requests() {
        let mut quantum = Quantum::new();
        quantum.read(BYTES - 1);
        assert!(!quantum.is_spent());
        quantum.read(1);
        assert!(quantum.is_spent() && !quantum.is_spent_on_large());
        quantum.read(LARGE);
        assert!(quantum.is_spent_on_large());
        let mut quantum = Quantum::new();
        assert_eq!((1..=ITEMS).filter(|_| quantum.item()).count(), ITEMS - 1);
        assert!(quantum.is_spent() && quantum.is_spent_on_large());
        let mut quantum = Quantum::new();
        assert_eq!((1..=ITEMS).filter(|_| quantum.request()).count(), ITEMS / REQUEST - 1);
    }
}
