//! Counts the bytes of large queued frames, each once however many clients share it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;

/// Bytes of large frames in memory. Cheap to clone; all clones share one counter.
#[derive(Clone, Debug, Default)]
pub struct SharedFrameBytes(Arc<AtomicUsize>);

/// Frames up to this size in bytes are copied into each client's write queue and counted there.
pub const SMALL: usize = 2048;

impl SharedFrameBytes {
    /// Wraps `bytes` so that they are counted until their last clone is dropped. Small frames are
    /// returned unchanged.
    pub fn count(&self, bytes: Bytes) -> Bytes {
        if bytes.len() <= SMALL {
            return bytes;
        }
        // Relaxed: no other memory access depends on this counter.
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        Bytes::from_owner(Counted { bytes, counter: self.clone() })
    }

    /// Bytes currently in memory.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

struct Counted {
    bytes: Bytes,
    counter: SharedFrameBytes,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counter.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_frame_counts_once_until_its_last_clone_is_dropped() {
        let counter = SharedFrameBytes::default();
        let small = counter.count(Bytes::from(vec![0; SMALL]));
        assert_eq!(counter.bytes(), 0);
        let frame = counter.count(Bytes::from(vec![0; 5000]));
        let clients = [frame.clone(), frame.slice(4000..)];
        assert_eq!(counter.bytes(), 5000);
        drop((small, frame));
        assert_eq!(counter.bytes(), 5000);
        drop(clients);
        assert_eq!(counter.bytes(), 0);
    }
}
