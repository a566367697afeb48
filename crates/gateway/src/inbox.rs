//! How threads hand each other work: in batches, one wake-up for each.

#[cfg(not(loom))]
use std::sync::Mutex;
use std::{
    mem,
    sync::PoisonError,
    task::{Context, Poll, Waker},
};

#[cfg(loom)]
use loom::sync::Mutex;

/// Work for one thread, in the order in which it was handed over.
///
/// Only ever full of what its senders may have outstanding, which each of them bounds: a shard by
/// its window of events for each worker, the hub by how far it reads ahead of a shard.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    items: Vec<T>,
    waker: Option<Waker>,
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State { items: Vec::new(), waker: None }) }
    }

    /// Hands over one item.
    pub(crate) fn push(&self, item: T) {
        let waker = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.items.push(item);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Hands over a batch and leaves `batch` empty, with its memory.
    pub(crate) fn push_all(&self, batch: &mut Vec<T>) {
        if batch.is_empty() {
            return;
        }
        let waker = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match state.items.is_empty() {
                true => mem::swap(&mut state.items, batch),
                false => state.items.append(batch),
            }
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes everything there is into `items`, which must be empty; the waker is called when there
    /// is more.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, items: &mut Vec<T>) -> Poll<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.items.is_empty() {
            match &mut state.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        mem::swap(&mut state.items, items);
        Poll::Ready(())
    }
}
