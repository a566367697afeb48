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
mod poison;
mod websocket;

pub mod journal;
pub mod known_gaps;
pub mod panics;

pub mod observer;

// The messages of the chaos run and its account, shared by path.
#[path = "../../tests/chaos/src/account/mod.rs"]
pub mod account;
#[path = "../../tests/chaos/src/message.rs"]
mod message;
#[path = "../../tests/chaos/src/record.rs"]
mod record;
