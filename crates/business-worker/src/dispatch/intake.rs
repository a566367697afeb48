//! Takes the events of one link: runs what can run at once, and queues the rest.

use std::{
    collections::hash_map::Entry,
    future::ready,
    mem,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use client::{
    events::{self, Room},
    link::{Finished, Link},
};
use protocol::{
    ClientId, ConnectionId, Event, Instance, Session, link::Delivery, standby::StandbyClient,
};
use rustc_hash::FxHashMap;
use service::{
    clock::{self, Stopwatch},
    supervise,
};

use super::{
    Dispatcher, Slot,
    estates::Estate,
    gate::Place,
    in_hand,
    lane::{self, Method, Running, Ticket},
    pace::{self, Pace},
    slot::{Home, Queued},
    standby::StandbyClients,
    turn::{self, Outcome},
};
use crate::{Worker, metrics::EventCounts};

/// The clients of one link.
pub(super) struct Intake<W> {
    dispatcher: Arc<Dispatcher<W>>,
    home: Arc<Home>,
    slots: FxHashMap<ConnectionId, Arc<Slot>>,
    /// Clients whose last event waits for its turn.
    ending: Vec<Arc<Slot>>,
    standby: StandbyClients,
    /// The box of the last method, for the next.
    running: Running,
    /// Events that were done with at once, to be reported together.
    finished: Finished,
    /// The last event of each shard that was begun with and not done with at once.
    begun: Vec<(u16, u64)>,
    counts: EventCounts,
    pace: Pace,
    /// When the present slice of methods began.
    since: Option<Stopwatch>,
    /// Set while methods of this batch may start here.
    place: Option<Place>,
}

impl<W: Worker> Intake<W> {
    pub(super) fn new(dispatcher: Arc<Dispatcher<W>>, link: Arc<Link>) -> Self {
        let home = dispatcher.home(&link);
        Self {
            dispatcher,
            home: Arc::new(home),
            slots: FxHashMap::default(),
            ending: Vec::new(),
            standby: StandbyClients::default(),
            running: Running::new(ready(Outcome::Over(None))),
            finished: Finished::default(),
            begun: Vec::new(),
            counts: EventCounts::default(),
            pace: Pace::default(),
            since: None,
            place: None,
        }
    }

    /// The client's slot, which is made with its first event and forgotten with its last.
    fn slot(&mut self, delivery: &mut Delivery) -> Arc<Slot> {
        let last = matches!(delivery.event, Event::Close(_));
        match self.slots.entry(delivery.client) {
            Entry::Occupied(slot) if last => slot.remove(),
            Entry::Occupied(slot) => Arc::clone(slot.get()),
            Entry::Vacant(place) => {
                // It may have been another worker's until now.
                self.standby.remove(&[delivery.client]);
                let id = ClientId::new(self.home.link.gateway(), delivery.client);
                let slot = match delivery.context.take() {
                    Some(context) => Slot::new(id, Arc::clone(&self.home), *context),
                    None => {
                        let mut warnings = self.dispatcher.warnings();
                        if let Some(suppressed) = warnings.unknown_client.admit(clock::now()) {
                            tracing::warn!(
                                client = %id, suppressed,
                                "the gateway has not introduced this client"
                            );
                        }
                        Slot::new(id, Arc::clone(&self.home), unknown())
                    }
                };
                slot.inherit(self.dispatcher.busy());
                if !last {
                    place.insert(Arc::clone(&slot));
                }
                slot
            }
        }
    }

    /// Begins an event's method: here, as far as it comes without waiting, or in a lane.
    fn begin(&mut self, slot: &Arc<Slot>, delivery: Delivery) {
        let ticket = Ticket::of(&delivery);
        self.running.set(turn::take(Arc::clone(&self.dispatcher), Arc::clone(slot), delivery));
        if self.place.is_none() {
            self.place = self.dispatcher.gate.try_enter();
        }
        if self.pace.is_in_lanes() || self.place.is_none() {
            return self.move_to_lane(slot, ticket, false);
        }
        let since = *self.since.get_or_insert_with(Stopwatch::start);
        // Nobody is woken by this waker: a method that has to wait is polled again by its lane.
        match self.running.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Outcome::Over(None)) if self.home.link.owes_nothing() => {
                self.finished.add(ticket.shard, ticket.seq);
            }
            Poll::Ready(Outcome::Over(pushes)) => {
                self.home.link.finish(ticket.shard, ticket.seq, pushes.as_deref());
            }
            Poll::Ready(Outcome::Left) => slot.leave(),
            Poll::Pending => self.move_to_lane(slot, ticket, true),
        }
        if self.pace.polled() {
            self.look_at_clock(since);
        }
    }

    /// Notes an event that is not done with at once.
    fn goes_on(&mut self, shard: u16, seq: u64) {
        match self.begun.iter_mut().find(|(known, _)| *known == shard) {
            Some((_, last)) => *last = seq,
            None => self.begun.push((shard, seq)),
        }
    }

    fn move_to_lane(&mut self, slot: &Arc<Slot>, ticket: Ticket, has_started: bool) {
        self.goes_on(ticket.shard, ticket.seq);
        slot.occupy(self.dispatcher.busy());
        self.home.in_hand.add(ticket.bytes);
        let next = Running::new(ready(Outcome::Over(None)));
        let running = mem::replace(&mut self.running, next);
        let computing =
            self.pace.is_in_lanes().then(|| self.dispatcher.computing.clone()).flatten();
        let place = has_started.then(|| self.dispatcher.gate.stay());
        let method = Method::new(running, computing, place);
        let dispatcher = Arc::clone(&self.dispatcher);
        let lane = lane::run(dispatcher, Arc::clone(slot), method, Some(ticket));
        supervise::spawn_tracked(&self.dispatcher.lanes, lane);
    }

    /// Begins an event's method in a lane, where it waits until it may run alone.
    fn begin_trial(&mut self, slot: &Arc<Slot>, delivery: Delivery) {
        let ticket = Ticket { is_trial: true, ..Ticket::of(&delivery) };
        self.running.set(turn::take(Arc::clone(&self.dispatcher), Arc::clone(slot), delivery));
        self.move_to_lane(slot, ticket, false);
    }

    /// Queues an event of a client that is busy.
    fn queue(&mut self, slot: Arc<Slot>, delivery: Delivery) {
        self.goes_on(delivery.shard, delivery.seq);
        let bytes = in_hand::bytes(&delivery);
        let last = matches!(delivery.event, Event::Close(_));
        match slot.queue(delivery) {
            // The lane has come to its end just now.
            Queued::NotBusy(delivery) if slot.is_trial(&delivery) => {
                self.begin_trial(&slot, delivery);
            }
            Queued::NotBusy(delivery) => self.begin(&slot, delivery),
            Queued::Waits => {
                self.home.in_hand.add(bytes);
                if last {
                    if self.ending.len() == self.ending.capacity() {
                        self.ending.retain(|slot| slot.is_busy());
                    }
                    self.ending.push(slot);
                }
            }
            Queued::Left => {}
        }
    }

    fn look_at_clock(&mut self, since: Stopwatch) {
        self.since = None;
        self.pace.slice(since.took_at_least(pace::SLICE));
    }
}

