//! What waits to be written to a gateway: bounded in bytes, written in one piece.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::BytesMut;
use protocol::{
    codec::native::{self, EncodeError},
    link::ToGateway,
};
use tokio::sync::Notify;

use super::{
    finished::Finished,
    kept::{self, Kept},
};
use crate::metrics::Metrics;

/// While this many bytes wait to be written, or to be confirmed if they are kept until then,
/// whoever wants to send waits too. One message may go beyond it, so that the largest message can
/// be sent at all.
pub const OUTGOING_LIMIT: usize = 16 * 1024 * 1024;

/// Buffers above this are given back once they are empty.
const KEEP: usize = 1024 * 1024;

/// The queue between those who send and the task of the present link, which writes. It outlives the
/// link: while there is none, what is sent for [`Lifetime::Line`] waits for the next.
#[derive(Debug)]
pub(super) struct Outgoing {
    state: Mutex<State>,
    /// There is something to write.
    wake: Notify,
    /// There is room again.
    room: Notify,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct State {
    way: Way,
    /// How many links there were, the present one included.
    links: u64,
    buffer: BytesMut,
    /// Bytes that the writer has taken and not yet written.
    in_write: usize,
    /// The number of the last command.
    last: u64,
    /// How many commands were queued for the present link.
    commands: u64,
    kept: Kept,
    finished: Finished,
    /// The writer will look here without being told to.
    awake: bool,
    /// Somebody waits for room.
    crowded: bool,
}

/// Where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// To the present link.
    Open,
    /// Nowhere for now.
    Parked,
    /// Nowhere: no link is made any more, though the gateway may be there.
    Forsaken,
    /// Nowhere: the gateway is gone.
    Closed,
}

/// How long a message is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// As long as this link stands, which is the how many-th of its line.
    Link(u64),
    /// As long as the link stands that there is now, whichever.
    Present,
    /// As long as its gateway lives. For commands.
    Line,
    /// The same on behalf of an event: until that is left to another worker.
    Event,
}

/// What became of a message.
#[derive(Debug)]
pub(super) enum Push {
    /// It will be written; commands get this number.
    Queued(u64),
    /// There is no room.
    Full,
    /// The link is gone.
    Closed,
}

