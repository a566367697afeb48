//! Commands sent through a cluster handle without a handler scope.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use runtime::sync::{Mutex, MutexGuard};

use super::GatewaySession;

/// The last command for each gateway.
pub(super) type Pushed = Vec<(Arc<GatewaySession>, u64)>;

/// Unacknowledged commands outside any scope, by gateway.
///
/// A handler may keep a cluster handle and send through that. Such commands cannot be attributed to
/// an event, so every event whose handler ends from there on waits for them.
#[derive(Debug, Default)]
pub(crate) struct UnscopedCommands {
    /// Read for each event, and nearly always `false`.
    any: AtomicBool,
    /// The last command for each gateway.
    last: Mutex<Pushed>,
}

impl UnscopedCommands {
    /// Whether there may be any.
    pub(super) fn is_any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Records a command. Its sender sees it in every event that ends afterwards.
    pub(crate) fn record(&self, session: &Arc<GatewaySession>, command: u64) {
        let mut last = self.lock();
        add(&mut last, session, command);
        self.any.store(true, Ordering::Release);
    }

    /// Adds the commands that an event of the gateway `origin` waits for. Commands to that gateway
    /// itself precede the event's acknowledgement anyway.
    pub(super) fn add_to(&self, pushed: &mut Pushed, origin: &Arc<GatewaySession>) {
        if !self.is_any() {
            return;
        }
        let mut last = self.lock();
        last.retain(|(session, command)| !session.acks.has(*command));
        self.any.store(!last.is_empty(), Ordering::Release);
        for (session, command) in last.iter().filter(|(session, _)| !Arc::ptr_eq(session, origin)) {
            add(pushed, session, *command);
        }
    }

    /// Removes a gateway that was given up.
    pub(super) fn forget(&self, closed: &Arc<GatewaySession>) {
        if self.is_any() {
            self.lock().retain(|(session, _)| !Arc::ptr_eq(session, closed));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pushed> {
        self.last.lock()
    }
}

/// Commands are acknowledged in order, so only the last one of each gateway matters.
pub(super) fn add(pushed: &mut Pushed, session: &Arc<GatewaySession>, command: u64) {
    match pushed.iter_mut().find(|(known, _)| Arc::ptr_eq(known, session)) {
        Some((_, last)) => *last = command.max(*last),
        None => pushed.push((Arc::clone(session), command)),
    }
}