fn unknown() -> protocol::Context {
    let remote = SocketAddr::from(([0, 0, 0, 0], 0));
    protocol::Context { remote, listener_port: 0, session: Session::default() }
}

/// The link is gone. Its gateway may come back to its clients, or to nobody.
impl<W> Drop for Intake<W> {
    fn drop(&mut self) {
        let estate = Estate {
            home: Arc::clone(&self.home),
            slots: mem::take(&mut self.slots),
            ending: mem::take(&mut self.ending),
            standby: mem::take(&mut self.standby),
        };
        self.dispatcher.estates.leave(self.home.link.instance().clone(), estate);
    }
}

impl<W: Worker> events::Intake for Intake<W> {
    fn take(&mut self, mut delivery: Delivery) {
        let slot = self.slot(&mut delivery);
        let is_busy = slot.came(delivery.redelivered);
        if matches!(delivery.event, Event::Adopt) {
            slot.memory().told(delivery.edits, delivery.context.map(|context| context.session));
            self.finished.add(delivery.shard, delivery.seq);
            return;
        }
        self.counts.add(&delivery.event);
        match is_busy {
            false => self.begin(&slot, delivery),
            true => self.queue(slot, delivery),
        }
    }

    fn standby(&mut self, holders: Vec<Instance>, confirmed: bool, clients: Vec<StandbyClient>) {
        self.standby.add(holders, confirmed, clients);
    }

    fn standby_session(&mut self, client: ConnectionId, session: Session) {
        self.standby.set_session(client, session);
    }

    fn release(&mut self, clients: Vec<ConnectionId>) {
        self.standby.remove(&clients);
    }

    fn trial(&mut self, mut delivery: Delivery) {
        let slot = self.slot(&mut delivery);
        slot.set_trial(&delivery);
        let is_busy = slot.came(delivery.redelivered);
        self.counts.add(&delivery.event);
        match is_busy {
            false => self.begin_trial(&slot, delivery),
            true => self.queue(slot, delivery),
        }
    }

    fn report(&mut self) {
        self.home.link.finished(&mut self.finished);
    }

    fn end_batch(&mut self) -> Option<Room> {
        self.place = None;
        for (shard, through) in self.begun.drain(..) {
            self.home.link.begun(shard, through);
        }
        self.home.link.finished(&mut self.finished);
        self.dispatcher.metrics.count(&mut self.counts);
        if let Some(since) = self.since {
            self.look_at_clock(since);
        }
        self.pace.reconsider(&mut self.home.lanes());
        self.home.in_hand.is_full().then(|| {
            let home = Arc::clone(&self.home);
            Box::pin(async move { home.in_hand.room().await }) as Room
        })
    }
}
