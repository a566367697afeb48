//! Streams: a message is appended to a store, and then sent with its position.
//!
//! Gateways pass the messages of a stream on in order, and ask the processes that have its store for
//! what they miss ([`fill`]). `api/streams.rs` has the calls.

mod fill;
mod key;
mod protocol;
mod recovery;
mod unrecorded;

use std::{fmt, sync::Arc};

use store::{Limit, StreamStore};

pub(crate) use self::{
    fill::{Gap, Gaps, metadata, serve},
    key::{Step, append_key, hold_number},
    protocol::plain,
    recovery::Recovering,
    unrecorded::Unrecorded,
};
pub use self::{
    protocol::StreamProtocol,
    recovery::{NotRecovered, Published, Recovery},
};

/// The store of streams, and how their messages are written for clients.
///
/// ```
/// use push_suite_cluster::{
///     Bytes, Config, Message, NotRecovered, Position, StreamName, StreamProtocol, Streams,
///     store::MemoryStore,
/// };
///
/// /// Clients receive JSON with the position in it.
/// #[derive(Debug)]
/// struct Json;
///
/// impl StreamProtocol for Json {
///     fn message(&self, _: &StreamName, at: Option<Position>, payload: &Bytes) -> Message {
///         let text = String::from_utf8_lossy(payload);
///         push_suite_cluster::serde_json::json!({ "at": at, "text": text }).into()
///     }
///
///     fn reset(&self, stream: &StreamName, at: Option<Position>, why: NotRecovered) -> Message {
///         push_suite_cluster::serde_json::json!({ "missed": stream, "at": at, "why": why.as_str() })
///             .into()
///     }
/// }
///
/// let streams = Streams::new(MemoryStore::new(), Json);
/// let config = Config::new(["127.0.0.1:1236"], "s3cret").streams(streams);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Streams {
    /// The store. Without one, messages have no positions, and no client recovers.
    pub store: Option<Arc<dyn StreamStore>>,
    /// How messages are written for clients.
    pub protocol: Arc<dyn StreamProtocol>,
    /// The most messages, and bytes of them, that a client receives when it recovers. One that has
    /// missed more is notified that it has not recovered.
    pub most_recovered: Limit,
    /// Whether a message that the store does not take is delivered without a position. Clients that
    /// are connected receive it; others have not recovered when they come back.
    pub delivers_unrecorded: bool,
}

impl Streams {
    /// Streams in this store.
    pub fn new(store: impl StreamStore, protocol: impl StreamProtocol) -> Self {
        Self::shared(Arc::new(store), protocol)
    }

    /// The same, of a store that others share.
    pub fn shared(store: Arc<dyn StreamStore>, protocol: impl StreamProtocol) -> Self {
        Self {
            store: Some(store),
            protocol: Arc::new(protocol),
            most_recovered: Limit::default(),
            delivers_unrecorded: false,
        }
    }

    /// Streams that are not stored.
    pub fn without_store(protocol: impl StreamProtocol) -> Self {
        Self {
            store: None,
            protocol: Arc::new(protocol),
            most_recovered: Limit::default(),
            delivers_unrecorded: false,
        }
    }

    /// Sets [`most_recovered`](Self#structfield.most_recovered): 300 messages and 1 MiB by default.
    /// More than 4,000 messages count as 4,000, which one message to a gateway holds.
    #[must_use]
    pub const fn most_recovered(mut self, limit: Limit) -> Self {
        self.most_recovered = limit;
        self
    }

    /// Sets [`delivers_unrecorded`](Self#structfield.delivers_unrecorded): not by default.
    #[must_use]
    pub const fn delivers_unrecorded(mut self, delivers: bool) -> Self {
        self.delivers_unrecorded = delivers;
        self
    }
}

/// Maximum number of messages that a client receives when it recovers: they are one message to its
/// gateway, with the notice behind them.
pub(crate) const MOST_RECOVERED: u32 = 4000;

const _: () = assert!((MOST_RECOVERED as usize) < ::protocol::streaming::MAX_RELEASED);

/// The streams of a cluster.
#[derive(Debug, Default)]
pub(crate) struct StreamState {
    /// Those of the application, if it has any.
    pub(crate) settings: Option<Streams>,
    /// Questions of gateways.
    pub(crate) gaps: Gaps,
    /// Streams that lack messages.
    pub(crate) unrecorded: Unrecorded,
}

impl StreamState {
    pub(crate) fn new(settings: Option<Streams>) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Whether gateways can ask this process for messages.
    pub(crate) fn is_served(&self) -> bool {
        self.settings.as_ref().is_some_and(|streams| streams.store.is_some())
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("store", &self.store).finish_non_exhaustive()
    }
}
