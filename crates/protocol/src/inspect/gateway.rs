//! The status of a gateway.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{InstanceId, bounded};

/// The status of a gateway at one moment. Times are in milliseconds, sizes in bytes; totals count
/// from its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// The version of the program.
    pub version: String,
    /// The commit that it was built from, if its build has stated it.
    pub commit: Option<String>,
    /// The instance of this process.
    pub instance: InstanceId,
    /// The inner address that it announces.
    pub address: SocketAddr,
    /// Where clients connect.
    pub listeners: Vec<ListenerStatus>,
    /// The time by its clock, since the Unix epoch.
    pub now: u64,
    /// For how long it has run.
    pub uptime: u64,
    /// Whether it drains: it accepts no clients and exits once all are closed.
    pub draining: bool,
    /// Why it is not ready, as `/readyz` says it; empty if it is.
    pub not_ready: Vec<String>,
    /// Its threads that serve clients.
    #[serde(deserialize_with = "bounded::items")]
    pub threads: Vec<ThreadStatus>,
    /// Connected clients.
    pub clients: u64,
    /// Different groups that have clients here.
    pub groups: u64,
    /// Different uids that have clients here.
    pub uids: u64,
    /// Whether `groups` and `uids` are exact. Otherwise there are so many names that one with
    /// clients on several threads counts for each of them.
    pub names_exact: bool,
    /// Open connections on client listeners, with those that are no clients yet.
    pub connections: u64,
    /// The most that it accepts, by `--max-connections` and the limit of open files.
    pub max_connections: u64,
    /// Connections with an incomplete handshake, or one that awaits the answer of a worker.
    pub handshakes: u64,
    /// Clients that have bytes queued because their sockets take none.
    pub slow_clients: u64,
    /// Clients whose sockets are not read.
    pub paused_clients: u64,
    /// Bytes queued for clients.
    pub queue_bytes: u64,
    /// Memory that clients occupy with input and output.
    pub client_bytes: u64,
    /// Half of `--memory-budget`, which is for that; `None` if there is no budget.
    pub client_bytes_limit: Option<u64>,
    /// Events that wait for a worker to be assigned.
    pub unassigned_bytes: u64,
    /// Events that workers have not acknowledged.
    pub in_flight_bytes: u64,
    /// Messages and what became of them.
    pub traffic: Traffic,
    /// Closed clients, by reason: those that have occurred.
    pub closed: Vec<(String, u64)>,
    /// Retained messages, and the memory that they occupy.
    pub retained: u64,
    /// See `retained`.
    pub retained_bytes: u64,
    /// Memory of the process; `None` if the system does not report it.
    pub resident_bytes: Option<u64>,
    /// Open files of the process; `None` if the system does not report them.
    pub descriptors: Option<u64>,
    /// The limit of open files; `None` if there is none.
    pub descriptor_limit: Option<u64>,
    /// Linked workers and back ends, in the order in which they have linked.
    #[serde(deserialize_with = "bounded::items")]
    pub peers: Vec<PeerStatus>,
}

impl GatewayStatus {
    /// The linked workers.
    pub fn workers(&self) -> impl Iterator<Item = &PeerStatus> {
        self.peers.iter().filter(|peer| peer.worker.is_some())
    }
}

/// Totals of what a gateway has passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Messages received from clients.
    pub messages_in: u64,
    /// Messages queued for clients.
    pub messages_out: u64,
    /// Messages dropped because the queue of a client was full.
    pub messages_dropped: u64,
    /// Bytes received from clients, before decryption.
    pub bytes_in: u64,
    /// Bytes of frames that were queued for clients, before encryption.
    pub bytes_out: u64,
    /// Events delivered to workers.
    pub events: u64,
    /// Of these, those that were delivered before.
    pub redelivered: u64,
    /// Commands of peers.
    pub commands: u64,
    /// Queries of peers.
    pub queries: u64,
    /// Accepted connections.
    pub accepted: u64,
}

/// A thread that serves clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadStatus {
    /// Its clients.
    pub clients: u64,
    /// Different groups of its clients.
    pub groups: u64,
    /// Different uids of its clients.
    pub uids: u64,
    /// Its clients that have bytes queued because their sockets take none.
    pub slow_clients: u64,
    /// Its clients whose sockets are not read.
    pub paused_clients: u64,
    /// Bytes queued for its clients.
    pub queue_bytes: u64,
    /// Events of its clients that wait for a worker to be assigned.
    pub unassigned_bytes: u64,
    /// Whether its memory is short.
    pub pressed: bool,
}

/// Where clients connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// The bound address.
    pub address: SocketAddr,
    /// How messages are framed.
    pub kind: ListenerKind,
    /// Whether connections are encrypted.
    pub tls: bool,
}

/// How a listener frames messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ListenerKind {
    /// WebSocket.
    WebSocket,
    /// Lines of text.
    Text,
    /// A length before each message.
    Frame,
    /// None.
    Tcp,
}

impl ListenerKind {
    /// The scheme of its URL, without encryption.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::WebSocket => "ws",
            Self::Text => "text",
            Self::Frame => "frame",
            Self::Tcp => "tcp",
        }
    }
}

/// A linked worker or back end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The key of a worker, `ip:name:id`; `None` for a back end.
    pub worker: Option<String>,
    /// Its instance; `None` for a PHP peer.
    pub instance: Option<InstanceId>,
    /// Its protocol.
    pub kind: PeerKind,
    /// The address that it has connected from.
    pub remote: SocketAddr,
    /// For how long it has been linked.
    pub linked: u64,
    /// Since when nothing was received from it.
    pub silent: u64,
    /// Whether it is late to answer liveness probes.
    pub late: bool,
    /// Whether it drains and takes no new events.
    pub leaving: bool,
    /// Clients that are assigned to it.
    pub clients: u64,
    /// Events that it has not acknowledged.
    pub in_flight: u64,
    /// Bytes of these.
    pub in_flight_bytes: u64,
    /// The most bytes of these before clients are not read, over all threads.
    pub window_bytes: u64,
    /// For how long it has acknowledged none of them, to a quarter of a second; `None` without
    /// events in flight. It grows while a worker stands still.
    pub stalled: Option<u64>,
    /// Bytes queued for it.
    pub queue_bytes: u64,
    /// Its queries that are not answered yet.
    pub unanswered: u64,
}

/// The protocol of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PeerKind {
    /// The native protocol.
    Native,
    /// GatewayWorker's.
    Php,
}
