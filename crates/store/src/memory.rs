//! A store in the memory of one process, for tests and simulations. It forgets no stream.

use std::{collections::BTreeMap, sync::Arc};

use protocol::{Epoch, Position, StreamName};
use runtime::{clock, random, sync::Mutex};

use crate::{
    Append, Appended, ErrorKind, Read, Reading, StoreError,
    log::Log,
    store::{Answer, MAX_TOPS, StreamStore},
};

/// Streams in memory. All clones share them.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    name: Arc<str>,
    streams: Arc<Mutex<BTreeMap<StreamName, Log>>>,
    /// The epoch of streams to which nothing was appended.
    unused: Epoch,
}

impl MemoryStore {
    /// A store without streams.
    pub fn new() -> Self {
        let (name, streams) = ("memory".into(), Arc::default());
        Self { name, streams, unused: Epoch::from_random(random::random()) }
    }

    fn append_now(&self, append: Append) -> Result<Appended, StoreError> {
        let invalid = |error| StoreError::new(&self.name, ErrorKind::Invalid, error);
        append.check().map_err(invalid)?;
        let mut streams = self.streams.lock();
        let new = || Log::new(self.unused);
        let log = streams.entry(append.stream.clone()).or_insert_with(new);
        Ok(log.append(append, clock::unix_millis(), Epoch::from_random(random::random())))
    }

    fn read_now(&self, read: &Read) -> Reading {
        let mut streams = self.streams.lock();
        match streams.get_mut(&read.stream) {
            Some(log) => log.read(read.range, read.limit, clock::unix_millis()),
            None => Log::new(self.unused).read(read.range, read.limit, 0),
        }
    }

    fn tops_now(&self, names: &[StreamName]) -> Result<Vec<Position>, StoreError> {
        if MAX_TOPS < names.len() {
            let cause = format_args!("{} streams at once, at most {MAX_TOPS}", names.len());
            return Err(StoreError::new(&self.name, ErrorKind::Invalid, cause));
        }
        let streams = self.streams.lock();
        let top = |name| streams.get(name).map_or(Position::start(self.unused), Log::top);
        Ok(names.iter().map(top).collect())
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamStore for MemoryStore {
    fn append(&self, append: Append) -> Answer<'_, Appended> {
        Box::pin(async move { self.append_now(append) })
    }

    fn read(&self, read: Read) -> Answer<'_, Reading> {
        Box::pin(async move { Ok(self.read_now(&read)) })
    }

    fn tops(&self, streams: Vec<StreamName>) -> Answer<'_, Vec<Position>> {
        Box::pin(async move { self.tops_now(&streams) })
    }

    fn delete(&self, stream: StreamName) -> Answer<'_, Position> {
        let clear = move || {
            let mut streams = self.streams.lock();
            streams.get_mut(&stream).map_or(Position::start(self.unused), Log::clear)
        };
        Box::pin(async move { Ok(clear()) })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}
