//! A queue between threads, with one wake-up per batch. A crate of its own, so that the models of
//! its thread interleavings depend on it and on nothing else.

#[cfg(not(loom))]
use std::sync::Mutex;
use std::{
    mem,
    sync::PoisonError,
    task::{Context, Poll, Waker},
};

#[cfg(loom)]
use loom::sync::Mutex;

/// A FIFO queue of work for one thread.
///
/// It has no bound of its own, since every sender limits its outstanding items: a shard by the
/// event window of each worker, the hub by how far it reads ahead of a shard.
#[derive(Debug)]
pub struct Inbox<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    items: Vec<T>,
    waker: Option<Waker>,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Inbox<T> {
    /// An empty queue.
    pub fn new() -> Self {
        Self { state: Mutex::new(State { items: Vec::new(), waker: None }) }
    }

    /// Adds one item.
    pub fn push(&self, item: T) {
        let waker = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.items.push(item);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Adds a batch. `batch` is left empty, with capacity for reuse.
    pub fn push_all(&self, batch: &mut Vec<T>) {
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

    /// Moves all items into `items`, which must be empty. If there are none, registers the waker.
    pub fn poll_take(&self, cx: &mut Context<'_>, items: &mut Vec<T>) -> Poll<()> {
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
