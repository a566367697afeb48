//! How far a gateway has taken what it was sent, and who waits for that.

use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{self, AtomicUsize},
    },
};

use tokio::sync::oneshot;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Link;

/// An event whose handler has finished, held back until `left` lines have taken what it pushed.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) left: AtomicUsize,
    pub(super) home: Arc<Link>,
    pub(super) shard: u16,
    pub(super) seq: u64,
    pub(super) _token: TaskTrackerToken,
}

impl Held {
    pub(super) fn release_one(&self) {
        if self.left.fetch_sub(1, atomic::Ordering::AcqRel) == 1 {
            self.home.finish_now(self.shard, self.seq);
        }
    }
}

/// How far a gateway has taken a line's commands, and who waits for that.
#[derive(Debug, Default)]
pub(super) struct Taken {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    through: u64,
    /// Nobody will know any more.
    forsaken: bool,
    waiting: BinaryHeap<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    command: u64,
    who: Who,
}

/// Who waits. Those who are dropped instead of released never learn of it.
#[derive(Debug)]
pub(super) enum Who {
    /// An event, which is not done with before.
    Event(Arc<Held>),
    /// A caller.
    Caller(oneshot::Sender<()>),
}

impl Who {
    fn release(self) {
        match self {
            Self::Event(held) => held.release_one(),
            Self::Caller(caller) => {
                // It may have given up waiting.
                let _ = caller.send(());
            }
        }
    }
}

impl Taken {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases `who` once `command` was taken.
    pub(super) fn wait(&self, command: u64, who: Who) {
        let mut state = self.lock();
        let taken = command <= state.through;
        if !taken && !state.forsaken {
            state.waiting.push(Waiting { command, who });
            return;
        }
        drop(state);
        if taken {
            who.release();
        }
    }

    /// Whether this command was taken.
    pub(super) fn has(&self, command: u64) -> bool {
        command <= self.lock().through
    }

    /// Every command up to this one was taken.
    pub(super) fn advance(&self, through: u64) {
        let mut free = Vec::new();
        let mut state = self.lock();
        state.through = through.max(state.through);
        while state.waiting.peek().is_some_and(|next| next.command <= state.through) {
            free.extend(state.waiting.pop());
        }
        drop(state);
        for waiting in free {
            waiting.who.release();
        }
    }

    /// Events that wait are left to other workers: they are dropped.
    pub(super) fn drop_events(&self) {
        let mut state = self.lock();
        let waiting = mem::take(&mut state.waiting).into_iter();
        let (events, others): (Vec<_>, Vec<_>) =
            waiting.partition(|waiting| matches!(waiting.who, Who::Event(_)));
        state.waiting = others.into();
        drop(state);
        drop(events);
    }

    /// Nobody will know any more what is taken: whoever waits is dropped.
    pub(super) fn forsake(&self) {
        let mut state = self.lock();
        state.forsaken = true;
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }
}

impl Ord for Waiting {
    /// The smallest command is the greatest, for that is what the heap gives first.
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

    fn wait(taken: &Taken, command: u64) -> oneshot::Receiver<()> {
        let (caller, called) = oneshot::channel();
        taken.wait(command, Who::Caller(caller));
        called
    }

    #[test]
    fn each_is_released_when_its_command_is_taken_and_not_before() {
        let taken = Taken::default();
        let (mut third, mut first) = (wait(&taken, 3), wait(&taken, 1));
        taken.advance(2);
        first.try_recv().unwrap();
        assert_eq!(third.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        assert!(taken.has(2) && !taken.has(3));
        taken.advance(u64::MAX);
        third.try_recv().unwrap();
    }

    #[test]
    fn nothing_goes_back() {
        let taken = Taken::default();
        taken.advance(5);
        taken.advance(2);
        wait(&taken, 5).try_recv().unwrap();
    }

    #[test]
    fn whoever_waits_for_a_gateway_that_is_forsaken_is_dropped() {
        let taken = Taken::default();
        taken.advance(1);
        let mut before = wait(&taken, 2);
        taken.forsake();
        let closed = Err(oneshot::error::TryRecvError::Closed);
        assert_eq!(before.try_recv(), closed);
        assert_eq!(wait(&taken, 2).try_recv(), closed);
        wait(&taken, 1).try_recv().unwrap();
    }
}
