//! Interfaces for consumers of the events that gateways send.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use protocol::{
    ConnectionId, InstanceId, Session,
    link::Delivery,
    standby::{HandedOver, Handover, StandbyClient},
};

use crate::link::Link;

/// Receives the events of all links. Workers implement it; a back end has none. Only
/// [`linked`](Self::linked) is required: the other methods matter to consumers that keep per-client
/// state.
pub trait Consumer: Send + Sync + 'static {
    /// A link has been established. Its events go to the returned receiver, which is dropped when
    /// the link closes; the next link to the same gateway is only established after that.
    fn linked(&self, link: &Arc<Link>) -> Box<dyn EventReceiver>;

    /// This instance of a gateway is dead, and its clients are disconnected: close those that this
    /// worker owns, marked as redelivered if they may have been reassigned before (`in_doubt`).
    /// Drop `cleanup` when that is done. Returns the holders of the clients there for which this
    /// worker is a standby, each list once.
    fn over(
        &self,
        _gateway: &InstanceId,
        _in_doubt: bool,
        _cleanup: CleanupGuard,
    ) -> Vec<Vec<InstanceId>> {
        Vec::new()
    }

    /// The [digest](protocol::standby::digest) of the clients there for which this worker is a
    /// standby and that have these holders.
    fn digest(&self, _gateway: &InstanceId, _holders: &[InstanceId]) -> u64 {
        0
    }

    /// The holders ranked before this worker have terminated as well: close those clients, marked
    /// as redelivered, since their `on_close` may have started before. Drop `cleanup` when that is
    /// done.
    fn take_over(&self, _gateway: &InstanceId, _holders: &[InstanceId], _cleanup: CleanupGuard) {}

    /// The owner has closed the clients it knew of. Of those that have these holders, close the
    /// ones unknown to the owner, marked as redelivered, and release the others. Drop `cleanup`
    /// when that is done.
    fn owner_done(&self, _gateway: &InstanceId, _holders: &[InstanceId], _cleanup: CleanupGuard) {}

    /// Another standby has closed the clients that have these holders: release them.
    fn forget(&self, _gateway: &InstanceId, _holders: &[InstanceId]) {}

    /// The records of the clients there, owned and standby, to be handed over to another worker,
    /// grouped by holders, of which this worker is one. May be large.
    fn hand_over(
        &self,
        _gateway: &InstanceId,
        _self_id: &InstanceId,
    ) -> Vec<(Vec<InstanceId>, Vec<HandedOver>)> {
        Vec::new()
    }

    /// Another worker has handed over clients of an unreachable gateway: this worker is a standby
    /// for them from now on. `link` is a closed link to that gateway. Returns the holders of all
    /// clients there for which this worker is a standby, each list once.
    fn handed_over(&self, _link: &Arc<Link>, _handover: Handover) -> Vec<Vec<InstanceId>> {
        Vec::new()
    }

    /// This instance of a gateway is linked again and has sent its complete state: discard what an
    /// earlier link reported of its clients.
    fn confirmed(&self, _gateway: &InstanceId) {}
}

/// Receives the events of one link, on the task of that link: slow methods stall the link.
pub trait EventReceiver: Send {
    /// Messages that were read follow: events, and answers that handlers may wait for.
    fn begin_batch(&mut self) {}

    /// Answers were received, and an event follows: continues the handlers that waited for them.
    fn answered(&mut self) {}

    /// Receives one event. Once it is handled, [`Link::finish`] or [`Link::finished`] must be
    /// called, or the gateway stops sending.
    fn take(&mut self, delivery: Delivery);

    /// Receives one suspect event, whose handler is to run isolated in this process as far as
    /// possible: worker processes have terminated while handling it. [`Link::report_handler_started`] must be
    /// called when it starts.
    fn take_isolated(&mut self, delivery: Delivery) {
        self.take(delivery);
    }

    /// Reports with [`Link::finished`] the events of this batch finished so far: they are written
    /// before the next event is received.
    fn report(&mut self) {}

    /// This worker is a standby for these clients; their session, if known, is kept. See
    /// [`ToPeer::Standby`](protocol::link::ToPeer::Standby).
    fn standby(
        &mut self,
        _holders: Vec<InstanceId>,
        _confirmed: bool,
        _clients: Vec<StandbyClient>,
    ) {
    }

    /// The session of a client for which this worker is a standby.
    fn standby_session(&mut self, _client: ConnectionId, _session: Session) {}

    /// This worker is no longer a standby for these clients.
    fn release(&mut self, _clients: Vec<ConnectionId>) {}

    /// Whether handlers that wait on this task can go on: then [`end_batch`](Self::end_batch) is
    /// called, which continues them.
    fn poll_woken(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// All events of one read have been received; data queued meanwhile is written next. The link
    /// is not read again until the returned future, if any, is ready: this is the consumer's
    /// backpressure. It delays answers to queries as well.
    fn end_batch(&mut self) -> Option<Room>;
}

/// Ready when a consumer accepts more events.
pub type Room = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Held while clients of a dead gateway are being closed. Dropping the last clone completes the
/// cleanup, which is announced to other workers.
#[derive(Clone)]
pub struct CleanupGuard {
    _on_drop: Arc<OnDrop>,
}

/// Called once.
struct OnDrop(Option<Box<dyn FnOnce() + Send + Sync>>);

impl CleanupGuard {
    /// A guard whose last clone calls `done` when it is dropped.
    pub(crate) fn new(done: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self { _on_drop: Arc::new(OnDrop(Some(Box::new(done)))) }
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done();
        }
    }
}

impl fmt::Debug for CleanupGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CleanupGuard").finish_non_exhaustive()
    }
}
