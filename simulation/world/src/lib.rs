//! Sockets, threads and randomness controlled by a test, in place of those of `service`.
//!
//! All state is thread-local: a thread simulates one world at a time, independently of others.
//! Processes use [`net`], [`thread`] and [`dice`], which have the API of `service`; the simulation
//! uses [`control`].

pub mod control;
pub mod dice;
pub mod net;
pub mod thread;

mod network;
mod trace;
