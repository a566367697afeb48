//! One peer's link, as the hub sees it.

use std::{collections::VecDeque, io::IoSlice, net::SocketAddr, rc::Rc, sync::Arc};

use bytes::{Bytes, BytesMut};
use protocol::{Answer, Instance, codec::native, link::ToPeer};
use service::stream::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{allowance::Answers, gather::Asked, php};
use crate::{exchange::Worker, outqueue::OutQueue};

/// What is known of a native peer.
#[derive(Debug)]
pub(super) struct Native {
    /// Which life of it this is.
    pub(super) instance: Instance,
    /// The number of its last command that was taken, by this link or an earlier one.
    pub(super) through: u64,
}

/// Whether a peer reads what is sent to it.
#[derive(Debug, Default)]
struct ReadProgress {
    /// Whether it has begun or finished events since this was last looked at.
    works: bool,
    /// How many bytes were written then.
    before: u64,
    stalled: u32,
}

impl ReadProgress {
    /// Takes whether something waits for the peer, and how many bytes were written to it. Returns how
    /// often in a row it was found not to go on.
    fn look(&mut self, waits: bool, written: u64) -> u32 {
        let works = std::mem::take(&mut self.works);
        let reads = std::mem::replace(&mut self.before, written) != written;
        self.stalled = if waits && !reads && !works { self.stalled + 1 } else { 0 };
        self.stalled
    }
}

/// One peer's link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) remote: SocketAddr,
    /// Set if the peer is a worker.
    pub(super) worker: Option<Arc<Worker>>,
    out: OutQueue,
    /// Bytes queued since the beginning.
    pushed: u64,
    /// Set if the peer is a native one.
    pub(super) native: Option<Native>,
    /// The last command that was taken, if a native peer was not told yet.
    pub(super) taken: Option<u64>,
    /// Whether it is to be told even if nothing else goes out.
    pub(super) taken_due: bool,
    /// Whether it is late to answer.
    pub(super) late: bool,
    /// Events that wait to be written: where each batch ends among all bytes of the link, and how
    /// many bytes they have in all.
    events: VecDeque<(u64, usize)>,
    events_bytes: usize,
    /// What it is told as a standby: where that ends among all bytes of the link, and which shard is
    /// to hear that it is written up to where.
    standby: VecDeque<(u64, u16, u64)>,
    progress: ReadProgress,
    /// How many of its queries are unanswered.
    pub(super) unanswered: usize,
    /// About how many bytes the answers to them have.
    pub(super) under_way: usize,
    /// The query that was taken last, if it must wait until there is room for its answer.
    pub(super) deferred: Option<Asked>,
    /// What a link of a PHP peer needs besides.
    pub(super) php: Option<php::State>,
    /// Whether it is on the hub's list of links to be written to.
    pub(super) dirty: bool,
    /// Whether the socket takes no more for now.
    blocked: bool,
    pub(super) socket: Rc<OwnedWriteHalf>,
    /// Called when the socket must be waited for.
    pub(super) wait: Rc<Notify>,
    /// Cancelled when the link is of no further use.
    pub(super) over: CancellationToken,
    /// Cancelled when the socket has failed: the end of the link follows.
    pub(super) broken: CancellationToken,
}

impl Link {
    pub(super) fn new(
        remote: SocketAddr,
        socket: Rc<OwnedWriteHalf>,
        native: Option<Native>,
        php: Option<php::State>,
    ) -> Self {
        Self {
            remote,
            worker: None,
            out: OutQueue::default(),
            pushed: 0,
            native,
            taken: None,
            taken_due: false,
            late: false,
            events: VecDeque::new(),
            events_bytes: 0,
            standby: VecDeque::new(),
            progress: ReadProgress::default(),
            unanswered: 0,
            under_way: 0,
            deferred: None,
            php,
            dirty: false,
            blocked: false,
            socket,
            wait: Rc::default(),
            over: CancellationToken::new(),
            broken: CancellationToken::new(),
        }
    }

    /// Bytes that wait to be written, or to leave.
    pub(super) fn queued(&self) -> usize {
        self.out.len() + self.socket.unsent()
    }

