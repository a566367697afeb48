//! Connects to every gateway of a cluster: sends commands to clients, uids and groups, queries
//! them, and receives their events. Business workers are built on this crate; a back end, which
//! only pushes, uses it directly.
//!
//! ```no_run
//! # async fn example() -> Result<(), push_suite_cluster::Error> {
//! use push_suite_cluster::{Cluster, Config};
//!
//! let cluster = Cluster::start(Config::new(["127.0.0.1:1236"], "s3cret"));
//! cluster.send_to_uid("alice", "your order is on its way").await?;
//! cluster.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`Cluster::start`] returns the owner of the links, a [`ClusterGuard`]; clones of the [`Cluster`]
//! in it are for all tasks that send. [`Error::is_retryable`] tells whether the same call may
//! succeed later. A program without a subscriber of `tracing` sees no logs: errors name the cause
//! as well, such as a wrong secret.
//!
//! A cluster subscribes to one or several registers and keeps one link to each gateway that any of
//! them lists. A restarted register may list fewer gateways than the others for a while, hence the
//! union. A gateway that no register lists any longer keeps its link until that closes, and is not
//! dialled again. Registers may restart without any effect on the links.

#![warn(missing_docs, clippy::missing_errors_doc)]

#[doc(hidden)]
pub mod internal;

mod api;
mod cluster;
mod config;
mod directory;
mod discovery;
mod error;
mod events;
mod failover;
mod failure_detector;
mod gateway;
mod handover;
mod inspect;
mod instances;
mod link;
mod merge;
mod metrics;
mod presence;
mod reachability;
mod registers;
mod report;
mod shared;
mod streams;
mod supervisor;
mod targets;
mod uid_checks;

pub use api::{Filter, PresenceCounts, Queueing, Sending, SessionSwap, Unanswered};
pub use cluster::{Cluster, ClusterGuard, SETTLE, Status};
pub use config::{Config, GATEWAY_GRACE, PEER_TIMEOUT};
pub use error::Error;
pub use inspect::{
    ClientFilter, ClientPage, ClientTrace, ClusterHistory, ClusterTrace, GatewayReport,
    GatewayTrace, HistoryEvent, HistoryFilter, InspectedClient, InvalidPageStart, PageStart,
    RegisterRefusals, RegisterReport, Tail, TailBatch, TailFrame, TailTarget, WorkerReport,
    workers,
};
pub use merge::Row;
pub use presence::{Notice, NoticeKind, UidNotice};
pub use protocol::discovery::{AboutRegister, RefusedKind, RefusedPeer};
pub use protocol::inspect::{
    CertificateStatus, ClientDetails, ClientState, ClosedBy, Closing, Direction, GatewayStatus,
    LifecycleKind, ListenerKind, ListenerStatus, PeerKind, PeerStatus, ReadPause, ThreadStatus,
    TracedFate, TracedPush, Traffic,
};
pub use protocol::{
    ClientId, Close, CloseFrame, ConnectionId, Fields, Form, Group, InstanceId, InvalidClientId,
    InvalidClose, InvalidName, InvalidPresence, InvalidToken, LocalMember, Member, MemberChange,
    MemberId, Message, MessageKind, Part, Position, Renewal, Retained, Retention, Revocation,
    Secret, Session, SessionError, Snapshot, StreamName, TokenError, TokenId, Uid,
};
pub use report::Report;
pub use runtime::tls::{MutualTls as Tls, Reload};
pub use streams::{NotRecovered, Published, Recovery, StreamProtocol, Streams};
pub use targets::{Exclude, Recipients};

// Of calls of this crate.
pub use ::store;
pub use bytes::Bytes;
pub use prometheus_client;
pub use serde_json;
