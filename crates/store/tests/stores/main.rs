//! Every store does the same, and each fails in its own ways.
#![expect(clippy::unwrap_used, reason = "a failed request fails the case")]

mod memory;
mod opening;
mod redis;
mod redis_failures;
mod redis_server;
mod sqlite;
mod sqlite_failures;
mod suite;
