//! The state of a client between its events, and its queued events.

use std::{
    collections::VecDeque,
    mem,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use protocol::{ClientId, Context, Event, link::Delivery};
use push_suite_cluster::{
    Cluster,
    internal::{CleanupGuard, Link},
};
use runtime::sync::{Mutex, MutexGuard};
use rustc_hash::FxHashMap;

use super::{
    blocking_detector::Lanes,
    in_flight::{self, InFlight},
    session_cache::SessionCache,
};

/// The state of one link, shared by its clients.
pub(crate) struct LinkContext {
    pub(crate) link: Arc<Link>,
    pub(crate) cluster: Cluster,
    pub(super) in_flight: InFlight,
    pub(super) lanes: Mutex<Lanes>,
}

impl LinkContext {
    pub(crate) fn new(link: Arc<Link>, cluster: Cluster) -> Self {
        Self { link, cluster, in_flight: InFlight::default(), lanes: Mutex::default() }
    }

    pub(super) fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock()
    }
}

/// A client on one link.
pub(crate) struct ClientState {
    id: ClientId,
    link_context: Arc<LinkContext>,
    remote: SocketAddr,
    listener_port: u16,
    session: Mutex<SessionCache>,
    lane: Mutex<Lane>,
    /// Whether a handler has closed the client, by a command sent on this link. Later
    /// acknowledgements follow that command on the link: if the gateway does not receive the
    /// command, it does not receive the acknowledgements of the dropped events either.
    closed: AtomicBool,
}

/// Invariant: while its link is up, a lane with queued events or a successor, or whose events are
/// left to another worker, is busy.
#[derive(Default)]
struct Lane {
    /// Whether one of the client's events runs, or is about to.
    busy: bool,
    /// Whether it is among the [`Busy`] ones.
    registered: bool,
    queue: VecDeque<Delivery>,
    /// Whether further events are left to another worker because an earlier one was.
    left: bool,
    /// The event whose handler must run isolated, by shard and sequence number.
    isolated: Option<(u16, u64)>,
    /// Whether the client's last event has been received, and was not left to another worker.
    ended: bool,
    /// Whether its latest event was redelivered, or left to another worker: then later events,
    /// including the close event, may be delivered to that worker.
    in_doubt: bool,
    /// Whether it is kept until its last event is handled.
    kept: bool,
    /// Set once the client's gateway was declared dead: no event follows the queued ones.
    cleanup: Option<CleanupGuard>,
    /// The same client on a newer link, which continues once this lane has ended.
    successor: Option<Arc<ClientState>>,
}

/// The outcome of queueing an event.
pub(super) enum Queued {
    /// It is queued.
    Waits,
    /// The client is not busy: its handler can start.
    NotBusy(Delivery),
    /// It is left to another worker.
    Left,
}

/// The next step of a lane.
pub(super) enum Next {
    /// Another event of the same client.
    Event(Delivery),
    /// The same client continues on a newer link.
    Successor(Arc<ClientState>),
    /// None: the lane has ended.
    Nothing,
}

/// Whether no event of a client follows this one.
pub(super) const fn is_last(event: &Event) -> bool {
    event.is_close()
}

/// Clients with a lane.
pub(super) type Busy = FxHashMap<ClientId, Arc<ClientState>>;

impl ClientState {
    pub(crate) fn new(id: ClientId, link_context: Arc<LinkContext>, context: Context) -> Arc<Self> {
        let Context { remote, listener_port, session } = context;
        let (session, lane) = (Mutex::new(SessionCache::new(session)), Mutex::default());
        let closed = AtomicBool::new(false);
        Arc::new(Self { id, link_context, remote, listener_port, session, lane, closed })
    }

    pub(crate) const fn id(&self) -> ClientId {
        self.id
    }

    pub(crate) fn link_context(&self) -> &LinkContext {
        &self.link_context
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link_context.link
    }

    pub(crate) const fn remote(&self) -> SocketAddr {
        self.remote
    }

    pub(crate) const fn listener_port(&self) -> u16 {
        self.listener_port
    }

