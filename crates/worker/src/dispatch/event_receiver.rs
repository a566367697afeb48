//! Receives the events of one link: runs handlers that can run at once, and queues the rest.

use std::{
    collections::hash_map::Entry,
    future::ready,
    mem,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use protocol::{
    ClientId, ConnectionId, Event, InstanceId, Session, link::Delivery, standby::StandbyClient,
};
use push_suite_cluster::internal::{self, Finished, Link, Room};
use runtime::{
    clock::{self, Stopwatch},
    supervise,
};
use rustc_hash::FxHashMap;

use super::{
    ClientState, Dispatcher,
    blocking_detector::{self, BlockingDetector},
    client_state::{LinkContext, Queued},
    gate::Permit,
    in_flight,
    invoke::{self, Outcome},
    lane::{self, Invocation, Running, Ticket},
    orphans::Orphans,
    standby::StandbyClients,
};
use crate::{Worker, metrics::EventCounts};

/// The clients of one link.
pub(super) struct EventReceiver<W> {
    dispatcher: Arc<Dispatcher<W>>,
    link_context: Arc<LinkContext>,
    states: FxHashMap<ConnectionId, Arc<ClientState>>,
    /// Clients whose last event is queued.
    ending: Vec<Arc<ClientState>>,
    standby: StandbyClients,
    /// The box of the last handler, reused for the next.
    running: Running,
    /// Events that completed at once, to be acknowledged together.
    finished: Finished,
    /// The last event of each shard that was started and did not complete at once.
    begun: Vec<(u16, u64)>,
    counts: EventCounts,
    detector: BlockingDetector,
    /// When the current slice of handlers began.
    since: Option<Stopwatch>,
    /// Set while handlers of this batch may start here.
    permit: Option<Permit>,
}

impl<W: Worker> EventReceiver<W> {
    pub(super) fn new(dispatcher: Arc<Dispatcher<W>>, link: Arc<Link>) -> Self {
        let link_context = Arc::new(dispatcher.link_context(&link));
        Self {
            dispatcher,
            link_context,
            states: FxHashMap::default(),
            ending: Vec::new(),
            standby: StandbyClients::default(),
            running: Running::new(ready(Outcome::Done(None))),
            finished: Finished::default(),
            begun: Vec::new(),
            counts: EventCounts::default(),
            detector: BlockingDetector::default(),
            since: None,
            permit: None,
        }
    }

    /// The client's state, which is created with its first event and removed with its last.
    fn state(&mut self, delivery: &mut Delivery) -> Arc<ClientState> {
        let last = matches!(delivery.event, Event::Close(_));
        match self.states.entry(delivery.client) {
            Entry::Occupied(state) if last => state.remove(),
            Entry::Occupied(state) => Arc::clone(state.get()),
            Entry::Vacant(vacant) => {
                // Another worker may have owned it until now.
                self.standby.remove(&[delivery.client]);
                let id = ClientId::new(self.link_context.link.gateway(), delivery.client);
                let state = match delivery.context.take() {
                    Some(context) => ClientState::new(id, Arc::clone(&self.link_context), *context),
                    None => {
                        let admitted =
                            self.dispatcher.warnings().unknown_client.admit(clock::now());
                        if let Some(suppressed) = admitted {
                            tracing::warn!(
                                client = %id, suppressed,
                                "gateway sent an event without the client's context"
                            );
                        }
                        ClientState::new(id, Arc::clone(&self.link_context), unknown())
                    }
                };
                state.wait_for_predecessor(self.dispatcher.busy());
                if !last {
                    vacant.insert(Arc::clone(&state));
                }
                state
            }
        }
    }

    /// Starts an event's handler: here, until it first waits, or in a lane.
    fn begin(&mut self, state: &Arc<ClientState>, delivery: Delivery) {
        let ticket = Ticket::of(&delivery);
        self.running.set(invoke::handle(Arc::clone(&self.dispatcher), Arc::clone(state), delivery));
        if self.permit.is_none() {
            self.permit = self.dispatcher.gate.try_enter();
        }
        if self.detector.is_in_lanes() || self.permit.is_none() {
            return self.move_to_lane(state, ticket, false);
        }
        let since = *self.since.get_or_insert_with(Stopwatch::start);
        // The waker may be a no-op: a handler that has to wait is polled again by its lane.
        match self.running.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Outcome::Done(None))
                if self.link_context.link.has_no_pending_commands() =>
            {
                self.finished.add(ticket.shard, ticket.seq);
            }
            Poll::Ready(Outcome::Done(scope)) => {
                self.link_context.link.finish(ticket.shard, ticket.seq, scope.as_deref());
            }
            Poll::Ready(Outcome::Left) => state.leave_to_other_worker(),
            Poll::Pending => self.move_to_lane(state, ticket, true),
        }
        if self.detector.polled() {
            self.check_clock(since);
        }
    }

    /// Records an event that did not complete at once.
    fn note_begun(&mut self, shard: u16, seq: u64) {
        match self.begun.iter_mut().find(|(known, _)| *known == shard) {
            Some((_, last)) => *last = seq,
            None => self.begun.push((shard, seq)),
        }
    }

    fn move_to_lane(&mut self, state: &Arc<ClientState>, ticket: Ticket, has_started: bool) {
        self.note_begun(ticket.shard, ticket.seq);
        state.start_lane(self.dispatcher.busy());
        self.link_context.in_flight.add(ticket.bytes);
        let next = Running::new(ready(Outcome::Done(None)));
        let running = mem::replace(&mut self.running, next);
        let computing =
            self.detector.is_in_lanes().then(|| self.dispatcher.computing.clone()).flatten();
        let permit = has_started.then(|| self.dispatcher.gate.stay());
        let invocation = Invocation::new(running, computing, permit);
        let dispatcher = Arc::clone(&self.dispatcher);
        let lane = lane::run(dispatcher, Arc::clone(state), invocation, Some(ticket));
        supervise::spawn_tracked(&self.dispatcher.lanes, lane);
    }

    /// Starts an event's handler in a lane, where it waits until it may run isolated.
    fn begin_isolated(&mut self, state: &Arc<ClientState>, delivery: Delivery) {
        let ticket = Ticket { is_isolated: true, ..Ticket::of(&delivery) };
        self.running.set(invoke::handle(Arc::clone(&self.dispatcher), Arc::clone(state), delivery));
        self.move_to_lane(state, ticket, false);
    }

    /// Queues an event of a client that is busy.
    fn queue(&mut self, state: Arc<ClientState>, delivery: Delivery) {
        self.note_begun(delivery.shard, delivery.seq);
        let bytes = in_flight::bytes(&delivery);
        let last = matches!(delivery.event, Event::Close(_));
        match state.queue(delivery) {
            // The lane has just ended.
            Queued::NotBusy(delivery) if state.is_isolated(&delivery) => {
                self.begin_isolated(&state, delivery);
            }
            Queued::NotBusy(delivery) => self.begin(&state, delivery),
            Queued::Waits => {
                self.link_context.in_flight.add(bytes);
                if last {
                    if self.ending.len() == self.ending.capacity() {
                        self.ending.retain(|state| state.is_busy());
                    }
                    self.ending.push(state);
                }
            }
            Queued::Left => {}
        }
    }

    fn check_clock(&mut self, since: Stopwatch) {
        self.since = None;
        self.detector.slice(since.took_at_least(blocking_detector::SLICE));
    }
}

