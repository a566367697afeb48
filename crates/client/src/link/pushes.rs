//! An event is done with only when what its handler pushed was taken by the gateways.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use protocol::{Command, ConnectionId, link::ToGateway};

use super::{
    Crowded, Link,
    outgoing::Lifetime,
    unclaimed::{self, Pushed},
};
use crate::Error;

/// What a handler pushed to other gateways than its event's own, whose link keeps the order by
/// itself: there, "done" simply follows what was pushed.
#[derive(Debug)]
pub struct Pushes {
    home: Arc<Link>,
    /// The event's client.
    client: ConnectionId,
    /// Whether the handler has closed that client.
    closed: AtomicBool,
    /// `None` once the event is done with.
    others: Mutex<Option<Pushed>>,
}

impl Pushes {
    /// Those of a handler whose event came on `home` and is this client's.
    pub fn new(home: Arc<Link>, client: ConnectionId) -> Self {
        let (closed, others) = (AtomicBool::new(false), Mutex::new(Some(Vec::new())));
        Self { home, client, closed, others }
    }

    /// Whether the handler has closed its event's client by one of the pushes.
    pub fn has_closed(&self) -> bool {
        // Asked by whoever has run the handler to its end.
        self.closed.load(Ordering::Relaxed)
    }

    /// Pushes a command on behalf of the event, and notes it. `None` if the event is done with
    /// already: the command is still to be pushed then.
    ///
    /// To the event's own gateway it goes on the link that there is, and is lost with that: the event
    /// is given to somebody again then, who pushes it anew, behind what was pushed meanwhile.
    pub(crate) fn push(
        &self,
        link: &Link,
        command: &mut ToGateway,
    ) -> Option<Result<Result<(), Crowded>, Error>> {
        let mut others = self.lock();
        let others = others.as_mut()?;
        if self.home.is_of_line(link) {
            let closes = self.closes(command);
            let queued = link.offer_for(command, Lifetime::Present);
            if closes && matches!(queued, Ok(Ok(_))) {
                self.closed.store(true, Ordering::Relaxed);
            }
            return Some(queued.map(|queued| queued.map(drop)));
        }
        let queued = link.offer_for(command, Lifetime::Event);
        if let Ok(Ok(number)) = queued {
            unclaimed::add(others, link.line(), number);
        }
        Some(queued.map(|queued| queued.map(drop)))
    }

    fn closes(&self, message: &ToGateway) -> bool {
        let ToGateway::Command { command, .. } = message else { return false };
        match command {
            Command::Close { client, .. } | Command::Destroy { client } => *client == self.client,
            _ => false,
        }
    }

    pub(super) fn take(&self) -> Pushed {
        self.lock().take().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pushed>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
