//! An event is done with only when what its handler pushed was taken by the gateways.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::link::ToGateway;

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
    /// `None` once the event is done with.
    others: Mutex<Option<Pushed>>,
}

impl Pushes {
    /// Those of a handler whose event came on `home`.
    pub fn new(home: Arc<Link>) -> Self {
        Self { home, others: Mutex::new(Some(Vec::new())) }
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
            return Some(link.offer_for(command, Lifetime::Present).map(|queued| queued.map(drop)));
        }
        let queued = link.offer_for(command, Lifetime::Event);
        if let Ok(Ok(number)) = queued {
            unclaimed::add(others, link.line(), number);
        }
        Some(queued.map(|queued| queued.map(drop)))
    }

    pub(super) fn take(&self) -> Pushed {
        self.lock().take().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pushed>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
