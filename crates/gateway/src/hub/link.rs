//! State of one link in the hub.

use std::{collections::VecDeque, io::IoSlice, net::SocketAddr, rc::Rc, sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use protocol::{
    Answer, InstanceId,
    codec::native,
    link::{MAX_EFFECTS, ToPeer},
};
use runtime::{clock, stream::OwnedWriteHalf};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{allowance::Answers, php, scatter_gather::Origin, tails::TailState};
use crate::{
    thread_messages::{Reported, Worker},
    write_queue::WriteQueue,
};

/// State of a native peer.
#[derive(Debug)]
pub(super) struct Native {
    /// The peer's instance id.
    pub(super) instance: InstanceId,
    /// Sequence number of its last accepted command, on this link or an earlier one.
    pub(super) through: u64,
}

/// Detects a peer that has stopped reading.
#[derive(Debug, Default)]
struct ReadProgress {
    /// Whether it has started or acknowledged events since the last check.
    works: bool,
    /// Bytes written at the last check.
    before: u64,
    stalled: u32,
}

impl ReadProgress {
    /// Checks for progress, given whether data is queued for the peer and the total bytes written
    /// to it. Returns the number of consecutive checks without progress.
    fn check(&mut self, waits: bool, written: u64) -> u32 {
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
    out: WriteQueue,
    /// Total bytes queued.
    pushed: u64,
    /// Set if the peer is a native one.
    pub(super) native: Option<Native>,
    /// Last accepted command of a native peer, if it is not acknowledged yet.
    pub(super) taken: Option<u64>,
    /// Whether an acknowledgement is due even if nothing else is sent.
    pub(super) taken_due: bool,
    /// Whether it is late to respond to liveness probes.
    pub(super) late: bool,
    /// Queued batches of events: the end offset of each in the link's byte stream, and its length;
    /// and their total length in bytes.
    events: VecDeque<(u64, usize)>,
    events_bytes: usize,
    /// Queued standby updates to be confirmed: the end offset in the link's byte stream, the shard
    /// to notify once they are written, and the position to confirm.
    standby: VecDeque<(u64, u16, u64)>,
    /// Queued reports of watched groups: the end offset in the link's byte stream, the shard, and the
    /// length.
    presence: VecDeque<(u64, u16, usize)>,
    progress: ReadProgress,
    /// Number of unanswered queries.
    pub(super) unanswered: usize,
    /// Estimated bytes of the answers to them.
    pub(super) under_way: usize,
    /// The last query, if it waits until its answer fits the limits.
    pub(super) deferred: Option<Origin>,
    /// Additional state of a PHP peer.
    pub(super) php: Option<php::State>,
    /// Whether it is in the hub's list of links to flush.
    pub(super) dirty: bool,
    /// Whether the socket is not writable.
    blocked: bool,
    pub(super) socket: Rc<OwnedWriteHalf>,
    /// Notified when the link must wait for the socket to become writable.
    pub(super) wait: Rc<Notify>,
    /// Cancelled when the hub closes the link.
    pub(super) over: CancellationToken,
    /// Cancelled when writing has failed. The link is closed soon after.
    pub(super) broken: CancellationToken,
    /// Its open tails.
    pub(super) tails: Vec<TailState>,
    /// When it was established.
    pub(super) since: Instant,
    /// When data was last received.
    pub(super) heard: Instant,
}

impl Link {
    pub(super) fn new(
        remote: SocketAddr,
        socket: Rc<OwnedWriteHalf>,
        native: Option<Native>,
        php: Option<php::State>,
    ) -> Self {
        let now = clock::now();
        Self {
            remote,
            worker: None,
            out: WriteQueue::default(),
            pushed: 0,
            native,
            taken: None,
            taken_due: false,
            late: false,
            events: VecDeque::new(),
            events_bytes: 0,
            standby: VecDeque::new(),
            presence: VecDeque::new(),
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
            tails: Vec::new(),
            since: now,
            heard: now,
        }
    }

    /// Bytes to be written, and bytes not yet sent by the TLS stream.
    pub(super) fn queued(&self) -> usize {
        self.out.len() + self.socket.unsent()
    }

    /// Queued bytes that are not events. Events are bounded by windows, and a worker may send
    /// queries without reading them first.
    pub(super) fn queued_answers(&self) -> usize {
        self.out.len().saturating_sub(self.events_bytes)
    }

    /// Answers that are pending or not read yet.
    pub(super) fn answers(&self) -> Answers {
        let waiting = self.php.as_ref().map_or(0, php::State::waiting_bytes);
        Answers { under_way: self.under_way, queued: self.queued_answers() + waiting }
    }

    /// Queues events.
    pub(super) fn push_events(&mut self, frames: &Bytes) {
        self.push(frames);
        self.events.push_back((self.pushed, frames.len()));
        self.events_bytes += frames.len();
    }

    /// Queues standby updates. If `confirm` is set, the shard is notified once they are written.
    pub(super) fn push_standby(&mut self, frames: &Bytes, shard: u16, confirm: Option<u64>) {
        self.push(frames);
        self.standby.extend(confirm.map(|through| (self.pushed, shard, through)));
    }

    /// The next written standby update to confirm: the shard and the position.
    pub(super) fn standby_written(&mut self) -> Option<(u16, u64)> {
        let through = self.written();
        let (_, shard, confirm) = self.standby.pop_front_if(|(end, ..)| *end <= through)?;
        Some((shard, confirm))
    }

    /// Queues reports of watched groups.
    pub(super) fn push_presence(&mut self, frames: &Bytes, shard: u16) {
        self.push(frames);
        self.presence.push_back((self.pushed, shard, frames.len()));
    }

    /// The next written reports to confirm: the shard and the length.
    pub(super) fn presence_written(&mut self) -> Option<(u16, usize)> {
        let through = self.written();
        let (_, shard, length) = self.presence.pop_front_if(|(end, ..)| *end <= through)?;
        Some((shard, length))
    }

    /// Records that the peer has started or acknowledged events, which counts as progress even if
    /// it reads nothing.
    pub(super) fn record_progress(&mut self) {
        self.progress.works = true;
    }

    /// Checks for progress; to be called at regular intervals. Returns the number of consecutive
    /// calls for which data other than events was queued while the peer neither read nor processed
    /// events.
    pub(super) fn stalled(&mut self) -> u32 {
        let (waits, written) = (0 < self.queued_answers(), self.written());
        self.progress.check(waits, written)
    }

    /// Total bytes queued.
    pub(super) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Total bytes written.
    pub(super) fn written(&self) -> u64 {
        self.pushed - self.out.len() as u64
    }

    /// Queues bytes.
    pub(super) fn push(&mut self, bytes: &Bytes) {
        self.pushed += bytes.len() as u64;
        self.out.push(bytes);
    }

    /// Queues the effects of commands of a native peer.
    pub(super) fn send_effects(&mut self, effects: &[Reported]) {
        for effects in effects.chunks(MAX_EFFECTS) {
            let effects = effects.iter().map(|it| (it.request, it.effect)).collect();
            self.send(&ToPeer::Effects { effects });
        }
    }

    /// Queues a message for a native peer.
    pub(super) fn send(&mut self, message: &ToPeer) {
        let mut frame = BytesMut::new();
        if native::encode(message, &mut frame).is_ok() {
            self.push(&frame.freeze());
        } else if let ToPeer::Answer { request, .. } = message {
            // Only an answer can exceed the frame limit.
            self.send(&ToPeer::Answer { request: *request, answer: Answer::Unavailable });
        }
    }

    /// Writes queued bytes until the socket would block.
    pub(super) fn flush(&mut self) {
        self.dirty = false;
        if let Some(through) = self.taken.take() {
            self.send(&ToPeer::CommandAck { through });
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

    /// Records that the socket is writable again.
    pub(super) fn unblock(&mut self) {
        self.blocked = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_is_stalled_only_with_queued_data_and_without_progress() {
        let mut progress = ReadProgress::default();
        assert_eq!(progress.check(true, 10), 0, "bytes were read");
        assert_eq!([progress.check(true, 10), progress.check(true, 10)], [1, 2]);
        assert_eq!(progress.check(true, 11), 0, "a single byte is progress");
        assert_eq!(
            [progress.check(true, 11), progress.check(false, 11)],
            [1, 0],
            "nothing is queued"
        );
        assert_eq!(progress.check(true, 11), 1);
        progress.works = true;
        assert_eq!([progress.check(true, 11), progress.check(true, 11)], [0, 1]);
    }
}
