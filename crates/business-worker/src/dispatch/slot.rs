//! What is kept of a client between its events, and what waits for its turn.

use std::{
    collections::VecDeque,
    mem,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use client::{Cluster, events::Settlement, link::Link};
use protocol::{ClientId, Context, Event, link::Delivery};
use rustc_hash::FxHashMap;

use super::{
    in_hand::{self, InHand},
    memory::Memory,
    pace::Lanes,
};

/// One link, as its clients share it.
pub(crate) struct Home {
    pub(crate) link: Arc<Link>,
    pub(crate) cluster: Cluster,
    pub(super) in_hand: InHand,
    pub(super) lanes: Mutex<Lanes>,
}

impl Home {
    pub(super) fn lanes(&self) -> MutexGuard<'_, Lanes> {
        // A counter: whatever a panic elsewhere has left there will do.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client on one link.
pub(crate) struct Slot {
    id: ClientId,
    home: Arc<Home>,
    remote: SocketAddr,
    listener_port: u16,
    memory: Mutex<Memory>,
    lane: Mutex<Lane>,
    /// Whether a handler has closed the client, by a command that went out on this link. What is
    /// reported as done from then on is behind that command: should the gateway not get it, it does not
    /// hear that events were dropped over it either.
    closed: AtomicBool,
}

/// Invariant: what is queued, has an heir, or is left, is busy, for as long as its link is up.
#[derive(Default)]
struct Lane {
    /// A task runs one of the client's events, or is about to.
    busy: bool,
    queue: VecDeque<Delivery>,
    /// Whether what comes is left to another worker, since something before it was.
    left: bool,
    /// The event whose handler is to run alone, by its shard and its number there.
    trial: Option<(u16, u64)>,
    /// Whether the client's last event has come.
    ended: bool,
    /// Whether its latest event was marked: then what came after that may have come to its former
    /// worker, the client's end with it.
    in_doubt: bool,
    /// Set once the client's gateway was taken for gone: what is queued is all that will ever come.
    settlement: Option<Settlement>,
    /// The same client on a newer link: its turn comes when this one has come to its end.
    heir: Option<Arc<Slot>>,
}

/// What became of an event that came while its client was busy.
pub(super) enum Queued {
    /// It waits for its turn.
    Waits,
    /// The client is not busy any more: it can begin.
    NotBusy(Delivery),
    /// It is another worker's.
    Left,
}

/// What a lane does next.
pub(super) enum Next {
    /// Another event of the same client.
    Event(Delivery),
    /// The same client goes on, on a newer link.
    Heir(Arc<Slot>),
    /// Nothing: the lane has ended.
    Nothing,
}

/// Clients with a lane.
pub(super) type Busy = FxHashMap<ClientId, Arc<Slot>>;

impl Slot {
    pub(super) fn new(id: ClientId, home: Arc<Home>, context: Context) -> Arc<Self> {
        let Context { remote, listener_port, session } = context;
        let (memory, lane) = (Mutex::new(Memory::new(session)), Mutex::default());
        let closed = AtomicBool::new(false);
        Arc::new(Self { id, home, remote, listener_port, memory, lane, closed })
    }

    pub(crate) const fn id(&self) -> ClientId {
        self.id
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.home.link
    }

    pub(crate) const fn remote(&self) -> SocketAddr {
        self.remote
    }

    pub(crate) const fn listener_port(&self) -> u16 {
        self.listener_port
    }

    /// What is remembered of the client.
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        // A session is replaced in one step.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handler has closed the client: the next event that is handled is its end.
    pub(crate) fn close(&self) {
        // One event of a client is handled at a time, and what hands it to the next orders this too.
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether an event is dropped, since a handler has closed the client.
    pub(super) fn drops(&self, event: &Event) -> bool {
        self.closed.load(Ordering::Relaxed) && !matches!(event, Event::Close(_))
    }

    fn lane(&self) -> MutexGuard<'_, Lane> {
        // Every change is one step, so a panic elsewhere leaves nothing half done.
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an event of the client runs, or is about to.
    pub(super) fn is_busy(&self) -> bool {
        self.lane().busy
    }

    /// Notes that an event has come, marked or not, and says whether the client is busy.
    pub(super) fn came(&self, redelivered: bool) -> bool {
        let mut lane = self.lane();
        lane.in_doubt = redelivered;
        lane.busy
    }

    /// Queues an event if the client is busy, or gives it back.
    pub(super) fn queue(&self, delivery: Delivery) -> Queued {
        let mut lane = self.lane();
        lane.ended |= matches!(delivery.event, Event::Close(_));
        if lane.left {
            return Queued::Left;
        }
        if !lane.busy {
            return Queued::NotBusy(delivery);
        }
        lane.queue.push_back(delivery);
        Queued::Waits
    }

    /// Has the handler of an event run alone once it is its turn.
    pub(super) fn set_trial(&self, delivery: &Delivery) {
        self.lane().trial = Some((delivery.shard, delivery.seq));
    }

    /// Whether the handler of an event is to run alone.
    pub(super) fn is_trial(&self, delivery: &Delivery) -> bool {
        self.lane().trial == Some((delivery.shard, delivery.seq))
    }

    /// Leaves the client's events to another worker: those that wait, and those that still come.
    pub(super) fn leave(&self) {
        let mut lane = self.lane();
        lane.busy = true;
        lane.left = true;
        let waiting = mem::take(&mut lane.queue);
        let bytes = waiting.iter().map(in_hand::bytes).sum();
        self.home.in_hand.remove(bytes);
    }

    /// The client gets a lane.
    pub(super) fn occupy(self: &Arc<Self>, busy: &Mutex<Busy>) {
        let mut lane = self.lane();
        lane.busy = true;
        lock(busy).insert(self.id, Arc::clone(self));
    }

    /// Makes this the heir of the same client's older slot, if that is still busy: it is busy
    /// itself from then on.
    pub(super) fn inherit(self: &Arc<Self>, busy: &Mutex<Busy>) {
        let Some(older) = lock(busy).get(&self.id).cloned() else { return };
        let mut lane = older.lane();
        if lane.busy {
            lane.heir = Some(Arc::clone(self));
            drop(lane);
            self.occupy(busy);
        }
    }

    /// The client's gateway is gone. Its last event, unless that has come already, is queued behind
    /// those that came before it; says whether a lane has to be begun for them.
    pub(super) fn settle(
        self: &Arc<Self>,
        mut close: Delivery,
        settlement: Settlement,
        busy: &Mutex<Busy>,
    ) -> bool {
        let mut lane = self.lane();
        if !mem::replace(&mut lane.ended, true) {
            close.redelivered |= lane.in_doubt;
            self.home.in_hand.add(in_hand::bytes(&close));
            lane.queue.push_back(close);
        }
        lane.settlement = Some(settlement);
        // What was left to another worker went with the gateway.
        let has_lane = mem::replace(&mut lane.busy, true) && !mem::take(&mut lane.left);
        drop(lane);
        if !has_lane {
            lock(busy).insert(self.id, Arc::clone(self));
        }
        !has_lane
    }

    /// Takes what is next, once an event has come to its end. What came on a link that is gone
    /// meanwhile stays: its gateway gives it to somebody again, or is gone itself, and then it is
    /// [settled](Self::settle).
    pub(super) fn next(self: &Arc<Self>, busy: &Mutex<Busy>) -> Next {
        let mut lane = self.lane();
        let is_settled = lane.settlement.is_some();
        if !is_settled && !self.home.link.is_up() {
            // The gateway's next link brings them, if there is one.
            lane.left = false;
        } else if lane.left {
            return Next::Nothing;
        } else if let Some(delivery) = lane.queue.pop_front() {
            return Next::Event(delivery);
        }
        lane.busy = false;
        lane.settlement = None;
        if let Some(heir) = mem::take(&mut lane.heir) {
            // It gets again what was queued here.
            lane.queue = VecDeque::new();
            return Next::Heir(heir);
        }
        let mut busy = lock(busy);
        if busy.get(&self.id).is_some_and(|slot| Arc::ptr_eq(slot, self)) {
            busy.remove(&self.id);
        }
        Next::Nothing
    }
}

fn lock(busy: &Mutex<Busy>) -> MutexGuard<'_, Busy> {
    busy.lock().unwrap_or_else(PoisonError::into_inner)
}
