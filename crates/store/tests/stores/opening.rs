//! Stores are opened by their addresses.

use push_suite_store::{Append, Key, Rule, StoreAddress};
use tempfile::TempDir;

use crate::suite::group;

#[tokio::test]
async fn address_opens_its_store() {
    assert!(push_suite_store::open(&StoreAddress::None).await.unwrap().is_none());
    let folder = TempDir::new().unwrap();
    let address: StoreAddress =
        format!("sqlite:{}/streams.db", folder.path().display()).parse().unwrap();
    let store = push_suite_store::open(&address).await.unwrap().unwrap();
    let append = Append::new(group("room"), Key::from_random(1), "hello", Rule::default());
    assert_eq!(store.append(append).await.unwrap().position.offset, 1);
    assert!(folder.path().join("streams.db").exists());
}
