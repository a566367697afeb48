//! The whole suite in one thread: registers, gateways, workers and clients, each a process on its own
//! host, with time, network and randomness controlled by a seed.
//!
//! ```sh
//! bash simulation/run.sh                   # the short form
//! bash simulation/run.sh --seed 7 --trace  # one seed again, step by step
//! ```
//!
//! In reading order:
#![cfg(simulation)]

pub mod plan;

pub mod world;

mod process;

mod settings;

mod worker;

mod clients;
mod crowd;
pub mod handshakes;
mod members;
mod poison;
mod websocket;

pub mod journal;
pub mod known_gaps;
pub mod panics;
pub mod reports;

pub mod observer;
