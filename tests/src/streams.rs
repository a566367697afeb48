//! A store for tests of streams that can be put out of reach, and how clients receive its messages.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use protocol::{ClientId, Position, StreamName};
use push_suite_cluster::{
    Bytes, Cluster, ClusterGuard, Config, Message, NotRecovered, Recovery, StreamProtocol, Streams,
    store::{
        Answer, Append, Appended, ErrorKind, Key, Limit, MemoryStore, Read, Reading, Rule,
        StoreError, StreamStore,
    },
};

use crate::{Browser, Suite, names::group};

/// Clients receive the offset and the payload.
#[derive(Debug)]
pub struct Numbered(pub Rule);

impl StreamProtocol for Numbered {
    fn message(&self, _: &StreamName, position: Option<Position>, payload: &Bytes) -> Message {
        let offset = position.map_or("-".to_owned(), |position| position.offset.to_string());
        Message::text(format!("{offset}:{}", String::from_utf8_lossy(payload)))
    }

    fn reset(&self, _: &StreamName, _: Option<Position>, reason: NotRecovered) -> Message {
        Message::text(format!("reset:{reason}"))
    }

    fn joined(&self, _: &StreamName, recovery: &Recovery) -> Option<Message> {
        Some(Message::text(match recovery.reason {
            None => format!("joined:{}", recovery.count),
            Some(reason) => format!("not recovered:{reason}"),
        }))
    }

    fn rule(&self, _: &StreamName) -> Rule {
        self.0
    }
}

/// A store that can be put out of reach.
#[derive(Debug)]
pub struct Fallible {
    /// The store.
    pub store: MemoryStore,
    /// Whether it is out of reach.
    pub is_down: AtomicBool,
}

impl Fallible {
    /// A store within reach.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { store: MemoryStore::new(), is_down: AtomicBool::new(false) })
    }

    fn unless_down<'a, T: Send + 'a>(&self, answer: Answer<'a, T>) -> Answer<'a, T> {
        let is_down = self.is_down.load(Ordering::Relaxed);
        let error = StoreError {
            store: "test".into(),
            kind: ErrorKind::Unavailable,
            cause: "put out of reach".to_owned(),
        };
        Box::pin(async move { if is_down { Err(error) } else { answer.await } })
    }
}

impl StreamStore for Fallible {
    fn append(&self, append: Append) -> Answer<'_, Appended> {
        self.unless_down(self.store.append(append))
    }

    fn read(&self, read: Read) -> Answer<'_, Reading> {
        self.unless_down(self.store.read(read))
    }

    fn tops(&self, streams: Vec<StreamName>) -> Answer<'_, Vec<Position>> {
        self.unless_down(self.store.tops(streams))
    }

    fn delete(&self, stream: StreamName) -> Answer<'_, Position> {
        self.unless_down(self.store.delete(stream))
    }

    fn close(&self) -> Answer<'_, ()> {
        self.store.close()
    }
}

/// The stream of these tests.
pub fn room() -> StreamName {
    StreamName::Group(group("room"))
}

/// Limits that nothing exceeds.
///
/// # Panics
/// Never.
pub fn large() -> Rule {
    Rule::new(100_000, Duration::from_secs(3600), 1 << 30).unwrap()
}

/// A back end with a store that others share.
pub async fn back_end(suite: &Suite, store: &Arc<Fallible>, rule: Rule) -> ClusterGuard {
    let store: Arc<dyn StreamStore> = store.clone();
    let limit = Limit { items: 4000, bytes: 1 << 20 };
    let streams = Streams::shared(store, Numbered(rule)).most_recovered(limit);
    with_streams(suite, streams).await
}

/// A back end with these streams, linked to every gateway.
pub async fn with_streams(suite: &Suite, streams: Streams) -> ClusterGuard {
    let registers = suite.register_addrs.iter().map(ToString::to_string);
    let config = Config::new(registers, suite.secret()).tls(suite.tls()).streams(streams);
    let cluster = Cluster::start(config);
    cluster.ready().await;
    cluster
}

/// Appends without sending, as a worker that dies in between.
///
/// # Panics
/// When the store is out of reach.
pub async fn append(store: &Fallible, payload: &str, rule: Rule, renew: bool) -> Position {
    let key = Key::from_random(runtime::random::random());
    let append = Append { renew, ..Append::new(room(), key, payload.to_owned(), rule) };
    store.append(append).await.unwrap().position
}

/// Adds a client to the stream.
///
/// # Panics
/// When that fails.
pub async fn join(cluster: &Cluster, client: ClientId, after: Option<Position>) -> Recovery {
    cluster.join_stream(client, room(), after).await.unwrap()
}

/// The offsets of the next messages until that one. Anything else in between fails.
///
/// # Panics
/// When it receives anything else.
pub async fn offsets_until(browser: &mut Browser, last: u64) -> Vec<u64> {
    let mut offsets = Vec::new();
    loop {
        let text = browser.receive_text().await;
        let offset = text.split_once(':').and_then(|(offset, _)| offset.parse().ok());
        offsets.push(offset.unwrap_or_else(|| panic!("{text} behind {offsets:?}")));
        if offsets.last() == Some(&last) {
            return offsets;
        }
    }
}

/// All offsets between both.
pub fn all(from: u64, to: u64) -> Vec<u64> {
    (from..=to).collect()
}