impl Outgoing {
    /// One without a link. Commands are numbered from the one after `last`.
    pub(super) fn parked(last: u64, metrics: Arc<Metrics>) -> Self {
        let state = State {
            way: Way::Parked,
            links: 0,
            buffer: BytesMut::new(),
            in_write: 0,
            last,
            commands: 0,
            kept: Kept::default(),
            finished: Finished::default(),
            awake: false,
            crowded: false,
        };
        Self { state: Mutex::new(state), wake: Notify::new(), room: Notify::new(), metrics }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while encoding leaves at most a frame cut short, and the gateway refuses that.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message if there is room. A command gets its number here, and is moved away if it is
    /// to outlive the link.
    pub(super) fn push(
        &self,
        message: &mut ToGateway,
        lifetime: Lifetime,
    ) -> Result<Push, EncodeError> {
        let mut state = self.lock();
        if !state.takes(lifetime) {
            return Ok(Push::Closed);
        }
        if state.is_full() {
            state.crowded = true;
            let starves = state.starves();
            drop(state);
            if starves {
                self.wake.notify_one();
            }
            return Ok(Push::Full);
        }
        let next = state.last + 1;
        let is_command = match message {
            ToGateway::Command { seq, .. } => {
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
        if let Lifetime::Line | Lifetime::Event = lifetime {
            self.keep(&mut state, start, lifetime == Lifetime::Event, message);
        }
        if state.way == Way::Open {
            self.wake(state);
        }
        Ok(Push::Queued(number))
    }

    /// Keeps a command, whose frame begins at `start`. Without a link, the frame is of no use.
    fn keep(&self, state: &mut State, start: usize, scoped: bool, command: &mut ToGateway) {
        let size = state.buffer.len() - start;
        let mut command = mem::replace(command, ToGateway::Leaving);
        if state.way != Way::Open {
            state.buffer.truncate(start);
            give_back(&mut state.buffer);
        }
        match state.way {
            Way::Open => {}
            Way::Parked => {
                kept::detach(&mut command);
                self.metrics.parked.inc_by(size as i64);
            }
            Way::Forsaken | Way::Closed => {
                self.metrics.given_up.inc();
                return;
            }
        }
        state.kept.add(state.last, size, scoped, command);
    }

    /// Says that events of a link are done with, behind everything queued so far.
    pub(super) fn finish(&self, link: u64, finished: &mut Finished) {
        let mut state = self.lock();
        if !state.takes(Lifetime::Link(link)) {
            finished.clear();
        } else if !finished.is_empty() {
            state.finished.append(finished);
            self.wake(state);
        }
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let asleep = !mem::replace(&mut state.awake, true);
        drop(state);
        if asleep {
            self.wake.notify_one();
        }
    }

    /// Waits until a push may have room, or none is taken any more. Enabled before it is awaited,
    /// so that room made between the push that failed and the wait is not missed.
    pub(super) async fn room(&self, lifetime: Lifetime) {
        let notified = self.room.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        {
            let mut state = self.lock();
            if !state.takes(lifetime) || !state.is_full() {
                return;
            }
            state.crowded = true;
        }
        notified.await;
    }

    /// Whether somebody waits for the gateway to confirm what it was sent: its word must be read.
    pub(super) fn starves(&self) -> bool {
        self.lock().starves()
    }

    /// Waits until there is something to write, or somebody [starves](Self::starves). For the writer
    /// alone.
    pub(super) async fn written_to(&self) {
        self.wake.notified().await;
    }

    /// From now until the next [`take`](Self::take) the writer need not be told.
    pub(super) fn stay_awake(&self) {
        self.lock().awake = true;
    }

    /// Swaps what is to be written into `empty`, or says that there is nothing; whoever adds
    /// something then wakes the writer.
    pub(super) fn take(&self, empty: &mut BytesMut) -> Option<Taken> {
        give_back(empty);
        empty.clear();
        let mut state = self.lock();
        state.in_write = 0;
        let State { finished, buffer, .. } = &mut *state;
        finished.drain(|done| {
            native::encode(&done, buffer).expect("three numbers fit a frame");
        });
        if state.buffer.is_empty() {
            state.awake = false;
        } else {
            mem::swap(&mut state.buffer, empty);
            state.in_write = empty.len();
        }
        let keeps = state.kept.last().is_some();
        let taken = (!empty.is_empty()).then_some(Taken { commands: state.commands, keeps });
        self.make_room(state);
        taken
    }

    /// The gateway has taken every command up to this one.
    pub(super) fn confirm(&self, through: u64) {
        let mut state = self.lock();
        state.kept.confirm(through);
        self.make_room(state);
    }

    /// Tells those who wait for room that there is some.
    fn make_room(&self, mut state: MutexGuard<'_, State>) {
        let crowded = !state.is_full() && mem::take(&mut state.crowded);
        drop(state);
        if crowded {
            self.room.notify_waiters();
        }
    }

    /// The link is gone. What is kept waits for the next.
    pub(super) fn park(&self) {
        let mut state = self.lock();
        if state.way == Way::Open {
            state.way = Way::Parked;
            state.empty();
            state.kept.detach();
            self.metrics.parked.inc_by(state.kept.bytes() as i64);
        }
        self.tell_all(state);
    }

    /// There is a new link, to a gateway that had taken every command up to `taken` before. What it
    /// has not taken is queued, before anything newer. Says the how many-th link of this line it is;
    /// `None` if none was waited for.
    pub(super) fn resume(&self, taken: u64) -> Option<u64> {
        let mut state = self.lock();
        if state.way != Way::Parked {
            return None;
        }
        self.metrics.parked.dec_by(state.kept.bytes() as i64);
        state.kept.confirm(taken);
        state.last = taken.max(state.last);
        state.way = Way::Open;
        state.links += 1;
        // The new writer looks here first.
        state.awake = true;
        let State { kept, buffer, commands, .. } = &mut *state;
        *commands = 0;
        for command in kept.iter() {
            native::encode(command, buffer).expect("it was encoded before");
            *commands += 1;
        }
        let link = state.links;
        self.make_room(state);
        Some(link)
    }

    /// The events that are not done are left to other workers, which send anew what these sent. Does
    /// nothing while there is a link.
    pub(super) fn drop_scoped(&self) {
        let mut state = self.lock();
        if state.way == Way::Parked {
            let dropped = state.kept.drop_scoped();
            self.metrics.parked.dec_by(dropped as i64);
        }
        self.make_room(state);
    }

    /// No further link is made. Commands are numbered still, and then forgotten. Says whether there is
    /// no link now either; if there is one, nothing has changed.
    pub(super) fn forsake(&self) -> bool {
        let state = self.lock();
        let parked = state.way == Way::Parked;
        if parked {
            self.end(state, Way::Forsaken);
        }
        parked
    }

    /// Refuses everything from here on.
    pub(super) fn close(&self) {
        let state = self.lock();
        if state.way != Way::Closed {
            self.end(state, Way::Closed);
        }
    }

    fn end(&self, mut state: MutexGuard<'_, State>, way: Way) {
        if state.way == Way::Parked {
            self.metrics.parked.dec_by(state.kept.bytes() as i64);
        }
        state.way = way;
        state.empty();
        let given_up = state.kept.clear();
        self.metrics.given_up.inc_by(given_up);
        self.tell_all(state);
    }

    fn tell_all(&self, mut state: MutexGuard<'_, State>) {
        state.crowded = false;
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

    /// The last command that is kept until it is taken.
    pub(super) fn last_kept(&self) -> Option<u64> {
        self.lock().kept.last()
    }
}

/// Gives back a large buffer that is empty.
fn give_back(buffer: &mut BytesMut) {
    if KEEP < buffer.capacity() {
        *buffer = BytesMut::new();
    }
}

/// What was taken to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// How many commands were queued for this link so far, these included.
    pub(super) commands: u64,
    /// Whether some are kept until they are confirmed.
    pub(super) keeps: bool,
}

impl State {
    fn takes(&self, lifetime: Lifetime) -> bool {
        match lifetime {
            Lifetime::Link(link) => self.way == Way::Open && self.links == link,
            Lifetime::Present => self.way == Way::Open,
            Lifetime::Line | Lifetime::Event => self.way != Way::Closed,
        }
    }

    fn unwritten(&self) -> usize {
        self.buffer.len() + self.in_write
    }

    fn starves(&self) -> bool {
        self.way == Way::Open && self.crowded && self.unwritten() < OUTGOING_LIMIT
    }

    fn is_full(&self) -> bool {
        OUTGOING_LIMIT <= self.unwritten() + self.kept.bytes()
    }

    /// Forgets what only the present link was to be told.
    fn empty(&mut self) {
        self.in_write = 0;
        self.buffer = BytesMut::new();
        self.finished.clear();
    }
}

#[cfg(test)]
mod tests;
