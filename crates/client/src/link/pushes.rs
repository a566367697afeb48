//! An event is done with only when what its handler pushed was taken by the gateways.

use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{self, AtomicUsize},
    },
};

use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{
    Link,
    unclaimed::{self, Pushed},
};

/// What a handler pushed to other gateways than its event's own, whose link keeps the order by
/// itself: there, "done" simply follows what was pushed.
#[derive(Debug)]
pub struct Pushes {
    home: Arc<Link>,
    /// `None` once the event is done with.
    others: Mutex<Option<Pushed>>,
}

impl Pushes {
    /// Those of a handler whose event came on `home`.
    pub fn new(home: Arc<Link>) -> Self {
        Self { home, others: Mutex::new(Some(Vec::new())) }
    }

    /// Notes a command. Says whether the event is still to be done with; if not, it is not noted.
    pub(crate) fn record(&self, link: &Arc<Link>, command: u64) -> bool {
        let mut others = self.lock();
        let Some(others) = &mut *others else { return false };
        if !Arc::ptr_eq(link, &self.home) {
            unclaimed::add(others, link, command);
        }
        true
    }

    pub(super) fn take(&self) -> Pushed {
        self.lock().take().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pushed>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event whose handler has finished, held back until `left` links have taken what it pushed.
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

/// How far a gateway has taken a link's commands, and who waits for that.
#[derive(Debug, Default)]
pub(super) struct Taken {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    through: u64,
    waiting: BinaryHeap<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    command: u64,
    held: Arc<Held>,
}

impl Taken {
    /// Releases `held` once `command` was taken.
    pub(super) fn wait(&self, command: u64, held: Arc<Held>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.through < command {
            state.waiting.push(Waiting { command, held });
            return;
        }
        drop(state);
        held.release_one();
    }

    /// Whether this command was taken.
    pub(super) fn has(&self, command: u64) -> bool {
        command <= self.state.lock().unwrap_or_else(PoisonError::into_inner).through
    }

    /// Every command up to this one was taken. A link that is gone has taken all there ever were:
    /// what its gateway lost with it, it will not take any more.
    pub(super) fn advance(&self, through: u64) {
        let mut free = Vec::new();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.through = through.max(state.through);
        while state.waiting.peek().is_some_and(|next| next.command <= state.through) {
            free.extend(state.waiting.pop());
        }
        drop(state);
        for waiting in free {
            waiting.held.release_one();
        }
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