    /// The client's session as its handlers see it.
    pub(crate) fn session_cache(&self) -> MutexGuard<'_, SessionCache> {
        self.session.lock()
    }

    /// Records that a handler has closed the client: the next event handled is the close event.
    pub(crate) fn close(&self) {
        // Events of a client are handled one at a time, and the handoff to the next orders this
        // store.
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether an event is dropped because a handler has closed the client.
    pub(super) fn drops(&self, event: &Event) -> bool {
        self.closed.load(Ordering::Relaxed) && !event.is_close()
    }

    fn lane(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock()
    }

    /// Whether an event of the client runs, is about to, or is queued.
    pub(super) fn has_events(&self) -> bool {
        let lane = self.lane();
        lane.busy || !lane.queue.is_empty()
    }

    /// Whether the client's last event is handled.
    pub(super) fn is_over(&self) -> bool {
        let lane = self.lane();
        lane.ended && !lane.busy && lane.queue.is_empty()
    }

    /// Whether the client's gateway was declared dead and events of it are still to be handled: no
    /// other worker receives them.
    pub(crate) fn is_orphaned(&self) -> bool {
        self.lane().cleanup.is_some()
    }

    /// Records that an event has been received, and returns whether the client is busy.
    pub(super) fn note_event(&self, delivery: &Delivery) -> bool {
        let mut lane = self.lane();
        lane.in_doubt = delivery.redelivered;
        lane.ended |= is_last(&delivery.event);
        lane.busy
    }

    /// Queues an event if the client is busy, or returns it.
    pub(super) fn queue(&self, delivery: Delivery) -> Queued {
        let mut lane = self.lane();
        if lane.left {
            (lane.ended, lane.in_doubt) = (false, true);
            return Queued::Left;
        }
        if !lane.busy {
            return Queued::NotBusy(delivery);
        }
        lane.queue.push_back(delivery);
        Queued::Waits
    }

    /// Records that the client is kept until its last event is handled. Returns whether it was not.
    pub(super) fn keep(&self) -> bool {
        !mem::replace(&mut self.lane().kept, true)
    }

    /// Marks an event whose handler must run isolated.
    pub(super) fn set_isolated(&self, delivery: &Delivery) {
        self.lane().isolated = Some((delivery.shard, delivery.seq));
    }

    /// Whether the handler of an event must run isolated.
    pub(super) fn is_isolated(&self, delivery: &Delivery) -> bool {
        self.lane().isolated == Some((delivery.shard, delivery.seq))
    }

    /// Leaves an event, whose handler is to be called again, and the client's later ones: to
    /// another worker, or to redelivery on the next link. `event` is `None` if its handler has not
    /// started, and `last` is whether it is the client's last one.
    pub(super) fn leave(&self, event: Option<Box<Delivery>>, last: bool) {
        let mut lane = self.lane();
        let in_flight = &self.link_context.in_flight;
        if lane.cleanup.is_some() || !self.link_context.link.is_up() {
            // If the gateway is dead, they are handled here, before the client is closed. If it is
            // not, it redelivers them, and these are dropped.
            lane.ended &= !last || event.is_some();
            if let Some(event) = event {
                in_flight.add(in_flight::bytes(&event));
                lane.queue.push_front(*event);
            }
            return;
        }
        lane.busy = true;
        lane.left = true;
        // The gateway may die before another worker has received them.
        (lane.ended, lane.in_doubt) = (false, true);
        let waiting = mem::take(&mut lane.queue);
        in_flight.remove(waiting.iter().map(in_flight::bytes).sum());
    }

    /// Records that a handler waits on the task of the link. It moves to a lane before the client
    /// can appear on a newer link.
    pub(super) fn wait(&self) {
        self.lane().busy = true;
    }

    /// Registers a lane for the client.
    pub(super) fn start_lane(self: &Arc<Self>, busy: &Mutex<Busy>) {
        let mut lane = self.lane();
        lane.busy = true;
        lane.registered = true;
        busy.lock().insert(self.id, Arc::clone(self));
    }

    /// Makes this the successor of the same client's state on an older link, if that is still busy;
    /// this one is then busy as well.
    pub(super) fn wait_for_predecessor(self: &Arc<Self>, busy: &Mutex<Busy>) {
        let Some(older) = busy.lock().get(&self.id).cloned() else { return };
        let mut lane = older.lane();
        if lane.busy {
            // Under the older lane's lock: otherwise that lane could end, and continue here, before
            // this one is busy, which would then stay so without a task.
            self.start_lane(busy);
            lane.successor = Some(Arc::clone(self));
        }
    }

    /// Queues the close event of a client whose gateway is dead behind its earlier events, unless
    /// its last event has already been received. Returns whether a lane must be started for them.
    pub(super) fn close_orphaned(
        self: &Arc<Self>,
        mut close: Delivery,
        cleanup: CleanupGuard,
        busy: &Mutex<Busy>,
    ) -> bool {
        let mut lane = self.lane();
        if !mem::replace(&mut lane.ended, true) {
            close.redelivered |= lane.in_doubt;
            self.link_context.in_flight.add(in_flight::bytes(&close));
            lane.queue.push_back(close);
        }
        lane.cleanup = Some(cleanup);
        // No other worker will get the events left to it: the gateway is dead.
        let has_lane = mem::replace(&mut lane.busy, true) && !mem::take(&mut lane.left);
        lane.registered |= !has_lane;
        drop(lane);
        if !has_lane {
            busy.lock().insert(self.id, Arc::clone(self));
        }
        !has_lane
    }

    /// Returns the next step after an event has completed. Events from a link that has closed in
    /// the meantime stay queued: their gateway redelivers them, or is dead, and then the client is
    /// [closed as orphaned](Self::close_orphaned).
    pub(super) fn next(self: &Arc<Self>, busy: &Mutex<Busy>) -> Next {
        let mut lane = self.lane();
        let is_orphaned = lane.cleanup.is_some();
        if !is_orphaned && !self.link_context.link.is_up() {
            // They are redelivered on the gateway's next link, if any.
            lane.left = false;
        } else if lane.left {
            return Next::Nothing;
        } else if let Some(delivery) = lane.queue.pop_front() {
            return Next::Event(delivery);
        }
        lane.busy = false;
        lane.cleanup = None;
        if let Some(successor) = mem::take(&mut lane.successor) {
            // The events queued here are redelivered to the successor.
            lane.queue = VecDeque::new();
            return Next::Successor(successor);
        }
        if !mem::take(&mut lane.registered) {
            return Next::Nothing;
        }
        let mut busy = busy.lock();
        if busy.get(&self.id).is_some_and(|state| Arc::ptr_eq(state, self)) {
            busy.remove(&self.id);
        }
        Next::Nothing
    }
}
