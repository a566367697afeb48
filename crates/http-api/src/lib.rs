//! The push API over HTTP: sends, queries and changes of a cluster, for back ends in any language.

mod keys;

pub use keys::{Caller, Key, Keys, MAX_KEYS, MAX_NAME, Scope};
