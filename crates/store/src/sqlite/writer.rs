//! The thread that writes: all appends that wait become one transaction.

use std::time::Duration;

use protocol::{Position, StreamName};
use runtime::clock;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::{self, Instant},
};

use super::{database::Database, expiry, failure::Failure, file::File, rows};
use crate::{Append, Appended, ErrorKind, StoreError};

/// The most requests of one transaction.
const MOST_AT_ONCE: usize = 256;

/// How often expired messages are removed; and the pause between two steps while there are more.
const UPKEEP: Duration = Duration::from_secs(1);
const NEXT_STEP: Duration = Duration::from_millis(10);

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A request to write.
#[derive(Debug)]
pub(super) enum Write {
    /// With the bytes that it may occupy in the queue.
    Append {
        append: Box<Append>,
        reply: Reply<Appended>,
        _admitted: OwnedSemaphorePermit,
    },
    Delete(StreamName, Reply<Position>),
    Close(Reply<()>),
}

impl Write {
    /// Whether the answer is no longer awaited.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Append { reply, .. } => reply.is_closed(),
            Self::Delete(_, reply) => reply.is_closed(),
            Self::Close(_) => false,
        }
    }

    /// Applies the request within a transaction.
    fn apply(&self, database: &Database, epochs: super::Epochs) -> Result<Outcome, Failure> {
        let connection = &database.connection;
        match self {
            Self::Append { append, .. } => {
                rows::append(connection, epochs, append, clock::unix_millis())
                    .map(Outcome::Appended)
            }
            Self::Delete(stream, _) => {
                rows::delete(connection, epochs, stream).map(Outcome::Deleted)
            }
            Self::Close(_) => Ok(Outcome::Closed),
        }
    }

    /// Answers the request. Whether the answer is still awaited does not matter.
    fn answer(self, outcome: Result<Outcome, StoreError>) {
        match (self, outcome) {
            (Self::Append { reply, .. }, Ok(Outcome::Appended(appended))) => {
                let _ = reply.send(Ok(appended));
            }
            (Self::Delete(_, reply), Ok(Outcome::Deleted(position))) => {
                let _ = reply.send(Ok(position));
            }
            (Self::Append { reply, .. }, Err(error)) => drop(reply.send(Err(error))),
            (Self::Delete(_, reply), Err(error)) => drop(reply.send(Err(error))),
            (Self::Close(reply), outcome) => drop(reply.send(outcome.map(|_| ()))),
            // The outcome of another request: dropped, which its caller sees.
            (Self::Append { .. } | Self::Delete(..), Ok(_)) => {}
        }
    }
}

enum Outcome {
    Appended(Appended),
    Deleted(Position),
    Closed,
}

/// Serves the queue until the store is closed or dropped.
pub(super) async fn run(mut file: File, mut requests: mpsc::Receiver<Write>) {
    let mut batch = Vec::new();
    let mut upkeep = Instant::now() + UPKEEP;
    loop {
        let received = requests.recv_many(&mut batch, MOST_AT_ONCE);
        match time::timeout_at(upkeep, received).await {
            Ok(0) => break,
            Ok(_) => {
                batch.retain(|request| !request.is_abandoned());
                if let Some(at) = batch.iter().position(|it| matches!(it, Write::Close(_))) {
                    // Nothing is accepted from here on.
                    requests.close();
                    let close = batch.split_off(at);
                    let _ = write(&mut file, batch);
                    end(&file, close);
                    return;
                }
                if let Err(busy) = write(&mut file, std::mem::take(&mut batch))
                    && let Some(close) = refuse_waiting(&mut requests, &busy)
                {
                    requests.close();
                    end(&file, vec![close]);
                    return;
                }
            }
            Err(_) => {}
        }
        if upkeep <= Instant::now() {
            upkeep = Instant::now() + maintain(&mut file);
        }
    }
    // A failure is logged, and nothing awaits an answer.
    let _ = settle(&file);
}

/// Takes the mark away from the file, and answers what came behind the request to close.
fn end(file: &File, mut rest: Vec<Write>) {
    let behind = rest.split_off(1);
    let settled = settle(file);
    for close in rest {
        close.answer(settled.clone().map(|()| Outcome::Closed));
    }
    for request in behind {
        let error = StoreError::new(&file.name, ErrorKind::Closed, "the worker stops");
        request.answer(Err(error));
    }
}

fn settle(file: &File) -> Result<(), StoreError> {
    let settled = file.if_open(Database::settle).unwrap_or(Ok(()));
    if let Err(error) = &settled {
        tracing::warn!(%error, "streams may get new epochs when the host starts again");
    }
    settled
}

/// Writes a batch, and answers each request.
///
/// # Errors
/// When another process held the lock for too long.
fn write(file: &mut File, batch: Vec<Write>) -> Result<(), StoreError> {
    if batch.is_empty() {
        return Ok(());
    }
    match file.with(|database| transact(database, &batch)) {
        Ok(outcomes) => {
            batch.into_iter().zip(outcomes).for_each(|(request, it)| request.answer(Ok(it)));
        }
        // A damaged stream does not concern the others.
        Err(error) if error.kind == ErrorKind::Corrupt && 1 < batch.len() => {
            return batch.into_iter().try_for_each(|request| write(file, vec![request]));
        }
        Err(error) => {
            batch.into_iter().for_each(|request| request.answer(Err(error.clone())));
            if error.kind == ErrorKind::Busy {
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Answers the requests that waited for the same lock, so that none waits for several failures. Ends
/// with a request to close, which it returns.
fn refuse_waiting(requests: &mut mpsc::Receiver<Write>, busy: &StoreError) -> Option<Write> {
    while let Ok(request) = requests.try_recv() {
        match request {
            close @ Write::Close(_) => return Some(close),
            refused => refused.answer(Err(busy.clone())),
        }
    }
    None
}

fn transact(database: &Database, batch: &[Write]) -> Result<Vec<Outcome>, Failure> {
    let (transaction, epochs) = database.begin()?;
    let outcomes: Result<Vec<Outcome>, Failure> =
        batch.iter().map(|request| request.apply(database, epochs)).collect();
    let outcomes = outcomes?;
    transaction.commit()?;
    Ok(outcomes)
}

/// Removes some of what has expired. Returns when to do so again.
fn maintain(file: &mut File) -> Duration {
    match file.with(|database| expiry::step(database, clock::unix_millis())) {
        Ok(true) => NEXT_STEP,
        Ok(false) => UPKEEP,
        Err(error) => {
            tracing::debug!(%error, "expired messages stay");
            UPKEEP
        }
    }
}
