//! Sockets, TLS, the clock, random numbers, threads and supervised tasks: the parts of the system that
//! every crate with I/O uses.
//!
//! | I want to… | Look at |
//! |---|---|
//! | listen, and never stop accepting | [`listen`], on [`net`] |
//! | connect | [`dial`] |
//! | use a connection with or without TLS | [`tls`], [`stream`] |
//! | read the clock, get random numbers, start a thread | [`clock`], [`random`], [`thread`] |
//! | spawn a task whose panic ends the process | [`supervise`] |
//! | lock | [`sync`] |
//! | wait before trying again | [`backoff::Backoff`] |
//! | detect a peer that does not respond | [`liveness`] |
//! | log what a peer can cause, once a second | [`rate_limit::Throttle`] |
//! | limit a rate | [`token_bucket::Bucket`] |
//! | log an outage of a peer at growing intervals | [`outage::Outage`] |
//!
//! A simulation replaces [`net`], [`random`], [`thread`] and the host's clock (`cfg(simulation)`), so
//! that a test controls time, network and chance.

pub mod backoff;
pub mod clock;
pub mod dial;
pub mod files;
pub mod listen;
pub mod liveness;
#[cfg(not(simulation))]
pub mod net;
pub mod outage;
#[cfg(not(simulation))]
pub mod random;
pub mod rate_limit;
pub mod stream;
pub mod supervise;
pub mod sync;
#[cfg(not(simulation))]
pub mod thread;
pub mod tls;
pub mod token_bucket;

#[cfg(simulation)]
pub use simulated::{net, random, thread};
