//! Lets one handler run isolated: running handlers are waited for, and no other starts.
//!
//! A gateway requests isolated delivery of a suspected poison message, one during whose handling
//! worker processes have ended: only without concurrent handlers can the cause be determined. This
//! is rare, so the cost for all other events is kept low: one lock per batch of events handled on
//! the task that reads them, and one per event that moves to a lane.

use std::{pin::pin, sync::Arc, time::Duration};

use runtime::sync::{Mutex, MutexGuard};
use tokio::{
    sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, Notify},
    time::timeout,
};

/// How long to wait for other handlers to finish. Handlers that run longer are no more likely to
/// end the process now than at any other time.
const OTHERS: Duration = Duration::from_secs(5);

/// How long a handler may run isolated before others start again.
pub(super) const ALONE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    /// Notified when the gate opens, and when the last handler ends while it is closed.
    changed: Notify,
    /// One at a time.
    alone: AsyncMutex<()>,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    closed: bool,
}

/// Permission for handlers to start and run.
#[derive(Debug)]
pub(super) struct Permit(Arc<Gate>);

/// Keeps the gate closed to other handlers until dropped.
#[derive(Debug)]
pub(super) struct Alone<'a> {
    gate: &'a Gate,
    _one: AsyncMutexGuard<'a, ()>,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Lets handlers start, unless one is to run isolated.
    pub(super) fn try_enter(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        state.running += 1;
        Some(Permit(Arc::clone(self)))
    }

    /// The same for a handler that has already started under another permission.
    pub(super) fn stay(self: &Arc<Self>) -> Permit {
        self.lock().running += 1;
        Permit(Arc::clone(self))
    }

    /// Waits until handlers may start.
    pub(super) async fn enter(self: &Arc<Self>) -> Permit {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Enabled before the check, so that no change is missed in between.
            changed.as_mut().enable();
            if let Some(permit) = self.try_enter() {
                return permit;
            }
            changed.await;
        }
    }

    /// Closes the gate and waits until running handlers have ended, at most for [`OTHERS`].
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
        let _ = timeout(OTHERS, others).await;
        alone
    }
}

impl Drop for Permit {
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
    async fn isolated_handler_waits_for_running_handlers_and_blocks_new_ones() {
        let gate = Arc::new(Gate::default());
        let (first, second) = (gate.try_enter().unwrap(), gate.stay());
        let other = Arc::clone(&gate);
        let task = tokio::spawn(async move {
            let alone = other.be_alone().await;
            yield_now().await;
            drop(alone);
        });
        yield_now().await;
        assert!(gate.try_enter().is_none(), "the isolated handler already waits");
        drop(first);
        yield_now().await;
        assert!(!task.is_finished());
        drop(second);
        let permit = gate.enter().await;
        assert!(task.await.is_ok());
        drop(permit);
    }

    #[tokio::test(start_paused = true)]
    async fn isolated_handler_wait_is_bounded() {
        let gate = Arc::new(Gate::default());
        let (_endless, start) = (gate.try_enter(), Instant::now());
        let alone = gate.be_alone().await;
        assert_eq!(start.elapsed(), OTHERS);
        assert!(gate.try_enter().is_none());
        drop(alone);
        assert!(gate.try_enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn isolated_handlers_run_one_at_a_time() {
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
