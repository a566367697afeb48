//! Messages between workers and gateways about streams.
//!
//! A worker appends to a stream, and sends the message with its position to the gateways. A shard
//! that has members of the stream passes messages on in the order of their offsets; what is missing
//! it asks a worker for, which reads it from the store.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{ConnectionId, Message, MessageKind, Position, StreamName, bounded};

/// Maximum number of streams in one [`ToPeer::StreamGaps`](crate::link::ToPeer::StreamGaps).
pub const MAX_GAPS: usize = 512;

/// Maximum number of messages in one [`Release`].
pub const MAX_RELEASED: usize = 4096;

/// A message whose body is part of the serialized form, so that several fit in one frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enclosed(pub Message);

impl Enclosed {
    /// Approximate memory that it takes in a list, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.0.body.len()
    }
}

impl Serialize for Enclosed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Message { kind, body, uncompressed } = &self.0;
        (kind, uncompressed, serde_bytes::Bytes::new(body)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Enclosed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Parts<'a> = (MessageKind, bool, &'a serde_bytes::Bytes);
        let (kind, uncompressed, body) = Parts::deserialize(deserializer)?;
        if kind == MessageKind::Raw && uncompressed {
            return Err(D::Error::custom("a raw message is never compressed"));
        }
        Ok(Self(Message { kind, body: Bytes::copy_from_slice(body), uncompressed }))
    }
}

/// Adds a client to a stream and holds back the messages of the stream for it, until a [`Release`]
/// with the same number, or until that does not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The client.
    pub client: ConnectionId,
    /// Chosen by the peer: at random, or the same again when the handler of an event is repeated.
    pub number: u64,
    /// The stream.
    pub stream: StreamName,
    /// Whether the client joins the group of the stream, or is bound to its uid. Else it is in it
    /// already, or gets into it before the release.
    pub joins: bool,
    /// Sent to the client if the release does not come: it may have missed messages.
    pub lost: Enclosed,
    /// The place of the join among commands. Set by the gateway: it is not part of the wire format.
    #[serde(skip)]
    pub ordinal: u64,
}

impl Hold {
    /// Approximate heap size in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.stream.weight() + self.lost.weight()
    }
}

/// The answer to a [`Hold`].
///
/// Variants are only ever appended: the native codec numbers them by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Held {
    /// The client is not connected.
    Offline,
    /// Messages are held back from here on.
    Held,
    /// The client may not join further groups, or too much is held back.
    Refused,
    /// A hold of that number has ended before: the client has received its messages, or the notice
    /// that it may have missed some.
    Ended {
        /// Whether the client has received everything that it had missed.
        recovered: bool,
    },
}

/// Ends a [`Hold`]: the client receives `messages`, then what was held back behind `top`, and then
/// the stream as every other member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The client.
    pub client: ConnectionId,
    /// The number of the hold.
    pub number: u64,
    /// The stream.
    pub stream: StreamName,
    /// The last position that `messages` account for; `None` if it is not known, since the store
    /// could not be read.
    pub top: Option<Position>,
    /// Whether `messages` are all that the client had missed. If not, or without `top`, they say
    /// so, and the hold ends in any case.
    pub recovered: bool,
    /// Sent to the client, in order.
    #[serde(deserialize_with = "bounded::list::<MAX_RELEASED, _, _>")]
    pub messages: Vec<Enclosed>,
}

impl Release {
    /// Approximate heap size in bytes.
    pub fn weight(&self) -> usize {
        let messages = self.messages.iter().map(Enclosed::weight).sum::<usize>();
        size_of::<Self>() + self.stream.weight() + messages
    }
}

/// The answer to a [`Release`].
///
/// Variants are only ever appended: the native codec numbers them by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Released {
    /// The client has received the messages, and those that were held back. They are not confirmed
    /// to have been read: a client that is closed meanwhile states a position when it comes back.
    Done,
    /// Nothing was sent, and messages are still held back: those behind `top` are not all there.
    /// The store has them.
    Again,
    /// There is no such hold any more: the client was closed, left the stream, or was notified that
    /// it may have missed messages.
    Ended,
}

/// A stream of which a shard asks a worker for the messages behind its position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamGap {
    /// The stream.
    pub stream: StreamName,
    /// The last message that the shard has passed on.
    pub after: Position,
    /// A position that the shard knows to be there. `None` if it asks whether there is any; then
    /// there is no answer if there is none.
    pub known: Option<Position>,
    /// Whether other workers were asked before without success: one that cannot read the stream
    /// answers with a reset, to `known` or to the place before it.
    pub is_last: bool,
}

impl StreamGap {
    /// Approximate memory that it takes in a list, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.stream.weight()
    }
}
