//! A mutex whose lock cannot fail.

use std::sync::{self, PoisonError};

pub use std::sync::MutexGuard;

/// A [`std::sync::Mutex`] that ignores poisoning.
///
/// Each critical section leaves a valid state behind at every point at which it could panic, and a
/// panic outside of a handler ends the process anyway (see [`supervise`](crate::supervise)). No lock
/// is held across an await.
#[derive(Debug, Default)]
pub struct Mutex<T: ?Sized>(sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A mutex with this value.
    pub const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Blocks the thread until it has the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
