//! Sockets, threads and dice under a test's control, in the place of `service`'s own.
//!
//! Everything belongs to the thread that it is used on: a thread simulates one world at a time, and
//! several threads several. Processes use [`net`], [`thread`] and [`dice`], as they stand in
//! `service`; whoever simulates uses [`control`].

pub mod control;
pub mod dice;
pub mod net;
pub mod thread;

mod network;
mod trace;
