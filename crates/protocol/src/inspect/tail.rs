//! Live messages of a client, a uid or a group, for an operator.

use serde::{Deserialize, Serialize};

use crate::{ConnectionId, Group, MessageKind, Uid, bounded};

/// Most tails that a peer may have open at a gateway.
pub const MAX_TAILS: usize = 16;

/// Most bytes of a payload that are sent. A gateway treats a higher limit as this one.
pub const MAX_TAILED_PAYLOAD: u32 = 64 * 1024;

/// Opens a tail: messages from and to its clients are reported until it or the link ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTail {
    /// Its number, which the peer chooses. It replaces an open tail of that number.
    pub tail: u64,
    /// The clients.
    pub target: TailTarget,
    /// Most bytes of each payload, of which the beginning is sent; 0 sends none.
    pub payload: u32,
}

/// The clients of a tail.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TailTarget {
    /// One client.
    Client(ConnectionId),
    /// The clients that are bound to a uid when the message passes.
    Uid(Uid),
    /// The clients that are in a group when the message passes.
    Group(Group),
}

impl TailTarget {
    /// The client, if it is one.
    pub const fn client(&self) -> Option<ConnectionId> {
        match self {
            Self::Client(client) => Some(*client),
            Self::Uid(_) | Self::Group(_) => None,
        }
    }
}

/// Messages of a tail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tailed {
    /// Its number.
    pub tail: u64,
    /// The messages, of each client in order.
    #[serde(deserialize_with = "bounded::items")]
    pub frames: Vec<TailedFrame>,
    /// Messages that are missing before these, since the peer reads too slowly or there were too
    /// many.
    pub dropped: u64,
}

/// A message from or to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailedFrame {
    /// When the gateway processed it, in microseconds since the Unix epoch, by its clock.
    pub at: u64,
    /// The client.
    pub client: ConnectionId,
    /// Its way.
    pub direction: Direction,
    /// How it is framed.
    pub kind: MessageKind,
    /// Bytes of its payload.
    pub size: u64,
    /// The beginning of its payload, if requested.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
}

/// The way of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// Received from the client.
    In,
    /// Queued for the client.
    Out,
}