    /// Bytes of them that are not events: those are bounded by windows, and a worker need not read
    /// them before it may ask.
    pub(super) fn queued_answers(&self) -> usize {
        self.out.len().saturating_sub(self.events_bytes)
    }

    /// Answers that are under way, or not read.
    pub(super) fn answers(&self) -> Answers {
        let in_order = self.php.as_ref().map_or(0, php::State::waiting_bytes);
        Answers { under_way: self.under_way, queued: self.queued_answers() + in_order }
    }

    /// Queues events.
    pub(super) fn push_events(&mut self, frames: &Bytes) {
        self.push(frames);
        self.events.push_back((self.pushed, frames.len()));
        self.events_bytes += frames.len();
    }

    /// Queues what a standby is told. The shard is to hear of it once it is written, if it says up to
    /// where that is.
    pub(super) fn push_standby(&mut self, frames: &Bytes, shard: u16, confirm: Option<u64>) {
        self.push(frames);
        self.standby.extend(confirm.map(|through| (self.pushed, shard, through)));
    }

    /// What was written of that: the shard, and up to where.
    pub(super) fn standby_written(&mut self) -> Option<(u16, u64)> {
        let through = self.written();
        let (_, shard, confirm) = self.standby.pop_front_if(|(end, ..)| *end <= through)?;
        Some((shard, confirm))
    }

    /// The peer has begun or finished events: it is at work, even if it reads nothing.
    pub(super) fn works(&mut self) {
        self.progress.works = true;
    }

    /// Called at regular intervals. Returns for how many of them something other than events has
    /// waited without the peer reading anything, or finishing any event.
    pub(super) fn stalled(&mut self) -> u32 {
        let (waits, written) = (0 < self.queued_answers(), self.written());
        self.progress.look(waits, written)
    }

    /// Bytes queued since the beginning.
    pub(super) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Bytes written since the beginning.
    pub(super) fn written(&self) -> u64 {
        self.pushed - self.out.len() as u64
    }

    /// Queues bytes.
    pub(super) fn push(&mut self, bytes: &Bytes) {
        self.pushed += bytes.len() as u64;
        self.out.push(bytes);
    }

    /// Queues what a native peer is told.
    pub(super) fn say(&mut self, message: &ToPeer) {
        let mut frame = BytesMut::new();
        if native::encode(message, &mut frame).is_ok() {
            self.push(&frame.freeze());
        } else if let ToPeer::Answer { request, .. } = message {
            // Everything else is far below the limit of a frame.
            self.say(&ToPeer::Answer { request: *request, answer: Answer::Unavailable });
        }
    }

    /// Writes what is queued, as far as the socket takes it.
    pub(super) fn flush(&mut self) {
        self.dirty = false;
        if let Some(through) = self.taken.take() {
            self.say(&ToPeer::Taken { through });
        }
        if self.blocked {
            return;
        }
        let socket = &self.socket;
        let written = self.out.write(|slices: &[IoSlice<'_>]| match slices {
            [one] => socket.try_write(one),
            many => socket.try_write_vectored(many),
        });
        let through = self.written();
        while let Some((_, length)) = self.events.pop_front_if(|(end, _)| *end <= through) {
            self.events_bytes -= length;
        }
        match written {
            Ok(true) if self.socket.unsent() == 0 => {}
            Ok(_) => {
                self.blocked = true;
                self.wait.notify_one();
            }
            Err(error) => {
                tracing::debug!(remote = %self.remote, %error, "link lost");
                self.blocked = true;
                self.broken.cancel();
            }
        }
    }

    /// The socket takes more again.
    pub(super) fn unblock(&mut self) {
        self.blocked = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_stalls_only_while_something_waits_and_it_neither_reads_nor_works() {
        let mut progress = ReadProgress::default();
        assert_eq!(progress.look(true, 10), 0, "it has read");
        assert_eq!([progress.look(true, 10), progress.look(true, 10)], [1, 2]);
        assert_eq!(progress.look(true, 11), 0, "however little");
        assert_eq!([progress.look(true, 11), progress.look(false, 11)], [1, 0], "nothing waits");
        assert_eq!(progress.look(true, 11), 1);
        progress.works = true;
        assert_eq!([progress.look(true, 11), progress.look(true, 11)], [0, 1]);
    }
}
