//! A queue between threads, with one wake-up per batch.
//!
//! It is generic over its lock, so that the models in `loom/` explore the thread interleavings of
//! the same code.

use std::{
    marker::PhantomData,
    mem,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

/// A FIFO queue of work for one thread.
///
/// It has no bound of its own, since every sender limits its outstanding items: a shard by the
/// event window of each worker, the hub by how far it reads ahead of a shard.
#[derive(Debug)]
pub struct Inbox<T, L = Mutex<State<T>>> {
    state: L,
    items: PhantomData<fn() -> T>,
}

/// The items, and the task that waits for some.
#[derive(Debug)]
pub struct State<T> {
    items: Vec<T>,
    waker: Option<Waker>,
}

/// A lock around a value.
pub trait Lock<S> {
    /// Wraps `state`.
    fn new(state: S) -> Self;

    /// Calls `f` with the state locked.
    fn with<R>(&self, f: impl FnOnce(&mut S) -> R) -> R;
}

impl<S> Lock<S> for Mutex<S> {
    fn new(state: S) -> Self {
        Self::new(state)
    }

    fn with<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        // Nothing panics while the lock is held.
        f(&mut self.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Inbox<T> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<T, L: Lock<State<T>>> Default for Inbox<T, L> {
    fn default() -> Self {
        let state = L::new(State { items: Vec::new(), waker: None });
        Self { state, items: PhantomData }
    }
}

impl<T, L: Lock<State<T>>> Inbox<T, L> {
    /// Adds one item.
    pub fn push(&self, item: T) {
        let waker = self.state.with(|state| {
            state.items.push(item);
            state.waker.take()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Adds a batch. `batch` is left empty, with capacity for reuse.
    pub fn push_all(&self, batch: &mut Vec<T>) {
        if batch.is_empty() {
            return;
        }
        let waker = self.state.with(|state| {
            match state.items.is_empty() {
                true => mem::swap(&mut state.items, batch),
                false => state.items.append(batch),
            }
            state.waker.take()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Moves all items into `items`, which must be empty. If there are none, registers the waker.
    pub fn poll_take(&self, cx: &mut Context<'_>, items: &mut Vec<T>) -> Poll<()> {
        self.state.with(|state| {
            if state.items.is_empty() {
                match &mut state.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                return Poll::Pending;
            }
            mem::swap(&mut state.items, items);
            Poll::Ready(())
        })
    }
}
