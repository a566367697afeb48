//! The store in memory does what every store does.

use std::sync::Arc;

use push_suite_store::MemoryStore;

use crate::suite::{Store, suite};

async fn open() -> Option<(Store, ())> {
    Some((Arc::new(MemoryStore::new()), ()))
}

suite!(open);
