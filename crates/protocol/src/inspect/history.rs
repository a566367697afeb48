//! Lifecycle events of clients, of which a gateway keeps the last ones.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::ReadPause;
use crate::{ConnectionId, Group, Uid};

/// Most lifecycle events in one answer. A gateway treats a higher limit as this one.
pub const MAX_EVENTS: u32 = 10_000;

/// Asks for lifecycle events: of those that match all criteria, the last ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Those of this client.
    pub client: Option<ConnectionId>,
    /// Those of clients that are or were bound to this uid, as far as that is known.
    pub uid: Option<Uid>,
    /// Those of clients, and refused connections, from this address.
    pub ip: Option<IpAddr>,
    /// Those from this time on, in milliseconds since the Unix epoch, by the gateway's clock.
    pub since: u64,
    /// Those with a higher [number](LifecycleEvent::number).
    pub after: u64,
    /// Most events, at most [`MAX_EVENTS`].
    pub limit: u32,
}

impl History {
    /// Approximate heap size in bytes: its names.
    pub fn weight(&self) -> usize {
        self.uid.as_ref().map_or(0, Uid::weight)
    }
}

/// Something that has happened to a client, or to a gateway as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleEvent {
    /// Its number: later events of the same gateway instance have higher ones, with gaps.
    pub number: u64,
    /// When it happened, in milliseconds since the Unix epoch, by the gateway's clock.
    pub at: u64,
    /// The client, unless it concerns none.
    pub client: Option<ConnectionId>,
    /// Its kind, with the facts.
    pub kind: LifecycleKind,
}

/// The kinds of lifecycle events.
///
/// Variants are only ever appended: the native codec numbers them by position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LifecycleKind {
    /// A connection has become a client.
    Connected { remote: SocketAddr, listener: SocketAddr },
    /// A connection was refused, for this reason: those of
    /// `pushsuite_gateway_handshakes_refused_total`. There is no client, unless its handshake had
    /// awaited the answer of a worker.
    Refused { remote: SocketAddr, listener: SocketAddr, reason: String },
    /// The client was bound to a uid.
    Bound { uid: Uid },
    /// The client could not join a group: it is in too many.
    JoinRefused { group: Group },
    /// The client was assigned to a worker, the first one or in place of another.
    Assigned { worker: String, again: bool },
    /// A worker has linked.
    WorkerLinked { worker: String },
    /// The link of a worker has ended, which had so many clients.
    WorkerLost { worker: String, clients: u64 },
    /// No worker takes the events of the client, which wait from now on.
    Unassigned,
    /// A message for the client was dropped, since its queue was full.
    Slow { queue_bytes: u64 },
    /// Reads of the client were paused. Of the reasons that end with the next few messages, none is
    /// recorded.
    Paused { reason: ReadPause },
    /// The client was closed.
    Closed(Box<Closing>),
    /// The gateway began to drain, with so many clients.
    Draining { clients: u64 },
}

/// The end of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// The address of the client.
    pub remote: SocketAddr,
    /// The uid that it was bound to.
    pub uid: Option<Uid>,
    /// The code of the close frame that the client or the gateway has sent first, if one has.
    pub code: Option<u16>,
    /// The reason, as workers get it and as in `pushsuite_gateway_clients_closed_total`.
    pub reason: String,
    /// The cause in words.
    pub cause: String,
    /// The side that has closed it.
    pub by: ClosedBy,
    /// For how long it was connected, in milliseconds.
    pub age: u64,
    /// Bytes that were queued for it.
    pub queue_bytes: u64,
    /// Events that it had caused.
    pub events: u64,
}

/// The side that has closed a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClosedBy {
    /// The client, or its network.
    Client,
    /// The gateway.
    Gateway,
    /// A worker, with its key; or a back end, which has none.
    Peer { worker: Option<String> },
}

impl LifecycleKind {
    /// Its name in output.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "connected",
            Self::Refused { .. } => "refused",
            Self::Bound { .. } => "bound",
            Self::JoinRefused { .. } => "join-refused",
            Self::Assigned { again: false, .. } => "assigned",
            Self::Assigned { again: true, .. } => "reassigned",
            Self::Unassigned => "unassigned",
            Self::WorkerLinked { .. } => "worker-linked",
            Self::WorkerLost { .. } => "worker-lost",
            Self::Slow { .. } => "slow",
            Self::Paused { .. } => "paused",
            Self::Closed(_) => "closed",
            Self::Draining { .. } => "draining",
        }
    }

    /// The address of the client or refused connection, if the event has it.
    pub fn remote(&self) -> Option<SocketAddr> {
        match self {
            Self::Connected { remote, .. } | Self::Refused { remote, .. } => Some(*remote),
            Self::Closed(closing) => Some(closing.remote),
            _ => None,
        }
    }

    /// The uid that the client is or was bound to, if the event has it.
    pub fn uid(&self) -> Option<&Uid> {
        match self {
            Self::Bound { uid } => Some(uid),
            Self::Closed(closing) => closing.uid.as_ref(),
            _ => None,
        }
    }
}
