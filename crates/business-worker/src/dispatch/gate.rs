//! Lets one handler run alone: others do not start meanwhile, and those that run are waited for.
//!
//! A gateway asks for that when worker processes have ended while they handled an event: whether it is the
//! cause can only be told if nothing else is going on. That is rare, so what it costs all other events is
//! kept small: a lock for a batch of events that are handled where they are read, and for each that
//! moves to a lane.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, Notify},
    time::timeout,
};

/// How long to wait until others have finished. Those that run for longer have run well so far, so that
/// they are no more likely to end the process just then than at any other time.
const OTHERS: Duration = Duration::from_secs(5);

/// How long a handler may run alone before others start again.
pub(super) const ALONE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    /// Called when the gate opens, and when a handler ends while it is closed.
    changed: Notify,
    /// One at a time.
    alone: AsyncMutex<()>,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    closed: bool,
}

/// Handlers run, or may start.
#[derive(Debug)]
pub(super) struct Place(Arc<Gate>);

/// The gate is closed to others until this is dropped.
#[derive(Debug)]
pub(super) struct Alone<'a> {
    gate: &'a Gate,
    _one: AsyncMutexGuard<'a, ()>,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets handlers start, unless one is to run alone.
    pub(super) fn try_enter(self: &Arc<Self>) -> Option<Place> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        state.running += 1;
        Some(Place(Arc::clone(self)))
    }

    /// The same for a handler that has started already, in the place of others.
    pub(super) fn stay(self: &Arc<Self>) -> Place {
        self.lock().running += 1;
        Place(Arc::clone(self))
    }

    /// Waits until handlers may start.
    pub(super) async fn enter(self: &Arc<Self>) -> Place {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before it is looked at, so that no change is missed in between.
            changed.as_mut().enable();
            if let Some(place) = self.try_enter() {
                return place;
            }
            changed.await;
        }
    }

    /// Lets no other handler start, and waits until those that run have ended; but not for ever.
    pub(super) async fn be_alone(&self) -> Alone<'_> {
        let one = self.alone.lock().await;
        self.lock().closed = true;
        let alone = Alone { gate: self, _one: one };
        let others = async {
            loop {
                let mut changed = pin!(self.changed.notified());
                changed.as_mut().enable();
                if self.lock().running == 0 {
                    return;
                }
                changed.await;
            }
        };
        // See `OTHERS`.
        let _ = timeout(OTHERS, others).await;
        alone
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.running -= 1;
        let is_awaited = state.closed && state.running == 0;
        drop(state);
        if is_awaited {
            self.0.changed.notify_waiters();
        }
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.gate.lock().closed = false;
        self.gate.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use tokio::{task::yield_now, time::Instant};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn handler_alone_waits_for_those_that_run_and_keeps_others_from_starting() {
        let gate = Arc::new(Gate::default());
        let (first, second) = (gate.try_enter().unwrap(), gate.stay());
        let other = Arc::clone(&gate);
        let task = tokio::spawn(async move {
            let alone = other.be_alone().await;
            yield_now().await;
            drop(alone);
        });
        yield_now().await;
        assert!(gate.try_enter().is_none(), "it waits already");
        drop(first);
        yield_now().await;
        assert!(!task.is_finished());
        drop(second);
        let place = gate.enter().await;
        assert!(task.await.is_ok());
        drop(place);
    }

    #[tokio::test(start_paused = true)]
    async fn handler_alone_does_not_wait_for_ever() {
        let gate = Arc::new(Gate::default());
        let (_endless, start) = (gate.try_enter(), Instant::now());
        let alone = gate.be_alone().await;
        assert_eq!(start.elapsed(), OTHERS);
        assert!(gate.try_enter().is_none());
        drop(alone);
        assert!(gate.try_enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn handlers_run_alone_one_after_the_other() {
        let gate = Arc::new(Gate::default());
        let alone = gate.be_alone().await;
        let other = Arc::clone(&gate);
        let task = tokio::spawn(async move { drop(other.be_alone().await) });
        yield_now().await;
        assert!(!task.is_finished());
        drop(alone);
        task.await.unwrap();
        assert!(gate.try_enter().is_some());
    }
}
