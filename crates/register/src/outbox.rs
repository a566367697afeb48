//! The queue of lines to one peer.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use bytes::Bytes;
use runtime::sync::{Mutex, MutexGuard};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::Notify,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::closed::Closed;

/// The sending end of a peer's queue. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    queue: Arc<Queue>,
    slow: CancellationToken,
}

/// The receiving end of a [`Mailbox`].
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Arc<Queue>,
    /// The unwritten part of the current line.
    unwritten: Bytes,
    slow: CancellationToken,
}

#[derive(Debug, Default)]
struct Queue {
    lines: Mutex<Lines>,
    /// Notified when a line is queued.
    filled: Notify,
    /// Notified when lines are removed.
    emptied: Notify,
}

/// Invariant: `latest_list`, if any, is the last line.
#[derive(Debug, Default)]
struct Lines {
    /// Responses and other lines, in order.
    responses: VecDeque<Bytes>,
    /// The newest unsolicited list, after all of these.
    latest_list: Option<Bytes>,
    /// Whether the queue accepts no further lines.
    closed: bool,
}

/// Creates both ends of a queue.
pub(crate) fn mailbox() -> (Mailbox, Outbox) {
    let (queue, slow) = (Arc::<Queue>::default(), CancellationToken::new());
    let mailbox = Mailbox { queue: Arc::clone(&queue), slow: slow.clone() };
    (mailbox, Outbox { queue, unwritten: Bytes::new(), slow })
}

/// Maximum number of queued responses before the peer is closed as a slow consumer, not counting
/// the kernel's buffers.
const CAPACITY: usize = 64;

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock()
    }
}

impl Lines {
    fn pop(&mut self) -> Option<Bytes> {
        self.responses.pop_front().or_else(|| self.latest_list.take())
    }
}

impl Mailbox {
    /// Queues the response to a request, without waiting.
    pub(crate) fn push_response(&self, line: Bytes) {
        self.push(|lines| {
            // The response supersedes any unsolicited list queued before it.
            lines.latest_list = None;
            lines.responses.push_back(line);
        });
    }

    /// Queues a line other than a list, which must not replace one.
    pub(crate) fn push_line(&self, line: Bytes) {
        self.push(|lines| lines.responses.push_back(line));
    }

    /// Adds to the queue. A peer whose queue is full is closed: it reconnects and requests the list
    /// again, which is better than a much delayed or lost change.
    fn push(&self, add: impl FnOnce(&mut Lines)) {
        let mut lines = self.queue.lock();
        if lines.closed {
            return;
        }
        if CAPACITY <= lines.responses.len() {
            return self.slow.cancel();
        }
        add(&mut lines);
        drop(lines);
        self.queue.filled.notify_one();
    }

    /// Queues the list after a change. It replaces any unsolicited list not written yet, so the
    /// queue holds at most one, regardless of the number of changes.
    pub(crate) fn push_list(&self, line: Bytes) {
        let mut lines = self.queue.lock();
        if !lines.closed {
            lines.latest_list = Some(line);
            drop(lines);
            self.queue.filled.notify_one();
        }
    }

    /// Waits until at least half of the queue is free.
    pub(crate) async fn room(&self) {
        loop {
            let emptied = self.queue.emptied.notified();
            let mut emptied = std::pin::pin!(emptied);
            // Enabled before the check, so that no notification is missed in between.
            emptied.as_mut().enable();
            let has_room = {
                let lines = self.queue.lock();
                lines.closed || lines.responses.len() <= CAPACITY / 2
            };
            if has_room {
                return;
            }
            emptied.await;
        }
    }
}

impl Outbox {
    /// Removes the next queued line, for tests.
    #[cfg(test)]
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        self.queue.lock().pop()
    }

    /// Waits for the next line.
    async fn next(&mut self) -> Bytes {
        loop {
            let filled = self.queue.filled.notified();
            let line = self.queue.lock().pop();
            if let Some(line) = line {
                self.queue.emptied.notify_waiters();
                return line;
            }
            filled.await;
        }
    }

    /// Writes lines as they are queued, until that fails. Cancel safe.
    pub(crate) async fn deliver(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> Closed {
        let slow = self.slow.clone();
        let write = async {
            loop {
                if self.unwritten.is_empty() {
                    self.unwritten = self.next().await;
                }
                if let Err(error) = write_some(writer, &mut self.unwritten).await {
                    return error;
                }
            }
        };
        tokio::select! {
            error = write => error,
            () = slow.cancelled() => Closed::Slow,
        }
    }

    /// Writes the queued lines, within a deadline, and accepts no more.
    pub(crate) async fn finish(&mut self, writer: &mut (impl AsyncWrite + Unpin)) {
        self.queue.lock().closed = true;
        let write = async {
            loop {
                while !self.unwritten.is_empty() {
                    if write_some(writer, &mut self.unwritten).await.is_err() {
                        return;
                    }
                }
                let line = self.queue.lock().pop();
                match line {
                    Some(line) => self.unwritten = line,
                    // TLS may buffer output.
                    None => return drop(writer.flush().await),
                }
            }
        };
        let _ = timeout(WRITE_TIMEOUT, write).await;
    }
}

async fn write_some(
    writer: &mut (impl AsyncWrite + Unpin),
    unwritten: &mut Bytes,
) -> Result<(), Closed> {
    match timeout(WRITE_TIMEOUT, writer.write_buf(unwritten)).await {
        Ok(Ok(0)) => Err(Closed::Io(io::ErrorKind::WriteZero.into())),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Closed::Io(error)),
        Err(_) => Err(Closed::Slow),
    }
}

/// A peer that accepts no byte for this long is a slow consumer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn queued(outbox: &mut Outbox) -> Vec<Bytes> {
        std::iter::from_fn(|| outbox.pop()).collect()
    }

    #[test]
    fn mailbox_keeps_only_the_newest_list_and_every_answer() {
        let (mailbox, mut outbox) = mailbox();
        mailbox.push_response(line("first"));
        for _ in 0..1000 {
            mailbox.push_list(line("old"));
        }
        mailbox.push_line(line("pong"));
        mailbox.push_response(line("second"));
        mailbox.push_list(line("older"));
        mailbox.push_list(line("new"));
        assert_eq!(queued(&mut outbox), [line("first"), line("pong"), line("second"), line("new")]);
        assert!(!mailbox.slow.is_cancelled());
    }

    #[test]
    fn mailbox_with_too_many_unread_answers_closes_its_peer() {
        let (mailbox, mut outbox) = mailbox();
        for _ in 0..=CAPACITY {
            assert!(!mailbox.slow.is_cancelled());
            mailbox.push_response(line("answer"));
        }
        assert!(mailbox.slow.is_cancelled());
        assert_eq!(queued(&mut outbox).len(), CAPACITY, "bounded");
    }
}
