//! The write queue of a gateway: bounded in bytes, written in batches.

use std::{mem, sync::Arc};

use bytes::BytesMut;
use protocol::{
    codec::native::{self, EncodeError},
    link::ToGateway,
};
use runtime::sync::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::{
    finished::Finished,
    unacked::{self, UnackedCommands},
};
use crate::metrics::Metrics;

/// Limit of bytes that are queued, or kept until they are acknowledged; at the limit, senders wait.
/// One message may exceed it, so that the largest message can be sent at all.
pub const OUTGOING_LIMIT: usize = 16 * 1024 * 1024;

/// Larger buffers are freed once they are empty.
const KEEP: usize = 1024 * 1024;

/// The queue between senders and the task of the present link, which writes. It outlives the link:
/// while none is open, messages with [`Lifetime::GatewaySession`] wait for the next.
#[derive(Debug)]
pub(super) struct Outgoing {
    state: Mutex<State>,
    /// Notified when there is data to write.
    wake: Notify,
    /// Notified when there is space again.
    room: Notify,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct State {
    connectivity: Connectivity,
    /// The number of links so far, the present one included.
    links: u64,
    buffer: BytesMut,
    /// Bytes that the writer has taken and not written yet.
    in_write: usize,
    /// The number of the last command.
    last: u64,
    /// The number of commands queued for the present link.
    commands: u64,
    unacked: UnackedCommands,
    finished: Finished,
    /// Whether a request for the acknowledgement of all commands is to be written behind them.
    wants_ack: bool,
    /// The writer will check the queue without a notification.
    awake: bool,
    /// Whether senders wait for space.
    has_waiters: bool,
}

/// State of the connection to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connectivity {
    /// A link is open.
    Connected,
    /// No link is open; the next one is awaited.
    Disconnected,
    /// No further link is established, although the gateway may be alive.
    Abandoned,
    /// The gateway is given up.
    Closed,
}

/// How long a message is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// While this link is open, by its number within the session.
    Link(u64),
    /// While the present link is open, whichever it is.
    Present,
    /// Until the gateway is given up. For commands.
    GatewaySession,
    /// The same on behalf of an event: until the event is left to another worker.
    Event,
}

/// Result of a push.
#[derive(Debug)]
pub(super) enum Push {
    /// The message is queued; a command gets this number.
    Queued(u64),
    /// The queue is full.
    Full,
    /// The link has closed.
    Closed,
}

