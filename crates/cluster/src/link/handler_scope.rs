//! An event is acknowledged only when the commands of its handler were acknowledged by their
//! gateways.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use protocol::{ClientId, Command, ConnectionId, link::ToGateway};
use runtime::sync::{Mutex, MutexGuard};

use super::{
    Full, Link, Offer,
    outgoing::Lifetime,
    unscoped::{self, Pushed},
};
use crate::{Error, streams::Step};

/// The commands that a handler sent to other gateways than that of its event. On the event's own
/// link, order is enough: its acknowledgement follows the commands.
#[derive(Debug)]
pub struct HandlerScope {
    origin: Arc<Link>,
    /// The client of the event.
    client: ConnectionId,
    /// The number of the event, and of calls whose effect is to be the same when it is redelivered.
    event: Option<u64>,
    calls: AtomicU64,
    /// Whether the handler has closed that client.
    closed: AtomicBool,
    /// `None` once the event is finished.
    commands: Mutex<Option<Pushed>>,
}

impl HandlerScope {
    /// The scope of a handler whose event arrived on `origin` for this client.
    pub fn new(origin: Arc<Link>, client: ConnectionId) -> Self {
        let (closed, commands) = (AtomicBool::new(false), Mutex::new(Some(Vec::new())));
        Self { origin, client, event: None, calls: AtomicU64::new(0), closed, commands }
    }

    /// The same, for the event of the client with this number: calls that have to be made once are
    /// recognized when it is redelivered.
    #[must_use]
    pub fn of_event(self, number: u64) -> Self {
        Self { event: Some(number), ..self }
    }

    /// The handler is called again.
    pub fn restart(&self) {
        self.calls.store(0, Ordering::Relaxed);
    }

    /// The next call that has to be made once; `None` if the event is finished.
    pub(crate) fn step(&self) -> Option<Step<'_>> {
        let event = self.event?;
        self.lock().as_ref()?;
        let client = ClientId::new(self.origin.gateway(), self.client);
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        Some(Step { client, instance: self.origin.instance(), event, call })
    }

    /// Whether a command of the handler has closed the event's client.
    pub fn has_closed(&self) -> bool {
        // Read by the task that has run the handler to its end.
        self.closed.load(Ordering::Relaxed)
    }

    /// Sends a command on behalf of the event, and records it. `None` if the event is finished
    /// already: the command is still to be sent then.
    ///
    /// A command to the event's own gateway goes on the present link, and is lost with it: the
    /// event is redelivered then, and its handler sends the command again, behind what was sent
    /// meanwhile.
    pub(crate) fn push(
        &self,
        link: &Link,
        command: &mut ToGateway,
    ) -> Option<Result<Offer<Full>, Error>> {
        let mut commands = self.lock();
        let commands = commands.as_mut()?;
        if self.origin.is_same_session(link) {
            let closes = self.closes(command);
            let queued = link.offer_for(command, Lifetime::Present);
            if closes && matches!(queued, Ok(Offer::Queued(_))) {
                self.closed.store(true, Ordering::Relaxed);
            }
            return Some(queued);
        }
        let queued = link.offer_for(command, Lifetime::Event);
        if let Ok(Offer::Queued(number)) = queued {
            unscoped::add(commands, link.session(), number);
        }
        Some(queued)
    }

    fn closes(&self, message: &ToGateway) -> bool {
        let Some(command) = message.command() else { return false };
        match command {
            Command::Close { client, .. }
            | Command::CloseWith { client, .. }
            | Command::Destroy { client } => *client == self.client,
            _ => false,
        }
    }

    pub(super) fn take(&self) -> Pushed {
        self.lock().take().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pushed>> {
        self.commands.lock()
    }
}
