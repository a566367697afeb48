//! What is pushed through a cluster that is on behalf of no event in particular.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use super::Line;

/// The last command that was pushed to each gateway.
pub(super) type Pushed = Vec<(Arc<Line>, u64)>;

/// Commands that no event claims and that were not taken yet, by gateway.
///
/// A handler may keep a cluster and push through that. Nobody can tell then which event it was for,
/// so every event whose handler ends from there on waits for it.
#[derive(Debug, Default)]
pub(crate) struct Unclaimed {
    /// Asked for each event, and nearly always not so.
    any: AtomicBool,
    /// The last command for each gateway.
    last: Mutex<Pushed>,
}

impl Unclaimed {
    /// Whether there may be any.
    pub(super) fn is_any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Remembers a command. Whoever sent it sees this in every event that it ends after.
    pub(crate) fn record(&self, line: &Arc<Line>, command: u64) {
        let mut last = self.lock();
        add(&mut last, line, command);
        self.any.store(true, Ordering::Release);
    }

    /// Adds those that an event of the gateway `home` waits for. What goes out to that gateway itself
    /// is before its "done" anyway.
    pub(super) fn add_to(&self, pushed: &mut Pushed, home: &Arc<Line>) {
        if !self.is_any() {
            return;
        }
        let mut last = self.lock();
        last.retain(|(line, command)| !line.taken.has(*command));
        self.any.store(!last.is_empty(), Ordering::Release);
        for (line, command) in last.iter().filter(|(line, _)| !Arc::ptr_eq(line, home)) {
            add(pushed, line, *command);
        }
    }

    /// Forgets a gateway that is gone.
    pub(super) fn forget(&self, gone: &Arc<Line>) {
        if self.is_any() {
            self.lock().retain(|(line, _)| !Arc::ptr_eq(line, gone));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pushed> {
        // Every change is one step, so a panic elsewhere leaves nothing half done.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Commands are taken in order, so only the last of each gateway matters.
pub(super) fn add(pushed: &mut Pushed, line: &Arc<Line>, command: u64) {
    match pushed.iter_mut().find(|(known, _)| Arc::ptr_eq(known, line)) {
        Some((_, last)) => *last = command.max(*last),
        None => pushed.push((Arc::clone(line), command)),
    }
}
