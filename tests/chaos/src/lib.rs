//! Kills, pauses and cuts off the suite's processes under load, and accounts for every message.
//!
//! In reading order:

pub mod scenario;

pub mod plan;

pub mod partitions;

pub mod run;

mod stage;

pub mod cast;
pub mod hosts;
pub mod network;
pub mod proxy;

pub mod crowd;

mod client;

pub mod message;
pub mod record;

pub mod journal;

pub mod account;

pub mod report;
