//! Reads of a stream, and the values that answer them.

use bytes::Bytes;
use protocol::{Position, StreamName};

/// The most messages of one page.
pub const MAX_PAGE: u32 = 10_000;

/// The most bytes of one page, unless its only message is larger.
pub const MAX_PAGE_BYTES: u64 = 16 * 1024 * 1024;

/// One read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The stream. One to which nothing was appended is an empty one.
    pub stream: StreamName,
    /// The messages to read.
    pub range: Range,
    /// The most to read.
    pub limit: Limit,
}

/// The messages that a read asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// None, only the newest position.
    Top,
    /// All behind a position, or none at all: for a client that comes back.
    Missed(Position),
    /// A page that begins directly behind a position.
    After(Position),
    /// A page that begins with the oldest message.
    Oldest,
    /// A page that ends directly before a position.
    Before(Position),
    /// A page that ends with the newest message.
    Newest,
}

/// The most that a read returns. Above [`MAX_PAGE`] or [`MAX_PAGE_BYTES`] it counts as these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Messages.
    pub items: u32,
    /// Bytes of messages and metadata. A page has at least one message, whatever its size.
    pub bytes: u64,
}

impl Default for Limit {
    /// 300 messages, 1 MiB.
    fn default() -> Self {
        Self { items: 300, bytes: 1 << 20 }
    }
}

/// A message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its number. Its epoch is that of the page.
    pub offset: u64,
    /// The time of the append on the clock of the store, in milliseconds since 1970. It never
    /// decreases within a stream.
    pub appended_ms: u64,
    /// The message.
    pub payload: Bytes,
    /// The bytes of the caller that came with it.
    pub metadata: Bytes,
}

impl Item {
    /// The bytes that count for limits.
    pub fn weight(&self) -> u64 {
        (self.payload.len() + self.metadata.len()) as u64
    }
}

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The messages.
    Page(Page),
    /// Not the messages that were asked for, and none of them.
    Refused(Refused),
}

impl Reading {
    /// The newest position.
    pub const fn top(&self) -> Position {
        match self {
            Self::Page(page) => page.top,
            Self::Refused(refused) => refused.top,
        }
    }
}

/// Messages of a stream, without a gap between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The messages, in ascending order.
    pub items: Vec<Item>,
    /// Whether the range continues: behind the last one, or before the first one if the page was
    /// read backwards.
    pub more: bool,
    /// The offset of the oldest message that is kept; that of the next message if none is kept.
    pub first: u64,
    /// The position of the newest message, with offset 0 if there was none in this epoch.
    pub top: Position,
}

/// Why a read returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The reason.
    pub reason: Reason,
    /// As in [`Page::first`].
    pub first: u64,
    /// As in [`Page::top`].
    pub top: Position,
}

/// The reasons for which a read is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The position is of another epoch: messages may be missing between both.
    Epoch,
    /// The message directly behind the position is no longer kept.
    Trimmed,
    /// The position is behind the newest message.
    Ahead,
    /// More was missed than the limit of the read.
    Limit,
}

impl Reason {
    /// The reason as a word, as clients receive it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Trimmed => "trimmed",
            Self::Ahead => "ahead",
            Self::Limit => "limit",
        }
    }
}
