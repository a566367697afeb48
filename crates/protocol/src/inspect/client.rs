//! The details of clients, a page at a time.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::ListenerKind;
use crate::{ConnectionId, Group, Uid, bounded};

/// Most clients in one page. A gateway treats a higher limit as this one.
pub const MAX_PAGE: u32 = 1_000;

/// Bytes of names after which a page ends, although it has fewer clients than its limit.
pub const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// Most groups that are listed for one client.
pub const MAX_GROUPS: usize = 1_000;

/// Asks for a page of the clients that match a filter, in the order in which they have connected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspect {
    /// Which clients.
    pub filter: ClientFilter,
    /// Most clients in the page, at most [`MAX_PAGE`].
    pub limit: u32,
    /// [`DetailsPage::next`] of the page before; 0 for the first page.
    pub after: u64,
}

/// Selects clients: those that match all of its criteria. Without any, every client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientFilter {
    /// It is one of these.
    #[serde(deserialize_with = "bounded::optional_targets")]
    pub clients: Option<Vec<ConnectionId>>,
    /// It is bound to this uid.
    pub uid: Option<Uid>,
    /// It is in this group.
    pub group: Option<Group>,
    /// It connects from this address, of any port.
    pub ip: Option<IpAddr>,
    /// It is assigned to this worker: `ip:name:id`, or `name:id` on any host.
    pub worker: Option<String>,
    /// At least so many bytes are queued for it.
    pub queued: Option<u64>,
    /// Its socket is not read, for any reason.
    pub paused: bool,
}

impl ClientFilter {
    /// Approximate heap size in bytes: its names.
    pub fn weight(&self) -> usize {
        self.clients.as_ref().map_or(0, |clients| size_of_val(&clients[..]))
            + self.uid.as_ref().map_or(0, Uid::weight)
            + self.group.as_ref().map_or(0, Group::weight)
            + self.worker.as_ref().map_or(0, String::len)
    }

    /// Whether it selects clients of the worker with this key, `ip:name:id`.
    pub fn selects_worker(&self, key: Option<&str>) -> bool {
        self.worker.as_deref().is_none_or(|wanted| {
            key.and_then(|key| key.strip_suffix(wanted))
                .is_some_and(|host| host.is_empty() || host.ends_with(':'))
        })
    }
}

/// A page of clients, and where the next one begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetailsPage {
    /// The clients, in the order in which they have connected.
    #[serde(deserialize_with = "bounded::items")]
    pub clients: Vec<ClientDetails>,
    /// [`Inspect::after`] of the next page; `None` if this is the last one.
    pub next: Option<u64>,
}

/// The record that a gateway has of a client. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientDetails {
    /// The client.
    pub client: ConnectionId,
    /// The address of the client: that of its connection, or the one that a trusted proxy states.
    pub remote: SocketAddr,
    /// The address of the proxy that has stated `remote`, if one has.
    pub proxy: Option<SocketAddr>,
    /// The address of the listener that has accepted it.
    pub listener: SocketAddr,
    /// How its messages are framed.
    pub kind: ListenerKind,
    /// Whether its connection is encrypted by the gateway.
    pub tls: bool,
    /// Whether its handshake has negotiated compression.
    pub compression: bool,
    /// When it has connected, since the Unix epoch, by the gateway's clock: to a tenth of a second.
    pub connected_at: u64,
    /// For how long it has been connected.
    pub age: u64,
    /// The uid that it is bound to.
    pub uid: Option<Uid>,
    /// Its groups, in the order in which it has joined them; at most [`MAX_GROUPS`].
    pub groups: Vec<Group>,
    /// The number of its groups.
    pub group_count: u64,
    /// Bytes of its session, with changes that are not applied yet.
    pub session_bytes: u64,
    /// Bytes that are queued for it.
    pub queue_bytes: u64,
    /// Whether bytes are queued because its socket takes none: the client does not read, or its
    /// network is slower than what is sent.
    pub blocked: bool,
    /// Events that it has caused: its connect, its handshake, and its messages.
    pub events: u64,
    /// For how long it has sent nothing at least, to a fifth of the interval of pings; `None` if
    /// silence is not measured, see `--websocket-ping`.
    pub silent: Option<u64>,
    /// The worker that it is assigned to, as `ip:name:id`.
    pub worker: Option<String>,
    /// For how long its events have waited for a worker, if they do.
    pub waits: Option<u64>,
    /// Why its socket is not read; empty while it is.
    pub pauses: Vec<ReadPause>,
    /// How far it is.
    pub state: ClientState,
}

/// Why the socket of a client is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReadPause {
    /// It has sent much at once: other clients are read before it goes on.
    QuantumSpent,
    /// Its worker is busy, and it has much in that worker's backlog.
    WorkerBusy,
    /// Its worker has as many unacknowledged events as it may have, or the client its part of
    /// them; or no worker is linked, and no more events may wait.
    WindowFull,
    /// Memory is short, and it is in the middle of a large message.
    MemoryPressure,
    /// Its handshake awaits the answer of a worker.
    HandshakeUndecided,
    /// It has sent faster than it may.
    RateLimit,
}

impl ReadPause {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::QuantumSpent,
        Self::WorkerBusy,
        Self::WindowFull,
        Self::MemoryPressure,
        Self::HandshakeUndecided,
        Self::RateLimit,
    ];

    /// Its name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QuantumSpent => "quantum",
            Self::WorkerBusy => "worker-busy",
            Self::WindowFull => "window-full",
            Self::MemoryPressure => "memory",
            Self::HandshakeUndecided => "handshake",
            Self::RateLimit => "rate-limit",
        }
    }
}

/// How far the connection of a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClientState {
    /// Its handshake is not complete, or awaits the answer of a worker.
    Handshake,
    /// Messages flow.
    Open,
    /// The gateway drains, and has sent it a close frame.
    Leaving,
}

impl ClientState {
    /// Its name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Open => "open",
            Self::Leaving => "leaving",
        }
    }
}
