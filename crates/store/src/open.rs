//! Opens the store that an address names.

use std::sync::Arc;

use crate::{RedisStore, SqliteOptions, SqliteStore, StoreAddress, StoreError, StreamStore};

/// Opens a store; returns `None` for the address `none`.
///
/// # Errors
/// When the store cannot be used. The error names it, the cause and the next step.
pub async fn open(address: &StoreAddress) -> Result<Option<Arc<dyn StreamStore>>, StoreError> {
    match address {
        StoreAddress::None => Ok(None),
        StoreAddress::Sqlite(path) => {
            let store = SqliteStore::open(path, SqliteOptions::default()).await?;
            Ok(Some(Arc::new(store)))
        }
        StoreAddress::Redis(address) => {
            Ok(Some(Arc::new(RedisStore::connect(address.clone()).await?)))
        }
    }
}
