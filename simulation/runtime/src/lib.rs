//! Sockets, threads and randomness controlled by a test, in place of those of the runtime crate.
//!
//! All state is thread-local: a thread simulates one world at a time, independently of others.
//! Processes use [`net`], [`thread`] and [`random`], which have the API of the runtime crate; the simulation
//! uses [`control`].

pub mod control;
pub mod host_clock;
pub mod net;
pub mod random;
pub mod thread;

mod network;
mod trace;
