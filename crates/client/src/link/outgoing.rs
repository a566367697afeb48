//! What waits to be written to a gateway: bounded in bytes, written in one piece.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::BytesMut;
use protocol::{
    codec::native::{self, EncodeError},
    link::ToGateway,
};
use tokio::sync::Notify;

use super::finished::Finished;

/// While this many bytes wait to be written, whoever wants to send waits too. One message may go
/// beyond it, so that the largest message can be sent at all.
pub const OUTGOING_LIMIT: usize = 16 * 1024 * 1024;

/// Buffers above this are given back once they are empty.
const KEEP: usize = 1024 * 1024;

/// The queue between those who send and the link's own task, which writes.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    state: Mutex<State>,
    /// There is something to write.
    wake: Notify,
    /// There is room again.
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    buffer: BytesMut,
    /// Bytes that the writer has taken and not yet written.
    in_write: usize,
    /// How many commands were sent.
    commands: u64,
    finished: Finished,
    /// The writer will look here without being told to.
    awake: bool,
    /// Somebody waits for room.
    crowded: bool,
    closed: bool,
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
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while encoding leaves at most a frame cut short, and the gateway refuses that.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message if there is room. A command gets its number here.
    pub(super) fn push(&self, message: &mut ToGateway) -> Result<Push, EncodeError> {
        let mut state = self.lock();
        if state.closed {
            return Ok(Push::Closed);
        }
        if OUTGOING_LIMIT <= state.waiting() {
            state.crowded = true;
            return Ok(Push::Full);
        }
        let next = state.commands + 1;
        let is_command = match message {
            ToGateway::Command { seq, .. } => {
                *seq = next;
                true
            }
            _ => false,
        };
        native::encode(message, &mut state.buffer)?;
        state.commands += u64::from(is_command);
        let number = state.commands;
        self.wake(state);
        Ok(Push::Queued(number))
    }

    /// Says that events are done with, behind everything queued so far.
    pub(super) fn finish(&self, finished: &mut Finished) {
        let mut state = self.lock();
        if state.closed {
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

    /// Waits until a push may have room. Enabled before it is awaited, so that room made between
    /// the push that failed and the wait is not missed.
    pub(super) async fn room(&self) {
        let notified = self.room.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        {
            let mut state = self.lock();
            if state.closed || state.waiting() < OUTGOING_LIMIT {
                return;
            }
            state.crowded = true;
        }
        notified.await;
    }

    /// Waits until there is something to write. For the writer alone.
    pub(super) async fn written_to(&self) {
        self.wake.notified().await;
    }

    /// From now until the next [`take`](Self::take) the writer need not be told.
    pub(super) fn stay_awake(&self) {
        self.lock().awake = true;
    }

    /// Swaps what is to be written into `empty`, or says that there is nothing; whoever adds
    /// something then wakes the writer. `commands` are those sent so far.
    pub(super) fn take(&self, empty: &mut BytesMut) -> Option<Taken> {
        if KEEP < empty.capacity() {
            *empty = BytesMut::new();
        }
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
        let taken = (!empty.is_empty()).then_some(Taken { commands: state.commands });
        let crowded = state.waiting() < OUTGOING_LIMIT && mem::take(&mut state.crowded);
        drop(state);
        if crowded {
            self.room.notify_waiters();
        }
        taken
    }

    /// Refuses everything from here on.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.in_write = 0;
        state.buffer = BytesMut::new();
        state.finished.clear();
        drop(state);
        self.room.notify_waiters();
        self.wake.notify_one();
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting()
    }
}

/// What was taken to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// How many commands were sent on this link so far, these included.
    pub(super) commands: u64,
}

impl State {
    fn waiting(&self) -> usize {
        self.buffer.len() + self.in_write
    }
}
