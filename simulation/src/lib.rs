//! The whole suite in one thread: registers, gateways, workers and clients, each a process of its
//! own on a host of its own, with time, network and chance under a seed's control.
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

mod cast;

mod worker;

mod crowd;
mod poison;
mod websocket;

pub mod journal;
pub mod limits;
pub mod panics;

pub mod observer;

// The messages of the chaos run and its account, as they stand there.
#[path = "../../tests/chaos/src/account/mod.rs"]
pub mod account;
#[path = "../../tests/chaos/src/message.rs"]
mod message;
#[path = "../../tests/chaos/src/record.rs"]
mod record;
