//! What is on its way to one peer.

use std::{io, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::mpsc::{self, error::TrySendError},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Where lines for a peer are left. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    lines: mpsc::Sender<Bytes>,
    slow: CancellationToken,
}

/// The other end of a [`Mailbox`].
#[derive(Debug)]
pub(crate) struct Outbox {
    lines: mpsc::Receiver<Bytes>,
    /// The line being written, as far as it is not.
    rest: Bytes,
    slow: CancellationToken,
}

/// A mailbox and its other end.
pub(crate) fn mailbox() -> (Mailbox, Outbox) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let slow = CancellationToken::new();
    let mailbox = Mailbox { lines: sender, slow: slow.clone() };
    (mailbox, Outbox { lines: receiver, rest: Bytes::new(), slow })
}

/// Lines a peer may have unread before it is closed, besides what the kernel holds.
const CAPACITY: usize = 64;

impl Mailbox {
    /// Queues a line, never waiting. A peer that lets its queue fill up is closed: it comes back
    /// and asks again, which is better than hearing of a change much later, or never.
    pub(crate) fn push(&self, line: Bytes) {
        match self.lines.try_send(line) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => self.slow.cancel(),
        }
    }

    /// Waits until half of the queue is free.
    pub(crate) async fn room(&self) {
        // Fails only when nobody writes any more, and then nobody waits for this either.
        let _ = self.lines.reserve_many(CAPACITY / 2).await;
    }
}

/// Why nothing more can be written.
#[derive(Debug)]
pub(crate) enum Stuck {
    /// The peer does not read.
    Slow,
    /// The socket failed.
    Io(io::Error),
}

impl Outbox {
    /// A line that is waiting to be written, for tests.
    #[cfg(test)]
    pub(crate) fn waiting(&mut self) -> Option<Bytes> {
        self.lines.try_recv().ok()
    }

    /// Writes lines as they come, until that fails. May be cancelled and called again.
    pub(crate) async fn deliver(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> Stuck {
        let slow = self.slow.clone();
        let write = async {
            loop {
                if self.rest.is_empty() {
                    let Some(line) = self.lines.recv().await else {
                        return std::future::pending().await;
                    };
                    self.rest = line;
                }
                if let Err(error) = write_some(writer, &mut self.rest).await {
                    return error;
                }
            }
        };
        tokio::select! {
            stuck = write => stuck,
            () = slow.cancelled() => Stuck::Slow,
        }
    }

    /// Writes what is queued, within a deadline, and takes nothing more.
    pub(crate) async fn finish(&mut self, writer: &mut (impl AsyncWrite + Unpin)) {
        self.lines.close();
        let write = async {
            loop {
                while !self.rest.is_empty() {
                    if write_some(writer, &mut self.rest).await.is_err() {
                        return;
                    }
                }
                match self.lines.try_recv() {
                    Ok(line) => self.rest = line,
                    // What TLS has still to send is sent.
                    Err(_) => return drop(writer.flush().await),
                }
            }
        };
        let _ = timeout(STUCK, write).await;
    }
}

async fn write_some(writer: &mut (impl AsyncWrite + Unpin), rest: &mut Bytes) -> Result<(), Stuck> {
    match timeout(STUCK, writer.write_buf(rest)).await {
        Ok(Ok(0)) => Err(Stuck::Io(io::ErrorKind::WriteZero.into())),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Stuck::Io(error)),
        Err(_) => Err(Stuck::Slow),
    }
}

/// A peer that takes not a byte for this long is not reading.
const STUCK: Duration = Duration::from_secs(10);
