//! What is on its way to one peer.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::Notify,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Where lines for a peer are left. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    queue: Arc<Queue>,
    slow: CancellationToken,
}

/// The other end of a [`Mailbox`].
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Arc<Queue>,
    /// The line being written, as far as it is not.
    rest: Bytes,
    slow: CancellationToken,
}

#[derive(Debug, Default)]
struct Queue {
    lines: Mutex<Lines>,
    /// Called when there is a line to be written.
    filled: Notify,
    /// Called when lines were taken.
    emptied: Notify,
}

/// Invariant: `news` is the last line, if there is one.
#[derive(Debug, Default)]
struct Lines {
    /// What was asked for, in that order.
    answers: VecDeque<Bytes>,
    /// The newest list, behind all of these, if the peer did not ask for it.
    news: Option<Bytes>,
    /// Nothing more is taken.
    closed: bool,
}

/// A mailbox and its other end.
pub(crate) fn mailbox() -> (Mailbox, Outbox) {
    let (queue, slow) = (Arc::<Queue>::default(), CancellationToken::new());
    let mailbox = Mailbox { queue: Arc::clone(&queue), slow: slow.clone() };
    (mailbox, Outbox { queue, rest: Bytes::new(), slow })
}

/// Answers a peer may have unread before it is closed, besides what the kernel holds.
const CAPACITY: usize = 64;

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        // Every change is one step.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn pop(&mut self) -> Option<Bytes> {
        self.answers.pop_front().or_else(|| self.news.take())
    }
}

impl Mailbox {
    /// Queues the answer to a question, never waiting. A peer that lets its queue fill up is closed: it
    /// comes back and asks again, which is better than hearing of a change much later, or never.
    pub(crate) fn answer(&self, line: Bytes) {
        let mut lines = self.queue.lock();
        if lines.closed {
            return;
        }
        if CAPACITY <= lines.answers.len() {
            return self.slow.cancel();
        }
        // What was news before this answer is answered by it.
        lines.news = None;
        lines.answers.push_back(line);
        drop(lines);
        self.queue.filled.notify_one();
    }

    /// Queues the list after a change. Whatever list has not been written yet is of no use any more, so
    /// that a peer has at most one in its queue, however many changes there are at once.
    pub(crate) fn tell(&self, line: Bytes) {
        let mut lines = self.queue.lock();
        if !lines.closed {
            lines.news = Some(line);
            drop(lines);
            self.queue.filled.notify_one();
        }
    }

    /// Queues a line that is no list: it must not replace one.
    pub(crate) fn say(&self, line: Bytes) {
        let mut lines = self.queue.lock();
        if lines.closed {
            return;
        }
        if CAPACITY <= lines.answers.len() {
            return self.slow.cancel();
        }
        lines.answers.push_back(line);
        drop(lines);
        self.queue.filled.notify_one();
    }

    /// Waits until half of the queue is free.
    pub(crate) async fn room(&self) {
        loop {
            let emptied = self.queue.emptied.notified();
            let mut emptied = std::pin::pin!(emptied);
            // Before it is looked at, so that nothing is missed in between.
            emptied.as_mut().enable();
            let has_room = {
                let lines = self.queue.lock();
                lines.closed || lines.answers.len() <= CAPACITY / 2
            };
            if has_room {
                return;
            }
            emptied.await;
        }
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

    /// Writes lines as they come, until that fails. May be cancelled and called again.
    pub(crate) async fn deliver(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> Stuck {
        let slow = self.slow.clone();
        let write = async {
            loop {
                if self.rest.is_empty() {
                    self.rest = self.next().await;
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
        self.queue.lock().closed = true;
        let write = async {
            loop {
                while !self.rest.is_empty() {
                    if write_some(writer, &mut self.rest).await.is_err() {
                        return;
                    }
                }
                let line = self.queue.lock().pop();
                match line {
                    Some(line) => self.rest = line,
                    // What TLS has still to send is sent.
                    None => return drop(writer.flush().await),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn waiting(outbox: &mut Outbox) -> Vec<Bytes> {
        std::iter::from_fn(|| outbox.waiting()).collect()
    }

    #[test]
    fn mailbox_keeps_only_the_newest_list_and_every_answer() {
        let (mailbox, mut outbox) = mailbox();
        mailbox.answer(line("first"));
        for _ in 0..1000 {
            mailbox.tell(line("old"));
        }
        mailbox.say(line("pong"));
        mailbox.answer(line("second"));
        mailbox.tell(line("older"));
        mailbox.tell(line("new"));
        assert_eq!(
            waiting(&mut outbox),
            [line("first"), line("pong"), line("second"), line("new")]
        );
        assert!(!mailbox.slow.is_cancelled());
    }

    #[test]
    fn mailbox_with_too_many_unread_answers_closes_its_peer() {
        let (mailbox, mut outbox) = mailbox();
        for _ in 0..=CAPACITY {
            assert!(!mailbox.slow.is_cancelled());
            mailbox.answer(line("answer"));
        }
        assert!(mailbox.slow.is_cancelled());
        assert_eq!(waiting(&mut outbox).len(), CAPACITY, "bounded");
    }
}
