//! Streams in a file of `SQLite`, which the workers of one host share.
//!
//! One thread writes and one reads; requests wait for them in bounded queues, and are refused when
//! these are full. Several processes may use the file at the same time: a transaction waits for that
//! of another process, up to half a second.
//!
//! The file is to be on a local file system. A file that was removed or replaced is noticed with the
//! next request. A copy has new epochs; so has one that is restored from a backup, unless it is
//! written over the file that is there, which nothing in it tells: it is to be removed first.

mod database;
mod expiry;
mod failure;
mod file;
mod reader;
mod rows;
mod writer;

#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc};

use protocol::{Position, StreamName};
use runtime::thread;
use tokio::sync::{
    Semaphore,
    mpsc::{self, error::TrySendError},
    oneshot,
};

use self::{
    database::Epochs,
    file::File,
    reader::ReadRequest,
    writer::{Reply, Write},
};
use crate::{
    Append, Appended, ErrorKind, Read, Reading, StoreError,
    store::{Answer, MAX_TOPS, StreamStore},
};

/// The most appends and deletions that wait.
const MOST_WRITES: usize = 4096;

/// The most bytes of appends that wait, in KiB.
const MOST_WRITE_KIB: usize = 64 * 1024;

/// The most reads that wait.
const MOST_READS: usize = 16 * 1024;

/// Settings of a [`SqliteStore`].
#[derive(Clone, Copy, Debug, Default)]
pub struct SqliteOptions {
    /// The most bytes of the file, in whole pages of 4 KiB. Appends beyond that fail as on a full
    /// disk.
    pub max_bytes: Option<u64>,
}

/// A file with streams.
#[derive(Debug)]
pub struct SqliteStore {
    name: Arc<str>,
    writes: mpsc::Sender<Write>,
    reads: mpsc::Sender<ReadRequest>,
    /// The KiB that may still wait.
    kib: Arc<Semaphore>,
}

impl SqliteStore {
    /// Opens a file, and creates it if there is none. Its folder must exist.
    ///
    /// # Errors
    /// When it cannot be opened or written to, is damaged, or is no store of this release.
    pub async fn open(
        path: impl Into<PathBuf>,
        options: SqliteOptions,
    ) -> Result<Self, StoreError> {
        let path = path.into();
        let name: Arc<str> = path.display().to_string().into();
        let max_pages =
            options.max_bytes.map(|bytes| (bytes / 4096).try_into().unwrap_or(u32::MAX));
        let file = || File::new(Arc::clone(&name), path.clone(), max_pages);
        let (writes, write_queue) = mpsc::channel(MOST_WRITES);
        let (reads, read_queue) = mpsc::channel(MOST_READS);
        let (mut writer, mut reader) = (file(), file());
        let (opened, outcome) = oneshot::channel();
        let write = move || async move {
            let both = writer.with(|_| Ok(())).and_then(|()| reader.with(|_| Ok(())));
            if opened.send(both.map(|()| reader)).is_ok() {
                writer::run(writer, write_queue).await;
            }
        };
        let failed = |error| StoreError::new(&name, ErrorKind::Unavailable, error);
        thread::spawn("store-write".to_owned(), write).map_err(failed)?;
        let reader = outcome.await.map_err(|_| closed(&name))??;
        let read = move || reader::run(reader, read_queue);
        thread::spawn("store-read".to_owned(), read).map_err(failed)?;
        let kib = Arc::new(Semaphore::new(MOST_WRITE_KIB));
        Ok(Self { name, writes, reads, kib })
    }

    fn error(&self, kind: ErrorKind, cause: impl std::fmt::Display) -> StoreError {
        StoreError::new(&self.name, kind, cause)
    }

    fn busy(&self) -> StoreError {
        self.error(ErrorKind::Busy, "too many requests wait for its disk")
    }

    /// Queues a request and awaits its answer.
    async fn ask<R, T>(
        &self,
        queue: &mpsc::Sender<R>,
        request: impl FnOnce(Reply<T>) -> R,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        match queue.try_send(request(reply)) {
            Ok(()) => answer.await.map_err(|_| closed(&self.name))?,
            Err(TrySendError::Full(_)) => Err(self.busy()),
            Err(TrySendError::Closed(_)) => Err(closed(&self.name)),
        }
    }

    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        append.check().map_err(|error| self.error(ErrorKind::Invalid, error))?;
        let kib = 1 + append.weight() as u32 / 1024;
        let permit = Arc::clone(&self.kib).try_acquire_many_owned(kib).map_err(|_| self.busy())?;
        let append = Box::new(append);
        let write = |reply| Write::Append { append, reply, _admitted: permit };
        self.ask(&self.writes, write).await
    }

    async fn tops(&self, streams: Vec<StreamName>) -> Result<Vec<Position>, StoreError> {
        if MAX_TOPS < streams.len() {
            let cause = format_args!("{} streams at once, at most {MAX_TOPS}", streams.len());
            return Err(self.error(ErrorKind::Invalid, cause));
        }
        self.ask(&self.reads, |reply| ReadRequest::Tops(streams, reply)).await
    }
}

fn closed(name: &Arc<str>) -> StoreError {
    StoreError::new(name, ErrorKind::Closed, "its thread has ended")
}

impl StreamStore for SqliteStore {
    fn append(&self, append: Append) -> Answer<'_, Appended> {
        Box::pin(self.append(append))
    }

    fn read(&self, read: Read) -> Answer<'_, Reading> {
        Box::pin(self.ask(&self.reads, |reply| ReadRequest::Read(read, reply)))
    }

    fn tops(&self, streams: Vec<StreamName>) -> Answer<'_, Vec<Position>> {
        Box::pin(self.tops(streams))
    }

    fn delete(&self, stream: StreamName) -> Answer<'_, Position> {
        Box::pin(self.ask(&self.writes, |reply| Write::Delete(stream, reply)))
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(self.ask(&self.writes, Write::Close))
    }
}
