//! Receives the events of one link: runs handlers that can run at once, and queues the rest.

use std::{
    collections::hash_map::Entry,
    future::ready,
    mem,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
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
use service::latency::Batch;
use tokio::runtime::Handle;
use tokio_util::sync::PollSemaphore;

use super::{
    ClientState, Dispatcher,
    blocking_detector::{self, BlockingDetector},
    client_state::{LinkContext, Next, Queued, is_last},
    gate::Permit,
    in_flight,
    invoke::{self, Outcome},
    lane::{self, Invocation, Running, Ticket},
    orphans::Orphans,
    standby::StandbyClients,
    started::Started,
    waiting::{Waiting, WaitingHandler},
};
use crate::{Worker, metrics::EventCounts};

/// The clients of one link.
pub(super) struct EventReceiver<W: Worker> {
    dispatcher: Arc<Dispatcher<W>>,
    link_context: Arc<LinkContext>,
    states: FxHashMap<ConnectionId, Arc<ClientState>>,
    /// Clients whose last event is not handled.
    ending: Vec<Arc<ClientState>>,
    standby: StandbyClients,
    /// The box of the last handler, reused for the next.
    running: Running,
    /// Handlers that wait for answers of gateways, which are continued here.
    waiting: Waiting,
    /// Events that completed at once, to be acknowledged together.
    finished: Finished,
    /// Events that were started and did not complete at once.
    started: Started,
    counts: EventCounts,
    /// Durations of the handlers that completed here.
    took: Batch,
    /// When the last of them completed, until the next one starts.
    lap: Option<Instant>,
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
            waiting: Waiting::default(),
            finished: Finished::default(),
            started: Started::default(),
            counts: EventCounts::default(),
            took: Batch::default(),
            lap: None,
            detector: BlockingDetector::default(),
            since: None,
            permit: None,
        }
    }

    /// The client's state, which is created with its first event and removed with its last.
    fn state(&mut self, delivery: &mut Delivery) -> Arc<ClientState> {
        let last = is_last(&delivery.event);
        if last {
            // Or it would be closed once more if the gateway died before its state is complete.
            let gateway = self.link_context.link.instance();
            self.dispatcher.orphans.ended(gateway, delivery.client);
        }
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

    /// Starts an event's handler: here, until it first waits for anything but an answer, or in a
    /// lane. Returns whether it has completed.
    fn begin(&mut self, state: &Arc<ClientState>, delivery: Delivery) -> bool {
        // The end of the last handler, if this one follows at once: the clock is read once for each.
        let ticket = Ticket::of(&delivery, self.lap.take().unwrap_or_else(clock::now));
        self.running.set(invoke::handle(Arc::clone(&self.dispatcher), Arc::clone(state), delivery));
        if self.permit.is_none() {
            self.permit = self.dispatcher.gate.try_enter();
        }
        if self.detector.is_in_lanes() || self.permit.is_none() {
            self.move_to_lane(state, ticket, false);
            return false;
        }
        let since = *self.since.get_or_insert_with(Stopwatch::start);
        let waits = self.link_context.link.waits();
        // A handler that moves to a lane is polled again there, with the waker of that task.
        let polled = self.running.poll(&mut Context::from_waker(self.waiting.next_waker()));
        let is_complete = polled.is_ready();
        match polled {
            Poll::Ready(outcome) => self.complete(state, ticket, outcome),
            Poll::Pending if waits != self.link_context.link.waits() => self.keep(state, ticket),
            Poll::Pending => self.move_to_lane(state, ticket, true),
        }
        if self.detector.polled() {
            self.check_clock(since);
        }
        is_complete
    }

    /// Records the outcome of a handler that completed here.
    fn complete(&mut self, state: &Arc<ClientState>, ticket: Ticket, outcome: Outcome) {
        let Ticket { shard, seq, is_last, began, .. } = ticket;
        let now = clock::now();
        self.took.record(now.saturating_duration_since(began));
        self.lap = Some(now);
        match outcome {
            Outcome::Done(scope) => {
                let link = &self.link_context.link;
                link.finish_with(shard, seq, scope.as_deref(), &mut self.finished);
            }
            Outcome::Left(event) => {
                state.leave(event, is_last);
                self.note_ending(state, is_last);
            }
        }
    }

    /// Keeps a handler that has just begun to wait for an answer. As long as one is kept, it counts
    /// as a running handler and as a lane.
    fn keep(&mut self, state: &Arc<ClientState>, ticket: Ticket) {
        self.started.note(ticket.shard, ticket.seq);
        state.wait();
        self.note_ending(state, ticket.is_last);
        self.link_context.in_flight.add(ticket.bytes);
        let next = self.waiting.spare();
        let running = mem::replace(&mut self.running, next);
        let handler = WaitingHandler { running, state: Arc::clone(state), ticket };
        self.waiting.keep(handler, || (self.dispatcher.gate.stay(), self.dispatcher.lanes.token()));
    }

    /// Continues the handlers that were woken.
    fn resume_handlers(&mut self) {
        let mut woken = self.waiting.take_woken();
        for place in woken.drain(..) {
            self.resume(place);
        }
        self.waiting.reuse(woken);
    }

    fn resume(&mut self, place: usize) {
        let Some(mut handler) = self.waiting.take(place) else { return };
        if self.detector.is_in_lanes() {
            self.continue_in_lane(handler);
            self.waiting.vacate(place);
            return;
        }
        let since = *self.since.get_or_insert_with(Stopwatch::start);
        let waits = self.link_context.link.waits();
        let polled = handler.running.poll(&mut Context::from_waker(self.waiting.waker(place)));
        match polled {
            Poll::Ready(outcome) => {
                let WaitingHandler { running, state, ticket } = handler;
                self.waiting.recycle(running);
                self.complete(&state, ticket, outcome);
                self.link_context.in_flight.remove(ticket.bytes);
                self.run_queued(state);
                self.waiting.vacate(place);
            }
            Poll::Pending if waits != self.link_context.link.waits() => {
                self.waiting.put_back(place, handler);
            }
            Poll::Pending => {
                self.continue_in_lane(handler);
                self.waiting.vacate(place);
            }
        }
        if self.detector.polled() {
            self.check_clock(since);
        }
    }

    /// Runs the events that a client has queued while its handler waited here.
    fn run_queued(&mut self, mut state: Arc<ClientState>) {
        loop {
            match state.next(self.dispatcher.busy()) {
                Next::Event(delivery) => {
                    self.link_context.in_flight.remove(in_flight::bytes(&delivery));
                    if state.is_isolated(&delivery) {
                        return self.begin_isolated(&state, delivery);
                    }
                    if !self.begin(&state, delivery) {
                        return;
                    }
                }
                Next::Successor(successor) => {
                    let nothing = Running::new(ready(Outcome::Done(None)));
                    state = successor;
                    return self.spawn_lane(state, Invocation::new(nothing, None, None), None);
                }
                Next::Nothing => return,
            }
        }
    }

    /// Continues a waiting handler in a lane.
    fn continue_in_lane(&self, handler: WaitingHandler) {
        let WaitingHandler { running, state, ticket } = handler;
        state.start_lane(self.dispatcher.busy());
        let permit = Some(self.dispatcher.gate.stay());
        self.spawn_lane(state, Invocation::new(running, self.computing(), permit), Some(ticket));
    }

    /// Limits how many handlers compute concurrently, if they compute for long.
    fn computing(&self) -> Option<PollSemaphore> {
        self.detector.is_in_lanes().then(|| self.dispatcher.computing.clone()).flatten()
    }

    fn spawn_lane(&self, state: Arc<ClientState>, invocation: Invocation, ticket: Option<Ticket>) {
        let lane = lane::run(Arc::clone(&self.dispatcher), state, invocation, ticket);
        supervise::spawn_tracked(&self.dispatcher.lanes, lane);
    }

    fn move_to_lane(&mut self, state: &Arc<ClientState>, ticket: Ticket, has_started: bool) {
        self.started.note(ticket.shard, ticket.seq);
        state.start_lane(self.dispatcher.busy());
        self.note_ending(state, ticket.is_last);
        self.link_context.in_flight.add(ticket.bytes);
        let next = Running::new(ready(Outcome::Done(None)));
        let running = mem::replace(&mut self.running, next);
        let permit = has_started.then(|| self.dispatcher.gate.stay());
        let invocation = Invocation::new(running, self.computing(), permit);
        self.spawn_lane(Arc::clone(state), invocation, Some(ticket));
    }

    /// Starts an event's handler in a lane, where it waits until it may run isolated.
    fn begin_isolated(&mut self, state: &Arc<ClientState>, delivery: Delivery) {
        let ticket = Ticket { is_isolated: true, ..Ticket::of(&delivery, clock::now()) };
        self.running.set(invoke::handle(Arc::clone(&self.dispatcher), Arc::clone(state), delivery));
        self.move_to_lane(state, ticket, false);
    }

    /// Queues an event of a client that is busy.
    fn queue(&mut self, state: Arc<ClientState>, delivery: Delivery) {
        self.started.note(delivery.shard, delivery.seq);
        let bytes = in_flight::bytes(&delivery);
        let last = is_last(&delivery.event);
        match state.queue(delivery) {
            // The lane has just ended.
            Queued::NotBusy(delivery) if state.is_isolated(&delivery) => {
                self.begin_isolated(&state, delivery);
            }
            Queued::NotBusy(delivery) => {
                self.begin(&state, delivery);
            }
            Queued::Waits => {
                self.link_context.in_flight.add(bytes);
                self.note_ending(&state, last);
            }
            Queued::Left => self.note_ending(&state, last),
        }
    }

    /// Keeps a client in mind whose last event is not handled yet: its gateway may die before.
    fn note_ending(&mut self, state: &Arc<ClientState>, last: bool) {
        if !last || !state.keep() {
            return;
        }
        if self.ending.len() == self.ending.capacity() {
            self.ending.retain(|state| state.has_events());
        }
        self.ending.push(Arc::clone(state));
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
impl<W: Worker> Drop for EventReceiver<W> {
    fn drop(&mut self) {
        let (waiting, _held) = self.waiting.take_all();
        // Without a runtime, the process ends.
        if Handle::try_current().is_ok() {
            waiting.into_iter().for_each(|handler| self.continue_in_lane(handler));
        }
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
        let is_busy = state.note_event(&delivery);
        if matches!(delivery.event, Event::Reassigned) {
            state
                .session_cache()
                .synchronize(delivery.edits, delivery.context.map(|context| context.session));
            self.finished.add(delivery.shard, delivery.seq);
            return;
        }
        self.counts.add(&delivery.event);
        match is_busy {
            false => {
                self.begin(&state, delivery);
            }
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
        let is_busy = state.note_event(&delivery);
        self.counts.add(&delivery.event);
        match is_busy {
            false => self.begin_isolated(&state, delivery),
            true => self.queue(state, delivery),
        }
    }

    fn report(&mut self) {
        self.link_context.link.finished(&mut self.finished);
    }

    fn begin_batch(&mut self) {
        self.lap = None;
        self.waiting.stay_awake();
    }

    fn answered(&mut self) {
        self.resume_handlers();
    }

    fn poll_woken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.waiting.poll_woken(cx)
    }

    fn end_batch(&mut self) -> Option<Room> {
        self.resume_handlers();
        self.permit = None;
        for (shard, through) in self.started.take() {
            self.link_context.link.report_started(shard, through);
        }
        self.link_context.link.finished(&mut self.finished);
        self.dispatcher.metrics.count(&mut self.counts);
        self.dispatcher.metrics.took.add(&mut self.took);
        self.lap = None;
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
