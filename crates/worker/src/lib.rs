//! The business worker: implement [`Worker`] and run it.
//!
//! ```no_run
//! use push_suite_worker::{Client, Message, Worker, anyhow};
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
//! drains on SIGTERM. [`main_with`] adds settings of your own, and makes the worker on the runtime
//! that runs its handlers; [`serve`] runs a worker within another program. [`testing`] calls
//! handlers without a gateway.

#![warn(missing_docs, clippy::missing_errors_doc)]

mod config;
mod context;
mod dispatch;
mod handshake;
mod metrics;
mod process;
mod run;
mod sending;
pub mod testing;
mod worker;

pub use config::{Args, Config, runtime};
pub use context::{Client, DeliveryId};
pub use process::Process;
pub use protocol::{
    ClientId, Close, CloseCodes, CloseFrame, CloseInfo, CloseKind, CloseReason, ConnectionId,
    Fields, Form, Grant, Group, Handshake, Header, InvalidAnswer, InvalidClientId, InvalidClose,
    InvalidName, InvalidPresence, LocalMember, Member, MemberChange, MemberId, Message,
    MessageKind, Part, Position, Refusal, Secret, Session, SessionError, Snapshot, StreamName,
    TokenId, Uid,
};
pub use push_suite_cluster::{
    Bytes, Cluster, Error, Exclude, Filter, InvalidToken, NotRecovered, Notice, NoticeKind,
    PresenceCounts, Published, Queueing, Recipients, Recovery, Reload, Renewal, Report, Retained,
    Retention, Revocation, Row, Sending, SessionSwap, Status, StreamProtocol, Streams, Tls,
    TokenError, UidNotice, store,
};
pub use run::{main, main_with, report_readiness, serve};
pub use sending::{QueueToClient, SendToClient};
pub use service::{Health, Starting};
pub use worker::Worker;

// Of the signatures of this crate, so that a program needs no other dependency for them.
pub use anyhow;
pub use push_suite_cluster::prometheus_client;
pub use serde_json;
pub use tokio_util::sync::CancellationToken;