impl Outgoing {
    /// A queue without a link. Commands are numbered from the one after `last`.
    pub(super) fn parked(last: u64, metrics: Arc<Metrics>) -> Self {
        let state = State {
            connectivity: Connectivity::Disconnected,
            links: 0,
            buffer: BytesMut::new(),
            in_write: 0,
            last,
            commands: 0,
            unacked: UnackedCommands::default(),
            finished: Finished::default(),
            wants_ack: false,
            awake: false,
            has_waiters: false,
        };
        Self { state: Mutex::new(state), wake: Notify::new(), room: Notify::new(), metrics }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Queues a message if there is space. A command is numbered here, and moved out of `message`
    /// if it is to outlive the link.
    pub(super) fn push(
        &self,
        message: &mut ToGateway,
        lifetime: Lifetime,
    ) -> Result<Push, EncodeError> {
        let mut state = self.lock();
        if !state.accepts(lifetime) {
            return Ok(Push::Closed);
        }
        if state.is_full() {
            state.has_waiters = true;
            let has_blocked_senders = state.has_blocked_senders();
            drop(state);
            if has_blocked_senders {
                self.wake.notify_one();
            }
            return Ok(Push::Full);
        }
        let next = state.last + 1;
        let is_command = match message {
            ToGateway::Command { seq, .. } | ToGateway::ReportedCommand { seq, .. } => {
                *seq = next;
                true
            }
            _ => false,
        };
        let start = state.buffer.len();
        native::encode(message, &mut state.buffer)?;
        state.last += u64::from(is_command);
        state.commands += u64::from(is_command);
        let number = state.last;
        if let Lifetime::GatewaySession | Lifetime::Event = lifetime {
            self.keep(&mut state, start, lifetime == Lifetime::Event, message);
        }
        if state.connectivity == Connectivity::Connected {
            self.wake(state);
        }
        Ok(Push::Queued(number))
    }

    /// Keeps a command, whose frame begins at `start`. Without a link, the frame is discarded.
    fn keep(&self, state: &mut State, start: usize, scoped: bool, command: &mut ToGateway) {
        let size = state.buffer.len() - start;
        // Its effect is reported on the present link, or stays unknown.
        let mut command = mem::replace(command, ToGateway::Leaving).without_request();
        if state.connectivity != Connectivity::Connected {
            state.buffer.truncate(start);
            shrink(&mut state.buffer);
        }
        match state.connectivity {
            Connectivity::Connected => {}
            Connectivity::Disconnected => {
                unacked::detach(&mut command);
                self.metrics.parked.inc_by(size as i64);
            }
            Connectivity::Abandoned | Connectivity::Closed => {
                self.metrics.given_up.inc();
                return;
            }
        }
        state.unacked.add(state.last, size, scoped, command);
    }

    /// Acknowledges events of a link, behind everything queued so far.
    pub(super) fn finish(&self, link: u64, finished: &mut Finished) {
        let mut state = self.lock();
        if !state.accepts(Lifetime::Link(link)) {
            finished.clear();
        } else if !finished.is_empty() {
            state.finished.append(finished);
            self.wake(state);
        }
    }

    /// Asks the gateway of a link to acknowledge all commands queued so far, once for all callers
    /// until the next write. Returns the number of the last one; `None` if the link has closed.
    pub(super) fn request_ack(&self, link: u64) -> Option<u64> {
        let mut state = self.lock();
        if !state.accepts(Lifetime::Link(link)) {
            return None;
        }
        let last = state.last;
        state.wants_ack = true;
        self.wake(state);
        Some(last)
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let asleep = !mem::replace(&mut state.awake, true);
        drop(state);
        if asleep {
            self.wake.notify_one();
        }
    }

    /// Waits until a push may have space, or will be refused. The notification is enabled before
    /// the check, so that space freed between the failed push and the wait is not missed.
    pub(super) async fn room(&self, lifetime: Lifetime) {
        let notified = self.room.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        {
            let mut state = self.lock();
            if !state.accepts(lifetime) || !state.is_full() {
                return;
            }
            state.has_waiters = true;
        }
        notified.await;
    }

    /// Whether senders wait for acknowledgements of the gateway, which must be read, therefore.
    pub(super) fn has_blocked_senders(&self) -> bool {
        self.lock().has_blocked_senders()
    }

    /// Waits until there is data to write, or [blocked senders](Self::has_blocked_senders). For the
    /// writer only.
    pub(super) async fn output_queued(&self) {
        self.wake.notified().await;
    }

    /// From now until the next [`take`](Self::take) the writer need not be notified.
    pub(super) fn stay_awake(&self) {
        self.lock().awake = true;
    }

    /// Swaps the data to be written into `empty`. Returns `None` if there is none; a sender then
    /// wakes the writer.
    pub(super) fn take(&self, empty: &mut BytesMut) -> Option<WriteBatch> {
        shrink(empty);
        empty.clear();
        let mut state = self.lock();
        state.in_write = 0;
        let State { finished, buffer, wants_ack, .. } = &mut *state;
        finished.drain(|done| {
            native::encode(&done, buffer).expect("three numbers fit a frame");
        });
        if mem::take(wants_ack) {
            native::encode(&ToGateway::Acknowledge, buffer).expect("one byte fits a frame");
        }
        if state.buffer.is_empty() {
            state.awake = false;
        } else {
            mem::swap(&mut state.buffer, empty);
            state.in_write = empty.len();
        }
        let has_unacked = state.unacked.last().is_some();
        let taken =
            (!empty.is_empty()).then_some(WriteBatch { commands: state.commands, has_unacked });
        self.make_room(state);
        taken
    }

    /// The gateway has acknowledged every command up to this one.
    pub(super) fn confirm(&self, through: u64) {
        let mut state = self.lock();
        state.unacked.confirm(through);
        self.make_room(state);
    }

    /// Notifies senders that wait for space.
    fn make_room(&self, mut state: MutexGuard<'_, State>) {
        let has_waiters = !state.is_full() && mem::take(&mut state.has_waiters);
        drop(state);
        if has_waiters {
            self.room.notify_waiters();
        }
    }

    /// The link has closed. Kept commands wait for the next one.
    pub(super) fn park(&self) {
        let mut state = self.lock();
        if state.connectivity == Connectivity::Connected {
            state.connectivity = Connectivity::Disconnected;
            state.empty();
            state.unacked.detach();
            self.metrics.parked.inc_by(state.unacked.bytes() as i64);
        }
        self.notify_all(state);
    }

    /// A link is open, to a gateway that has acknowledged every command up to `taken` before. The
    /// unacknowledged ones are queued before anything newer. Returns the number of the link within
    /// the session; `None` if no link was awaited.
    pub(super) fn resume(&self, taken: u64) -> Option<u64> {
        let mut state = self.lock();
        if state.connectivity != Connectivity::Disconnected {
            return None;
        }
        self.metrics.parked.dec_by(state.unacked.bytes() as i64);
        state.unacked.confirm(taken);
        state.last = taken.max(state.last);
        state.connectivity = Connectivity::Connected;
        state.links += 1;
        // The new writer checks the queue first.
        state.awake = true;
        let State { unacked, buffer, commands, .. } = &mut *state;
        *commands = 0;
        for command in unacked.iter() {
            native::encode(command, buffer).expect("encoded before");
            *commands += 1;
        }
        let link = state.links;
        self.make_room(state);
        Some(link)
    }

    /// Leaves unfinished events to other workers: drops the commands on their behalf, which those
    /// workers send anew. Does nothing while a link is open.
    pub(super) fn drop_scoped(&self) {
        let mut state = self.lock();
        if state.connectivity == Connectivity::Disconnected {
            let dropped = state.unacked.drop_scoped();
            self.metrics.parked.dec_by(dropped as i64);
        }
        self.make_room(state);
    }

    /// Prevents further links. Later commands are still numbered, and then dropped. Returns whether
    /// no link is open; if one is open, nothing changes.
    pub(super) fn abandon(&self) -> bool {
        let state = self.lock();
        let parked = state.connectivity == Connectivity::Disconnected;
        if parked {
            self.shut(state, Connectivity::Abandoned);
        }
        parked
    }

    /// Refuses all messages from here on.
    pub(super) fn close(&self) {
        let state = self.lock();
        if state.connectivity != Connectivity::Closed {
            self.shut(state, Connectivity::Closed);
        }
    }

    fn shut(&self, mut state: MutexGuard<'_, State>, connectivity: Connectivity) {
        if state.connectivity == Connectivity::Disconnected {
            self.metrics.parked.dec_by(state.unacked.bytes() as i64);
        }
        state.connectivity = connectivity;
        state.empty();
        let given_up = state.unacked.clear();
        self.metrics.given_up.inc_by(given_up);
        self.notify_all(state);
    }

    fn notify_all(&self, mut state: MutexGuard<'_, State>) {
        state.has_waiters = false;
        drop(state);
        self.room.notify_waiters();
        self.wake.notify_one();
    }

    /// Bytes that wait to be written.
    pub(super) fn unwritten(&self) -> usize {
        self.lock().unwritten()
    }

    /// The number of the last command.
    pub(super) fn last(&self) -> u64 {
        self.lock().last
    }

    /// The last command that is kept until it is acknowledged.
    pub(super) fn last_unacked(&self) -> Option<u64> {
        self.lock().unacked.last()
    }
}

/// Frees a large empty buffer.
fn shrink(buffer: &mut BytesMut) {
    if KEEP < buffer.capacity() {
        *buffer = BytesMut::new();
    }
}

/// Data taken for writing.
#[derive(Clone, Copy, Debug)]
pub(super) struct WriteBatch {
    /// The number of commands queued for this link so far, these included.
    pub(super) commands: u64,
    /// Whether some are kept until they are acknowledged.
    pub(super) has_unacked: bool,
}

impl State {
    fn accepts(&self, lifetime: Lifetime) -> bool {
        match lifetime {
            Lifetime::Link(link) => {
                self.connectivity == Connectivity::Connected && self.links == link
            }
            Lifetime::Present => self.connectivity == Connectivity::Connected,
            Lifetime::GatewaySession | Lifetime::Event => self.connectivity != Connectivity::Closed,
        }
    }

    fn unwritten(&self) -> usize {
        self.buffer.len() + self.in_write
    }

    fn has_blocked_senders(&self) -> bool {
        self.connectivity == Connectivity::Connected
            && self.has_waiters
            && self.unwritten() < OUTGOING_LIMIT
    }

    fn is_full(&self) -> bool {
        OUTGOING_LIMIT <= self.unwritten() + self.unacked.bytes()
    }

    /// Drops the data that was queued for the present link only.
    fn empty(&mut self) {
        self.in_write = 0;
        self.buffer = BytesMut::new();
        self.finished.clear();
        self.wants_ack = false;
    }
}

#[cfg(test)]
mod tests;
