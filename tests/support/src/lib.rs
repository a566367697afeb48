//! The parts that several test crates share.
//!
//! The tests of `cluster` and `worker` use the fakes; the chaos run and the simulation use
//! the scripts of clients and workers and the account. In reading order:

#[cfg(feature = "fakes")]
pub mod fakes;
#[cfg(feature = "receiver")]
pub mod receiver;

pub mod message;
pub mod record;

pub mod clients;
mod connection;
#[cfg(feature = "worker")]
pub mod presence;
#[cfg(feature = "worker")]
pub mod worker;

pub mod account;
