//! Counts the bytes of large frames that wait for clients, each once however many share it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;

/// How many bytes of large frames are alive. Cheap to clone; every clone counts the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<AtomicUsize>);

/// Frames up to this size are copied into each client's queue instead, and counted there.
pub(crate) const SMALL: usize = 2048;

impl Ledger {
    /// The same bytes, counted until the last clone of them is dropped; or left as they are if they
    /// are few.
    pub(crate) fn count(&self, bytes: Bytes) -> Bytes {
        if bytes.len() <= SMALL {
            return bytes;
        }
        // A count that nothing else is ordered by.
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        Bytes::from_owner(Counted { bytes, ledger: self.clone() })
    }

    /// Bytes alive now.
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

struct Counted {
    bytes: Bytes,
    ledger: Ledger,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.ledger.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_share_counts_once_and_until_the_last_is_done() {
        let ledger = Ledger::default();
        let small = ledger.count(Bytes::from(vec![0; SMALL]));
        assert_eq!(ledger.bytes(), 0);
        let frame = ledger.count(Bytes::from(vec![0; 5000]));
        let clients = [frame.clone(), frame.slice(4000..)];
        assert_eq!(ledger.bytes(), 5000);
        drop((small, frame));
        assert_eq!(ledger.bytes(), 5000);
        drop(clients);
        assert_eq!(ledger.bytes(), 0);
    }
}
