//! The business worker: implement [`Worker`] and run it.
//!
//! ```no_run
//! use push_suite_worker::{Client, Message, Worker};
//!
//! struct Echo;
//!
//! impl Worker for Echo {
//!     async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
//!         client.send(message).await?;
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     push_suite_worker::main(Echo)
//! }
//! ```
//!
//! [`main`] reads settings from flags, the environment and a file, links to every gateway, and
//! drains on SIGTERM. To add settings of your own, see [`serve`].

#![warn(missing_docs)]

mod config;
mod context;
mod dispatch;
mod metrics;
mod run;
mod worker;

pub use config::{Args, Config, runtime};
pub use context::{Client, DeliveryId};
pub use protocol::{
    ClientId, CloseReason, Fields, Group, Handshake, Message, MessageKind, Session, Uid,
};
pub use push_suite_cluster::{Cluster, Error, Filter, Recipients, Row};
pub use run::{main, serve};
pub use worker::Worker;
