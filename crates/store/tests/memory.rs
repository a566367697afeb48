//! The store in memory does what every store does.

mod suite;

use std::sync::Arc;

use push_suite_store::MemoryStore;
use suite::Store;

async fn open() -> Option<(Store, ())> {
    Some((Arc::new(MemoryStore::new()), ()))
}

suite!(open);
