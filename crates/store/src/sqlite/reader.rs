//! The thread that reads. Writes do not delay it, nor does it delay them.

use protocol::{Position, StreamName};
use runtime::clock;
use tokio::sync::mpsc;

use super::{file::File, rows, writer::Reply};
use crate::{Read, Reading};

/// The most requests that see the same state of the file.
const MOST_AT_ONCE: usize = 64;

/// A request to read.
#[derive(Debug)]
pub(super) enum ReadRequest {
    Read(Read, Reply<Reading>),
    Tops(Vec<StreamName>, Reply<Vec<Position>>),
}

impl ReadRequest {
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Read(_, reply) => reply.is_closed(),
            Self::Tops(_, reply) => reply.is_closed(),
        }
    }

    fn answer(self, file: &mut File) {
        match self {
            Self::Read(read, reply) => drop(reply.send(file.with(|database| {
                let (snapshot, epochs) = database.snapshot()?;
                let what = (read.range, read.limit);
                rows::read(&snapshot, epochs, &read.stream, what, clock::unix_millis())
            }))),
            Self::Tops(streams, reply) => drop(reply.send(file.with(|database| {
                let (snapshot, epochs) = database.snapshot()?;
                streams.iter().map(|stream| rows::top(&snapshot, epochs, stream)).collect()
            }))),
        }
    }
}

/// Serves the queue until the store is dropped.
pub(super) async fn run(mut file: File, mut requests: mpsc::Receiver<ReadRequest>) {
    let mut batch = Vec::new();
    while requests.recv_many(&mut batch, MOST_AT_ONCE).await != 0 {
        for request in batch.drain(..).filter(|request| !request.is_abandoned()) {
            request.answer(&mut file);
        }
    }
}