fn unknown() -> protocol::Context {
    let remote = SocketAddr::from(([0, 0, 0, 0], 0));
    protocol::Context { remote, listener_port: 0, session: Session::default() }
}

/// The link is closed. Its gateway may reconnect, with or without its clients.
impl<W> Drop for EventReceiver<W> {
    fn drop(&mut self) {
        let orphans = Orphans {
            link_context: Arc::clone(&self.link_context),
            states: mem::take(&mut self.states),
            ending: mem::take(&mut self.ending),
            standby: mem::take(&mut self.standby),
        };
        self.dispatcher.orphans.add(self.link_context.link.instance().clone(), orphans);
    }
}

impl<W: Worker> internal::EventReceiver for EventReceiver<W> {
    fn take(&mut self, mut delivery: Delivery) {
        let state = self.state(&mut delivery);
        let is_busy = state.note_event(delivery.redelivered);
        if matches!(delivery.event, Event::Reassigned) {
            state
                .session_cache()
                .synchronize(delivery.edits, delivery.context.map(|context| context.session));
            self.finished.add(delivery.shard, delivery.seq);
            return;
        }
        self.counts.add(&delivery.event);
        match is_busy {
            false => self.begin(&state, delivery),
            true => self.queue(state, delivery),
        }
    }

    fn standby(&mut self, holders: Vec<InstanceId>, confirmed: bool, clients: Vec<StandbyClient>) {
        self.standby.add(holders, confirmed, clients);
    }

    fn standby_session(&mut self, client: ConnectionId, session: Session) {
        self.standby.set_session(client, session);
    }

    fn release(&mut self, clients: Vec<ConnectionId>) {
        self.standby.remove(&clients);
    }

    fn take_isolated(&mut self, mut delivery: Delivery) {
        let state = self.state(&mut delivery);
        state.set_isolated(&delivery);
        let is_busy = state.note_event(delivery.redelivered);
        self.counts.add(&delivery.event);
        match is_busy {
            false => self.begin_isolated(&state, delivery),
            true => self.queue(state, delivery),
        }
    }

    fn report(&mut self) {
        self.link_context.link.finished(&mut self.finished);
    }

    fn end_batch(&mut self) -> Option<Room> {
        self.permit = None;
        for (shard, through) in self.begun.drain(..) {
            self.link_context.link.report_started(shard, through);
        }
        self.link_context.link.finished(&mut self.finished);
        self.dispatcher.metrics.count(&mut self.counts);
        if let Some(since) = self.since {
            self.check_clock(since);
        }
        self.detector.reconsider(&mut self.link_context.lanes());
        self.link_context.in_flight.is_full().then(|| {
            let link_context = Arc::clone(&self.link_context);
            Box::pin(async move { link_context.in_flight.room().await }) as Room
        })
    }
}
