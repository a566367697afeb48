//! Streams in Redis or Valkey, which workers of several hosts share.
//!
//! Each request is one script, so that it is done wholly or not at all. Calls are pipelined on one
//! connection, in bounded numbers. While the server is away, they fail at once; an answer that takes
//! longer than half a second ends the connection, and a script that begins later than its caller
//! waits does nothing.

mod address;
mod answers;
mod call;
mod failure;
mod identity;
mod link;
pub mod resp;
mod seen;
mod session;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future;
use protocol::{Position, StreamName, stream::MAX_OFFSET};
use runtime::{supervise, sync::Mutex, tls::HttpsClient};
use tokio::{
    sync::{
        Semaphore,
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::JoinHandle,
};

use self::{
    answers::Unreadable,
    call::{Call, Script},
    link::Link,
    resp::Value,
    seen::Seen,
    session::KEY_LIFETIME_MS,
};
use crate::{
    Append, Appended, ErrorKind, Limit, Range, Read, Reading, StoreError,
    read::{MAX_PAGE, MAX_PAGE_BYTES},
    store::{Answer, MAX_TOPS, StreamStore},
};

pub use address::{InvalidRedisAddress, RedisAddress};

/// The most calls that wait to be sent.
const MOST_CALLS: usize = 4096;

/// The most bytes of calls that wait or are in flight, in KiB.
const MOST_KIB: usize = 64 * 1024;

/// The most newest positions that one request asks for at the same time.
const TOPS_AT_ONCE: usize = 128;

/// A server with streams.
#[derive(Debug)]
pub struct RedisStore {
    name: Arc<str>,
    /// The queue and the task behind it, until the store is closed.
    link: Mutex<Option<(mpsc::Sender<Call>, JoinHandle<()>)>>,
    kib: Arc<Semaphore>,
    seen: Mutex<Seen>,
}

impl RedisStore {
    /// Connects to a server.
    ///
    /// # Errors
    /// When it cannot be reached, refuses the password, is a replica, or is no Redis.
    pub async fn connect(address: RedisAddress) -> Result<Self, StoreError> {
        let name: Arc<str> = address.to_string().into();
        let tls = match address.is_tls {
            true => Some(HttpsClient::new(address.ca.as_deref()).map_err(|error| {
                StoreError::new(&name, ErrorKind::Unavailable, format_args!("{error:#}"))
            })?),
            false => None,
        };
        let (sender, calls) = mpsc::channel(MOST_CALLS);
        let (connected, outcome) = oneshot::channel();
        let link = Link { name: Arc::clone(&name), address, tls, calls };
        let task = supervise::spawn(link.run(connected));
        outcome.await.map_err(|_| closed(&name))??;
        let link = Mutex::new(Some((sender, task)));
        let kib = Arc::new(Semaphore::new(MOST_KIB));
        Ok(Self { name, link, kib, seen: Mutex::default() })
    }

    fn error(&self, kind: ErrorKind, cause: impl std::fmt::Display) -> StoreError {
        StoreError::new(&self.name, kind, cause)
    }

    fn unreadable(&self, unreadable: &Unreadable) -> StoreError {
        let kind = match unreadable {
            Unreadable::Shape => ErrorKind::Unknown,
            Unreadable::Hole { .. } => ErrorKind::Corrupt,
        };
        self.error(kind, unreadable)
    }

    /// Calls a script, and awaits its answer.
    async fn call(
        &self,
        script: Script,
        stream: &StreamName,
        arguments: Vec<Bytes>,
    ) -> Result<Value, StoreError> {
        let busy = || self.error(ErrorKind::Busy, "too many requests wait for it");
        let weight: usize = arguments.iter().map(Bytes::len).sum();
        let kib = 1 + weight as u32 / 1024;
        let admitted = Arc::clone(&self.kib).try_acquire_many_owned(kib).map_err(|_| busy())?;
        let (reply, answer) = oneshot::channel();
        let (stream, known) = (stream.clone(), self.seen.lock().of(stream).cloned());
        let call = Call { script, stream, known, arguments, reply, _admitted: admitted };
        let queue = self.link.lock().as_ref().map(|(queue, _)| queue.clone());
        match queue.ok_or_else(|| closed(&self.name))?.try_send(call) {
            Ok(()) => answer.await.map_err(|_| closed(&self.name))?,
            Err(TrySendError::Full(_)) => Err(busy()),
            Err(TrySendError::Closed(_)) => Err(closed(&self.name)),
        }
    }

    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        append.check().map_err(|error| self.error(ErrorKind::Invalid, error))?;
        let rule = append.rule;
        let arguments = vec![
            Bytes::copy_from_slice(append.key.as_bytes()),
            text(KEY_LIFETIME_MS),
            append.payload,
            append.metadata,
            text(rule.size()),
            text(rule.ttl_ms()),
            text(rule.max_bytes()),
            text(rule.retention_ms()),
            text(u8::from(append.renew)),
        ];
        let answer = self.call(Script::Append, &append.stream, arguments).await?;
        let appended = answers::appended(answer).map_err(|error| self.unreadable(&error))?;
        self.seen.lock().note(&append.stream, appended.position);
        Ok(appended)
    }

    async fn read(&self, read: Read) -> Result<Reading, StoreError> {
        let Read { stream, range, limit } = read;
        let answer = self.call(Script::Read, &stream, range_arguments(range, limit)).await?;
        let reading =
            answers::reading(answer, range, limit).map_err(|error| self.unreadable(&error))?;
        self.seen.lock().note(&stream, reading.top());
        Ok(reading)
    }

    async fn tops(&self, streams: Vec<StreamName>) -> Result<Vec<Position>, StoreError> {
        if MAX_TOPS < streams.len() {
            let cause = format_args!("{} streams at once, at most {MAX_TOPS}", streams.len());
            return Err(self.error(ErrorKind::Invalid, cause));
        }
        let mut tops = Vec::with_capacity(streams.len());
        for some in streams.chunks(TOPS_AT_ONCE) {
            let top = |stream| self.position(Script::Top, stream);
            tops.extend(future::try_join_all(some.iter().map(top)).await?);
        }
        Ok(tops)
    }

    /// Calls a script that returns the newest position.
    async fn position(&self, script: Script, stream: &StreamName) -> Result<Position, StoreError> {
        let answer = self.call(script, stream, Vec::new()).await?;
        let top = answers::top(answer).map_err(|error| self.unreadable(&error))?;
        self.seen.lock().note(stream, top);
        Ok(top)
    }

    async fn close(&self) -> Result<(), StoreError> {
        let link = self.link.lock().take();
        if let Some((queue, task)) = link {
            drop(queue);
            // A panic of the task ends the process.
            let _ = task.await;
        }
        Ok(())
    }
}

