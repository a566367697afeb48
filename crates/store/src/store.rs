//! The interface that all stores have.

use std::{fmt, pin::Pin};

use protocol::{Position, StreamName};

use crate::{Append, Appended, Read, Reading, StoreError};

/// The most streams of one [`StreamStore::tops`].
pub const MAX_TOPS: usize = 10_000;

/// The answer of a store, to be awaited.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A store of streams, shared by the workers of one host or of several.
///
/// A request fails at once if the store is known to be away, or if too many others wait; it never
/// waits for a store to come back. Dropping an answer before it is ready abandons the request, which
/// may be done all the same.
///
/// Within an epoch offsets begin with 1, grow by 1, and are never given to two messages. A stream
/// gets a new epoch whenever the store cannot prove that it has all messages to which it gave offsets.
/// The messages that are still kept stay readable, under the new epoch.
pub trait StreamStore: fmt::Debug + Send + Sync + 'static {
    /// Appends a message, unless one with the same key was appended; then it returns the position
    /// of that.
    fn append(&self, append: Append) -> Answer<'_, Appended>;

    /// Reads messages, or the newest position only.
    fn read(&self, read: Read) -> Answer<'_, Reading>;

    /// The newest positions of up to [`MAX_TOPS`] streams, in their order.
    fn tops(&self, streams: Vec<StreamName>) -> Answer<'_, Vec<Position>>;

    /// Removes all messages of a stream, and returns its newest position. Epoch and offsets go on, so
    /// that clients which have seen all of them have missed nothing.
    fn delete(&self, stream: StreamName) -> Answer<'_, Position>;

    /// Completes what was asked for, and closes the store. A store that is not closed may begin new
    /// epochs when its host starts again.
    fn close(&self) -> Answer<'_, ()>;
}
