//! Kills, pauses and isolates the suite's processes under load, and accounts for every message.
//!
//! In reading order:

pub mod scenario;

pub mod plan;

pub mod partitions;

pub mod run;

mod fault_injector;

pub mod hosts;
pub mod network;
pub mod processes;
pub mod proxy;

pub mod clients;
pub mod members;

pub mod journal;
pub mod notices;

pub mod report;
