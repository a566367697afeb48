//! What is pushed through a cluster that is on behalf of no event in particular.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use super::Link;

/// The last command that was pushed to each link.
pub(super) type Pushed = Vec<(Arc<Link>, u64)>;

/// Commands that no event claims and that were not taken yet, by link.
///
/// A handler may keep a cluster and push through that. Nobody can tell then which event it was for,
/// so every event whose handler ends from there on waits for it.
#[derive(Debug, Default)]
pub(crate) struct Unclaimed {
    /// Asked for each event, and nearly always not so.
    any: AtomicBool,
    /// The last command of each link.
    last: Mutex<Pushed>,
}

impl Unclaimed {
    /// Whether there may be any.
    pub(super) fn is_any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Remembers a command. Whoever sent it sees this in every event that it ends after.
    pub(crate) fn record(&self, link: &Arc<Link>, command: u64) {
        let mut last = self.lock();
        add(&mut last, link, command);
        self.any.store(true, Ordering::Release);
    }

    /// Adds those that an event which came on `home` waits for. What goes out on `home` itself is
    /// before its "done" anyway.
    pub(super) fn add_to(&self, pushed: &mut Pushed, home: &Arc<Link>) {
        if !self.is_any() {
            return;
        }
        let mut last = self.lock();
        last.retain(|(link, command)| !link.has_taken(*command));
        self.any.store(!last.is_empty(), Ordering::Release);
        for (link, command) in last.iter().filter(|(link, _)| !Arc::ptr_eq(link, home)) {
            add(pushed, link, *command);
        }
    }

    /// Forgets a link that is gone.
    pub(super) fn forget(&self, gone: &Link) {
        if self.is_any() {
            self.lock().retain(|(link, _)| !std::ptr::eq(&raw const **link, gone));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pushed> {
        // Every change is one step, so a panic elsewhere leaves nothing half done.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Commands are taken in order, so only the last of each link matters.
pub(super) fn add(pushed: &mut Pushed, link: &Arc<Link>, command: u64) {
    match pushed.iter_mut().find(|(known, _)| Arc::ptr_eq(known, link)) {
        Some((_, last)) => *last = command.max(*last),
        None => pushed.push((Arc::clone(link), command)),
    }
}
