//! One push to clients, and the time of each of its steps in a gateway, for an operator.
//!
//! Each time is a difference of two readings of the gateway's own clock, in microseconds.

use serde::{Deserialize, Serialize};

use super::TailTarget;
use crate::{ConnectionId, Group, MessageKind, Uid, bounded};

/// Most clients whose steps are reported; further ones get the push and are counted.
pub const MAX_TRACED: usize = 1_000;

/// Most bytes of a traced message.
pub const MAX_TRACED_MESSAGE: usize = 64 * 1024;

/// Most milliseconds for which a gateway waits until the push is written. A gateway treats a longer
/// time as this one.
pub const MAX_TRACE_WAIT: u32 = 30_000;

/// Sends a push to clients, and asks for the time of each step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The clients.
    pub target: TailTarget,
    /// The push that they get.
    pub push: TracedPush,
    /// Milliseconds after which the answer is sent even if some clients have not taken the push.
    pub wait: u32,
}

impl Trace {
    /// Approximate heap size in bytes.
    pub fn weight(&self) -> usize {
        let name = match &self.target {
            TailTarget::Client(_) => 0,
            TailTarget::Uid(uid) => Uid::weight(uid),
            TailTarget::Group(group) => Group::weight(group),
        };
        let message = match &self.push {
            TracedPush::Ping => 0,
            TracedPush::Message { body, .. } => body.len(),
        };
        name + message
    }
}

/// A push to the clients of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TracedPush {
    /// A WebSocket ping, which the programs of clients do not see.
    Ping,
    /// A message, of at most [`MAX_TRACED_MESSAGE`] bytes; a longer one is not sent.
    Message {
        /// How it is framed.
        kind: MessageKind,
        /// Its payload.
        #[serde(with = "serde_bytes")]
        body: Vec<u8>,
    },
}

/// The steps of a push in a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// From the arrival of the request until it was passed to the threads of its clients.
    pub dispatch: u64,
    /// From the arrival of the request until this answer was queued: the share of the gateway in the
    /// round trip of the request.
    pub total: u64,
    /// Clients that the push was for.
    pub matched: u64,
    /// The clients, in the order in which it was queued for those of each thread; at most
    /// [`MAX_TRACED`].
    #[serde(deserialize_with = "bounded::items")]
    pub clients: Vec<TracedClient>,
}

/// The steps of a push to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracedClient {
    /// The client.
    pub client: ConnectionId,
    /// The number of its thread.
    pub thread: u16,
    /// From the dispatch until its thread took the push.
    pub taken: u64,
    /// From then until it was queued for the client, or dropped.
    pub queued: u64,
    /// Bytes that were queued for the client before it.
    pub queue_bytes: u64,
    /// Its fate.
    pub fate: TracedFate,
}

/// The fate of a push to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TracedFate {
    /// The socket has taken its last byte, so long after it was queued.
    Written { after: u64 },
    /// It is queued, and the socket has not taken all of it for so long: the client does not read,
    /// or its network is slow. `left` bytes of the queue are up to its end.
    Waiting { since: u64, left: u64 },
    /// It is queued until the handshake of the client is complete.
    HeldBack,
    /// The queue of the client is full: it was dropped, or the client is closed because of it.
    Dropped,
    /// The client is closing, or was closed before the push was written.
    Closed,
    /// A ping, and the listener of the client has none; or a message that has no frame there.
    Unframable,
}
