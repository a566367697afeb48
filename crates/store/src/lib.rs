//! The store of streams: messages to groups and uids with positions, kept for a while, so that clients
//! that come back receive what they missed.
//!
//! A store is a [`StreamStore`]: it appends a message to a stream and answers with its position, and
//! reads what follows a position.
//!
//! | store | shared by | feature |
//! |---|---|---|
//! | [`MemoryStore`] | one process, for tests and simulations | |
//! | `SqliteStore` | the workers of one host | `sqlite` |
//! | `RedisStore` | workers of several hosts, in Redis or Valkey | `redis` |
//!
//! ```
//! use push_suite_store::{Append, Key, MemoryStore, Range, Read, Reading, Rule, StreamStore as _};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), push_suite_store::StoreError> {
//! let store = MemoryStore::new();
//! let room: protocol::StreamName = "g:room-1".parse().unwrap();
//! let key = |number| Key::from_random(number);
//! let hello = Append::new(room.clone(), key(1), "hello", Rule::default());
//! let seen = store.append(hello).await?.position;
//! store.append(Append::new(room.clone(), key(2), "missed", Rule::default())).await?;
//!
//! let missed = Read { stream: room, range: Range::Missed(seen), limit: Default::default() };
//! let Reading::Page(page) = store.read(missed).await? else { panic!("all of it is kept") };
//! assert_eq!(page.items[0].payload, "missed");
//! # Ok(())
//! # }
//! ```

mod address;
pub mod append;
mod error;
mod log;
mod memory;
#[cfg(all(feature = "redis", feature = "sqlite"))]
mod open;
mod plan;
pub mod read;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod store;

pub use address::{InvalidAddress, StoreAddress};
pub use append::{Append, Appended, InvalidAppend, Key, Rule};
pub use error::{ErrorKind, StoreError};
pub use memory::MemoryStore;
#[cfg(all(feature = "redis", feature = "sqlite"))]
pub use open::open;
pub use read::{Item, Limit, Page, Range, Read, Reading, Reason, Refused};
#[cfg(feature = "redis")]
pub use redis::{InvalidRedisAddress, RedisAddress, RedisStore};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteOptions, SqliteStore};
pub use store::{Answer, MAX_TOPS, StreamStore};
