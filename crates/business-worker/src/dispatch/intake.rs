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
use protocol::{ClientId, ConnectionId, Event, Session, link::Delivery};
use rustc_hash::FxHashMap;

use super::{
    Dispatcher, Slot,
    in_hand::{self, InHand},
    lane::{self, Running, Ticket},
    slot::Home,
    turn,
};
use crate::{Worker, metrics::EventCounts};

/// The clients of one link.
pub(super) struct Intake<W> {
    dispatcher: Arc<Dispatcher<W>>,
    home: Arc<Home>,
    slots: FxHashMap<ConnectionId, Arc<Slot>>,
    /// The box of the last method, for the next.
    running: Running,
    /// Events that were done with at once, to be reported together.
    finished: Finished,
    counts: EventCounts,
}

impl<W: Worker> Intake<W> {
    pub(super) fn new(dispatcher: Arc<Dispatcher<W>>, link: Arc<Link>) -> Self {
        let home = Home { link, cluster: dispatcher.cluster(), in_hand: InHand::default() };
        Self {
            dispatcher,
            home: Arc::new(home),
            slots: FxHashMap::default(),
            running: Running::new(ready(None)),
            finished: Finished::default(),
            counts: EventCounts::default(),
        }
    }

    /// The client's slot, which is made with its first event and forgotten with its last.
    fn slot(&mut self, delivery: &mut Delivery) -> Arc<Slot> {
        let last = matches!(delivery.event, Event::Close(_));
        match self.slots.entry(delivery.client) {
            Entry::Occupied(slot) if last => slot.remove(),
            Entry::Occupied(slot) => Arc::clone(slot.get()),
            Entry::Vacant(place) => {
                let id = ClientId::new(self.home.link.gateway(), delivery.client);
                let slot = match delivery.context.take() {
                    Some(context) => Slot::new(id, Arc::clone(&self.home), *context),
                    None => {
                        tracing::warn!(client = %id, "the gateway has not introduced this client");
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

    /// Polls the event's method once. `None` if it is done.
    fn begin(&mut self, slot: &Arc<Slot>, delivery: Delivery) {
        let ticket = Ticket::of(&delivery);
        self.running.set(turn::take(Arc::clone(&self.dispatcher), Arc::clone(slot), delivery));
        // Nobody is woken by this waker: a method that has to wait is polled again by its lane.
        match self.running.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(None) => self.finished.add(ticket.shard, ticket.seq),
            Poll::Ready(Some(pushes)) => {
                self.home.link.finish(ticket.shard, ticket.seq, Some(&pushes));
            }
            Poll::Pending => {
                slot.occupy(self.dispatcher.busy());
                self.home.in_hand.add(ticket.bytes);
                let running = mem::replace(&mut self.running, Running::new(ready(None)));
                let dispatcher = Arc::clone(&self.dispatcher);
                let lane = lane::run(dispatcher, Arc::clone(slot), running, Some(ticket));
                self.dispatcher.lanes.spawn(lane);
            }
        }
    }
}

fn unknown() -> protocol::Context {
    let remote = SocketAddr::from(([0, 0, 0, 0], 0));
    protocol::Context { remote, listener_port: 0, session: Session::default() }
}

impl<W: Worker> events::Intake for Intake<W> {
    fn take(&mut self, mut delivery: Delivery) {
        self.counts.add(&delivery.event);
        let slot = self.slot(&mut delivery);
        let bytes = in_hand::bytes(&delivery);
        match slot.queue(delivery) {
            Some(delivery) => self.begin(&slot, delivery),
            None => self.home.in_hand.add(bytes),
        }
    }

    fn end_batch(&mut self) -> Option<Room> {
        self.home.link.finished(&mut self.finished);
        self.dispatcher.metrics.count(&mut self.counts);
        self.home.in_hand.is_full().then(|| {
            let home = Arc::clone(&self.home);
            Box::pin(async move { home.in_hand.room().await }) as Room
        })
    }
}
