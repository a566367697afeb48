//! The outcomes of calls about streams.

use std::fmt;

use protocol::{ClientId, Message, Position, StreamName, streaming::Enclosed};
use store::{Page, Reading, Reason, Refused};

use super::{Streams, fill::excluded};

/// The outcome of [`Cluster::publish`](crate::Cluster::publish).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Its position; `None` if it was delivered without one.
    pub position: Option<Position>,
    /// Whether it was appended before, by an earlier attempt of the same handler.
    pub repeated: bool,
}

/// The outcome of [`Cluster::join_stream`](crate::Cluster::join_stream).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Whether the client has missed nothing, or is sent everything that it has missed. `true` as
    /// well for one that has stated no position.
    pub recovered: bool,
    /// Why not.
    pub reason: Option<NotRecovered>,
    /// The number of messages that it has missed and is sent.
    pub count: usize,
    /// The position that it has with these; `None` if it is not known.
    pub position: Option<Position>,
}

/// Why a client has not recovered, or the members of a stream are notified that they may have missed
/// messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotRecovered {
    /// The position is of another epoch: the store may have lost messages.
    Epoch,
    /// The store has removed messages that were missed, because of its limits.
    Trimmed,
    /// The position is behind the newest message.
    Ahead,
    /// More was missed than may be sent.
    TooMuch,
    /// There is no store, or it does not answer; or it has not taken messages.
    Unavailable,
    /// It was not completed: its worker has ended, or the client has left the stream.
    Abandoned,
}

impl NotRecovered {
    /// The reason as a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Trimmed => "trimmed",
            Self::Ahead => "ahead",
            Self::TooMuch => "too_much",
            Self::Unavailable => "unavailable",
            Self::Abandoned => "abandoned",
        }
    }
}

impl fmt::Display for NotRecovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Reason> for NotRecovered {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Epoch => Self::Epoch,
            Reason::Trimmed => Self::Trimmed,
            Reason::Ahead => Self::Ahead,
            Reason::Limit => Self::TooMuch,
        }
    }
}

impl Recovery {
    pub(crate) const fn not(reason: NotRecovered, position: Option<Position>) -> Self {
        Self { recovered: false, reason: Some(reason), count: 0, position }
    }
}

/// The messages of a release.
pub(crate) struct Recovering {
    pub(crate) recovery: Recovery,
    pub(crate) messages: Vec<Enclosed>,
}

impl Recovering {
    /// After the store was read for a client.
    pub(crate) fn read(
        streams: &Streams,
        client: ClientId,
        stream: &StreamName,
        reading: Reading,
    ) -> Self {
        let Page { items, top, .. } = match reading {
            Reading::Page(page) => page,
            Reading::Refused(Refused { reason, top, .. }) => {
                return Self::failed(streams, stream, reason.into(), Some(top));
            }
        };
        let count = items.len();
        let recovery = Recovery { recovered: true, reason: None, count, position: Some(top) };
        let items = items.iter().filter(|item| !excluded(&item.metadata).contains(&client));
        let messages = items.map(|item| {
            let position = Position::new(top.epoch, item.offset);
            streams.protocol.message(stream, Some(position), &item.payload)
        });
        let messages: Vec<Message> =
            messages.chain(streams.protocol.joined(stream, &recovery)).collect();
        Self { recovery, messages: messages.into_iter().map(Enclosed).collect() }
    }

    /// A client that has not recovered.
    pub(crate) fn failed(
        streams: &Streams,
        stream: &StreamName,
        reason: NotRecovered,
        position: Option<Position>,
    ) -> Self {
        let recovery = Recovery::not(reason, position);
        let messages = streams.protocol.joined(stream, &recovery);
        Self { recovery, messages: messages.into_iter().map(Enclosed).collect() }
    }
}
