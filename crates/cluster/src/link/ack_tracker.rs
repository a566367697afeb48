//! Tracks which commands a gateway has acknowledged, and what waits for that.

use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    mem,
    sync::{
        Arc,
        atomic::{self, AtomicUsize},
    },
};

use runtime::sync::{Mutex, MutexGuard};
use tokio::sync::oneshot;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Link;

/// An event whose handler has finished, held back until `left` sessions have acknowledged its
/// commands.
#[derive(Debug)]
pub(super) struct PendingAck {
    pub(super) left: AtomicUsize,
    pub(super) link: Arc<Link>,
    pub(super) shard: u16,
    pub(super) seq: u64,
    pub(super) _token: TaskTrackerToken,
}

impl PendingAck {
    pub(super) fn release_one(&self) {
        if self.left.fetch_sub(1, atomic::Ordering::AcqRel) == 1 {
            self.link.finish_now(self.shard, self.seq);
        }
    }
}

/// The acknowledged commands of a session, and what waits for further ones.
#[derive(Debug, Default)]
pub(super) struct AckTracker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    through: u64,
    /// No further acknowledgement will arrive.
    abandoned: bool,
    waiting: BinaryHeap<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    command: u64,
    waiter: Waiter,
}

/// A waiter that is dropped instead of released is not notified.
#[derive(Debug)]
pub(super) enum Waiter {
    /// An event, whose acknowledgement is held back.
    Event(Arc<PendingAck>),
    /// A caller.
    Caller(oneshot::Sender<()>),
}

impl Waiter {
    fn release(self) {
        match self {
            Self::Event(pending) => pending.release_one(),
            Self::Caller(caller) => {
                // The caller may have stopped waiting.
                let _ = caller.send(());
            }
        }
    }
}

impl AckTracker {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Releases `waiter` once `command` was acknowledged.
    pub(super) fn wait(&self, command: u64, waiter: Waiter) {
        let mut state = self.lock();
        let taken = command <= state.through;
        if !taken && !state.abandoned {
            state.waiting.push(Waiting { command, waiter });
            return;
        }
        drop(state);
        if taken {
            waiter.release();
        }
    }

    /// Whether this command was acknowledged.
    pub(super) fn has(&self, command: u64) -> bool {
        command <= self.lock().through
    }

    /// Every command up to this one was acknowledged.
    pub(super) fn advance(&self, through: u64) {
        let mut free = Vec::new();
        let mut state = self.lock();
        state.through = through.max(state.through);
        while state.waiting.peek().is_some_and(|next| next.command <= state.through) {
            free.extend(state.waiting.pop());
        }
        drop(state);
        for waiting in free {
            waiting.waiter.release();
        }
    }

    /// Drops waiting events, which are left to other workers.
    pub(super) fn drop_events(&self) {
        let mut state = self.lock();
        let waiting = mem::take(&mut state.waiting).into_iter();
        let (events, others): (Vec<_>, Vec<_>) =
            waiting.partition(|waiting| matches!(waiting.waiter, Waiter::Event(_)));
        state.waiting = others.into();
        drop(state);
        drop(events);
    }

    /// No further acknowledgement will arrive: drops all waiters.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }
}

impl Ord for Waiting {
    /// Reversed, since the heap pops the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.command.cmp(&self.command)
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.command == other.command
    }
}

impl Eq for Waiting {}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(taken: &AckTracker, command: u64) -> oneshot::Receiver<()> {
        let (caller, called) = oneshot::channel();
        taken.wait(command, Waiter::Caller(caller));
        called
    }

    #[test]
    fn waiter_is_released_when_its_command_is_acknowledged_and_not_before() {
        let taken = AckTracker::default();
        let (mut third, mut first) = (wait(&taken, 3), wait(&taken, 1));
        taken.advance(2);
        first.try_recv().unwrap();
        assert_eq!(third.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        assert!(taken.has(2) && !taken.has(3));
        taken.advance(u64::MAX);
        third.try_recv().unwrap();
    }

    #[test]
    fn acknowledged_position_never_decreases() {
        let taken = AckTracker::default();
        taken.advance(5);
        taken.advance(2);
        wait(&taken, 5).try_recv().unwrap();
    }

    #[test]
    fn waiters_of_an_abandoned_gateway_are_dropped() {
        let taken = AckTracker::default();
        taken.advance(1);
        let mut before = wait(&taken, 2);
        taken.abandon();
        let closed = Err(oneshot::error::TryRecvError::Closed);
        assert_eq!(before.try_recv(), closed);
        assert_eq!(wait(&taken, 2).try_recv(), closed);
        wait(&taken, 1).try_recv().unwrap();
    }
}
