//! The store in a file of SQLite does what every store does.

use std::sync::Arc;

use push_suite_store::{SqliteOptions, SqliteStore};

use tempfile::TempDir;

use crate::suite::{Store, suite};

async fn open() -> Option<(Store, TempDir)> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("streams.db");
    let store = SqliteStore::open(path, SqliteOptions::default()).await.unwrap();
    Some((Arc::new(store), folder))
}

suite!(open);
