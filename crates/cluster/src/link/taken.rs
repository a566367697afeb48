//! Callers that wait until a gateway has acknowledged the commands of a link.

use std::convert::Infallible;

use runtime::sync::Mutex;
use tokio::{sync::oneshot, time::Instant};

use super::{
    ANSWER_TIMEOUT, Link,
    ack_tracker::Waiter,
    pending_requests::{PendingRequests, Ticket, TooMany},
};
use crate::Error;

/// The callers that wait, each for all commands that were sent before it.
#[derive(Debug, Default)]
pub(super) struct TakenWaiters {
    tickets: PendingRequests<()>,
    /// The command that each waits for, and its ticket. Mostly in order; a few at a time.
    waiting: Mutex<Vec<(u64, u64)>>,
}

impl TakenWaiters {
    /// A place for a caller.
    pub(super) fn ticket(&self) -> Result<Ticket<'_, ()>, TooMany> {
        self.tickets.ticket()
    }

    /// Resolves a ticket once `command` is acknowledged. The caller checks afterwards that it is not
    /// acknowledged yet.
    pub(super) fn wait(&self, command: u64, ticket: &Ticket<'_, ()>) {
        self.waiting.lock().push((command, ticket.number));
    }

    /// Every command up to this one is acknowledged.
    pub(super) fn advance(&self, through: u64) {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            return;
        }
        let (done, left) = waiting.drain(..).partition(|(command, _)| *command <= through);
        *waiting = left;
        drop(waiting);
        let done: Vec<(u64, u64)> = done;
        self.tickets.resolve_all(done.into_iter().map(|(_, ticket)| (ticket, ())));
    }

    /// Ends the callers whose deadlines have passed, for ever.
    pub(super) async fn expire(&self) -> Infallible {
        self.tickets.expire().await
    }

    /// Ends all callers.
    pub(super) fn close(&self) {
        self.tickets.close();
        self.waiting.lock().clear();
    }
}

impl Link {
    /// Waits until the gateway has acknowledged every command sent so far. All callers
    /// between two writes cost one small message, which no shard of the gateway sees; a
    /// [`flush`](Link::flush) wakes each of them.
    ///
    /// # Errors
    /// When the link has closed, or no acknowledgement arrives in time.
    pub(crate) async fn taken(&self) -> Result<(), Error> {
        let busy = |_| Error::Busy { gateway: self.session.name.clone() };
        let mut ticket = self.taken.ticket().map_err(busy)?;
        let last = self.session.outgoing.request_ack(self.number);
        let last = last.ok_or_else(|| self.unreachable())?;
        self.taken.wait(last, &ticket);
        // It may have been acknowledged before the ticket was waiting.
        if self.session.acks.has(last) {
            return Ok(());
        }
        match ticket.wait_until(Some(Instant::now() + ANSWER_TIMEOUT)).await {
            Some(()) => Ok(()),
            None if self.is_up() => Err(Error::Timeout { gateway: self.session.name.clone() }),
            None => Err(self.unreachable()),
        }
    }

    /// Waits until the gateway has acknowledged all commands that outlive this link.
    ///
    /// # Errors
    /// When the gateway is given up, or does not acknowledge in time.
    pub(crate) async fn acked(&self) -> Result<(), Error> {
        let Some(last) = self.session.outgoing.last_unacked() else { return Ok(()) };
        let (caller, called) = oneshot::channel();
        self.session.acks.wait(last, Waiter::Caller(caller));
        self.in_time(async { called.await.map_err(|_| self.unreachable()) }).await
    }
}