fn closed(name: &Arc<str>) -> StoreError {
    StoreError::new(name, ErrorKind::Closed, "its task has ended")
}

fn text(value: impl ToString) -> Bytes {
    value.to_string().into()
}

/// The arguments of a read: where it begins, in which direction, its limits, its epoch, and whether
/// all or nothing is wanted.
fn range_arguments(range: Range, limit: Limit) -> Vec<Bytes> {
    let items = limit.items.clamp(1, MAX_PAGE);
    // Above the largest offset, numbers are not exact in a script.
    let near = |offset: u64| offset.min(MAX_OFFSET);
    let (from, direction, items, epoch) = match range {
        Range::Top => (0, "-", 0, None),
        Range::Missed(position) | Range::After(position) => {
            (near(position.offset) + 1, "+", items, Some(position.epoch))
        }
        Range::Oldest => (0, "+", items, None),
        Range::Before(position) => {
            (near(position.offset).saturating_sub(1), "-", items, Some(position.epoch))
        }
        Range::Newest => (MAX_OFFSET, "-", items, None),
    };
    vec![
        text(from),
        text(direction),
        text(items),
        text(limit.bytes.min(MAX_PAGE_BYTES)),
        epoch.map_or_else(Bytes::new, text),
        text(u8::from(matches!(range, Range::Missed(_)))),
    ]
}

impl StreamStore for RedisStore {
    fn append(&self, append: Append) -> Answer<'_, Appended> {
        Box::pin(self.append(append))
    }

    fn read(&self, read: Read) -> Answer<'_, Reading> {
        Box::pin(self.read(read))
    }

    fn tops(&self, streams: Vec<StreamName>) -> Answer<'_, Vec<Position>> {
        Box::pin(self.tops(streams))
    }

    fn delete(&self, stream: StreamName) -> Answer<'_, Position> {
        Box::pin(async move { self.position(Script::Delete, &stream).await })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(self.close())
    }
}
