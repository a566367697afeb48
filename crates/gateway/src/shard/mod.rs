//! A shard: the clients of one thread, their indexes, and the events queued for workers.
//!
//! A shard owns its state exclusively: it takes no locks and never blocks. It applies a message
//! from the hub, or input from a socket, immediately; output is collected and written once the
//! thread has processed everything that was ready (see [`Shard::run_once`]). Threads exchange
//! messages in batches.

mod admission;
mod answers;
mod budget;
mod clients;
mod commands;
mod connection;
mod deadlines;
mod delivery_queue;
mod directory;
mod drain;
mod event_loop;
mod events;
mod fan_out;
mod flow_control;
mod ids;
mod load_shedding;
mod memberships;
mod pages;
mod pass;
mod poison;
mod poison_delivery;
mod quantum;
mod requests;
mod roster;
mod run;
mod standby;
mod stored_session;
mod sweep;
mod targets;
#[cfg(test)]
mod test_shard;
mod warnings;
mod work;
mod workers;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use protocol::{ClientId, ConnectionId};
use runtime::{
    clock,
    net::{self, TcpStream},
    random,
};
use rustc_hash::FxHashMap;
use slab::Slab;

use self::{
    answers::Answered,
    budget::Budget,
    connection::{Connection, Phase, SlotKey},
    deadlines::Deadlines,
    delivery_queue::DeliveryQueue,
    directory::Directory,
    drain::Drain,
    fan_out::FanOut,
    ids::ConnectionIds,
    pass::Pass,
    poison::PoisonDetector,
    standby::ClosingClient,
    targets::Found,
    warnings::Warnings,
    work::Work,
    workers::Workers,
};
use crate::{
    closed::CloseCause,
    settings::{Listener, Settings},
    thread_messages::{Content, GatewayState, PeerProtocol, ToHub, ToShard, Token},
};

pub(crate) use self::run::run;

/// Size of the read buffer, and the maximum number of bytes per socket read.
const SCRATCH: usize = 64 * 1024;

/// The clients of one thread and their state.
#[derive(Debug)]
pub(crate) struct Shard {
    index: u16,
    started: Instant,
    gateway: Arc<GatewayState>,
    settings: Arc<Settings>,
    listeners: Vec<Rc<Listener>>,
    ids: ConnectionIds,
    directory: Directory<SlotKey>,
    connections: Slab<Connection>,
    /// The linked workers and their delivery queues.
    workers: Workers,
    /// Events without a worker.
    unassigned: DeliveryQueue,
    /// Events that may have terminated worker processes.
    suspects: PoisonDetector,
    /// Standbys of disconnected clients, until a worker has acknowledged the close event.
    closing_standbys: FxHashMap<ConnectionId, ClosingClient>,
    /// The next connection that the sweep checks for a missing owner or standby, while one is
    /// running.
    standby_sweep: Option<usize>,
    deadlines: Deadlines,
    /// Connections with queued output.
    dirty: Vec<SlotKey>,
    /// Bytes queued since `dirty` was last flushed.
    unwritten: usize,
    /// Connections with queued output of a fan-out message.
    fan_out: FanOut,
    budget: Budget,
    /// Connections to be registered as clients once there is room for their events.
    pending_clients: VecDeque<SlotKey>,
    /// The fair queue: connections with more input, resumed round-robin.
    run_queue: VecDeque<SlotKey>,
    /// Connections whose reads are paused by memory pressure.
    held_back: VecDeque<SlotKey>,
    /// Connections of `held_back` that were resumed to complete their message.
    resumed: Vec<SlotKey>,
    /// The memory pressure that was last reported to the hub.
    reported_pressure: bool,
    /// Messages from the hub that are not applied yet.
    inbox: VecDeque<ToShard>,
    /// The sliced command or query in progress.
    work: Option<Work>,
    /// Scratch buffer for the clients that a command addresses.
    found: Vec<Found<SlotKey>>,
    /// Progress of the heartbeat sweep and of the WebSocket ping sweep.
    heartbeats: Pass,
    pings: Pass,
    /// Barriers to report to the hub after the events of this pass.
    barriers: Vec<Token>,
    /// Read buffer, shared by all sockets.
    scratch: Box<[u8]>,
    tally: Tally,
    /// The directory statistics that were last published.
    content: Content,
    warnings: Warnings,
    /// Whether a pass is scheduled already.
    scheduled: bool,
    waker: Option<Waker>,
    /// Set during graceful shutdown.
    drain: Option<Drain>,
}

/// A connection accepted for this shard.
#[derive(Debug)]
pub(crate) struct Accepted {
    stream: TcpStream,
    remote: SocketAddr,
    /// Index of the listener that accepted it.
    listener: usize,
}

/// Counts not yet added to the metrics. Shards share the metrics, so updating them per message
/// would cause contention.
#[derive(Debug, Default)]
struct Tally {
    messages_in: u64,
    messages_out: u64,
    dropped: u64,
    pings: u64,
    events: u64,
    redelivered: u64,
    over_budget: u64,
    clients: usize,
    events_dropped: u64,
    held: usize,
    in_flight: usize,
    standby_updates: usize,
}

impl Shard {
    pub(crate) fn new(
        index: u16,
        gateway: Arc<GatewayState>,
        settings: Arc<Settings>,
        listeners: Vec<Listener>,
        dice: u32,
    ) -> Self {
        let (number, shards) = (u32::from(index), gateway.shards.len() as u32);
        let ids = match settings.compat_behavior.randomize_ids {
            true => ConnectionIds::random_start(number, shards, dice),
            false => ConnectionIds::from_one(number, shards),
        };
        Self {
            index,
            started: clock::now(),
            listeners: listeners.into_iter().map(Rc::new).collect(),
            ids,
            directory: Directory::new(),
            connections: Slab::new(),
            workers: Workers::default(),
            unassigned: DeliveryQueue::new(index, PeerProtocol::Native, gateway.address),
            suspects: PoisonDetector::new(settings.max_delivery_attempts),
            closing_standbys: FxHashMap::default(),
            standby_sweep: None,
            deadlines: Deadlines::default(),
            dirty: Vec::new(),
            unwritten: 0,
            fan_out: FanOut::default(),
            budget: Budget::new(settings.memory),
            pending_clients: VecDeque::new(),
            run_queue: VecDeque::new(),
            held_back: VecDeque::new(),
            resumed: Vec::new(),
            reported_pressure: false,
            inbox: VecDeque::new(),
            work: None,
            found: Vec::new(),
            heartbeats: Pass::default(),
            pings: Pass::default(),
            barriers: Vec::new(),
            scratch: vec![0; SCRATCH].into(),
            tally: Tally::default(),
            content: Content::default(),
            warnings: Warnings::default(),
            scheduled: false,
            waker: None,
            drain: None,
            gateway,
            settings,
        }
    }

    /// Schedules [`run_once`](Self::run_once) after everything that is ready.
    fn schedule_flush(&mut self) {
        if !self.scheduled {
            self.scheduled = true;
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Flushes every connection with queued output, but at most `of_fan_out` of those with only
    /// fan-out output.
    fn write(&mut self, of_fan_out: usize) {
        self.write_dirty();
        for _ in 0..of_fan_out {
            let Some(key) = self.fan_out.next() else {
                break;
            };
            if let Some(connection) = self.connections.get_mut(key as usize) {
                connection.in_fan_out = false;
                self.flush(key);
            }
        }
        self.write_dirty();
    }

    /// Flushes the connections in `dirty`.
    fn write_dirty(&mut self) {
        // A broken socket emits an event, and so causes more to flush at most once.
        while !self.dirty.is_empty() {
            let mut dirty = std::mem::take(&mut self.dirty);
            for key in dirty.drain(..) {
                self.flush(key);
            }
            if self.dirty.is_empty() {
                self.dirty = dirty;
                break;
            }
        }
        self.unwritten = 0;
    }

    fn handle(&mut self, message: ToShard, arrived: &mut Vec<Accepted>) {
        match message {
            ToShard::Accepted { stream, remote, listener } => match net::take_over(stream) {
                Ok(stream) => arrived.push(Accepted { stream, remote, listener }),
                Err(error) => {
                    tracing::error!(%error, "failed to take over an accepted connection");
                    self.return_place(self.index.into(), listener);
                }
            },
            ToShard::Command { from, ordinal, command } => self.apply(from, ordinal, command),
            ToShard::Query { token, query, in_php } => {
                match answers::answer(&mut self.directory, query, in_php, self.gateway.ordinal()) {
                    Answered::Now(part) => {
                        self.gateway.hub.push(ToHub::PartialAnswer { token, part })
                    }
                    Answered::Slices(enumeration) => {
                        self.begin(Work::Enumerate { token, enumeration });
                    }
                }
            }
            ToShard::Barrier { token } => self.barriers.push(token),
            ToShard::WorkerUp { link, worker } => self.worker_up(link, worker),
            ToShard::WorkerLeaving { link } => self.worker_leaving(link),
            ToShard::WorkerDown { link, end } => self.worker_down(link, end),
            ToShard::HandlerStarted { link, seq, alone } => self.handler_started(link, seq, alone),
            ToShard::EventStarted { link, through } => self.event_started(link, through),
            ToShard::EventAck { link, first, last } => self.event_ack(link, first, last),
            ToShard::StandbyWritten { link, through } => self.standby_written(link, through),
            ToShard::Drain { grace } => self.drain(grace),
        }
    }

    /// Starts to close every connection; see [`close_due`](Self::close_due). Nothing is accepted
    /// any more when this is called.
    fn drain(&mut self, grace: Duration) {
        let all = self.connections.iter().map(|(key, connection)| (key as SlotKey, connection));
        let (open, pending): (Vec<_>, Vec<_>) =
            all.partition(|(_, connection)| matches!(connection.phase, Phase::Open(_)));
        let keys = |connections: Vec<(SlotKey, &Connection)>| {
            connections.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        let (open, pending) = (keys(open), keys(pending));
        let now = clock::now();
        let shards = self.gateway.shards.len();
        self.drain = Some(Drain::new(open, shards, grace, now, &mut random::rng()));
        for key in pending {
            // Without a completed handshake, no close frame can be sent.
            self.close(key, CloseCause::ShuttingDown { retry_after: Duration::ZERO });
        }
        self.close_due(now);
    }

    /// Closes the clients that are due, during graceful shutdown.
    pub(crate) fn close_due(&mut self, now: Instant) {
        let dice = &mut random::rng();
        let Some(drain) = &mut self.drain else {
            return;
        };
        let due = drain.due(now).into_iter();
        let due = due.map(|key| (key, drain.retry_after(dice))).collect::<Vec<_>>();
        for (key, retry_after) in due {
            // The client may have disconnected. Its slot is not reused, since nothing is accepted
            // now.
            if self.connections.contains(key as usize) {
                self.close_going_away(key, retry_after);
            }
        }
    }

    /// The client id as it appears in logs and for peers.
    fn client_id(&self, id: ConnectionId) -> ClientId {
        ClientId::new(self.gateway.address, id)
    }

    /// Age of this shard in tenths of a second: precise enough for a client's session length, and
    /// compact.
    fn age(&self) -> u32 {
        let age = clock::now().saturating_duration_since(self.started).as_millis() / 100;
        u32::try_from(age).unwrap_or(u32::MAX)
    }

    /// Adds the tally to the metrics.
    fn report(&mut self) {
        let (metrics, tally) = (&self.gateway.metrics, std::mem::take(&mut self.tally));
        for (counter, count) in [
            (&metrics.messages_in, tally.messages_in),
            (&metrics.messages_out, tally.messages_out),
            (&metrics.messages_dropped, tally.dropped),
            (&metrics.pings, tally.pings),
            (&metrics.events, tally.events),
            (&metrics.redelivered, tally.redelivered),
            (&metrics.over_budget, tally.over_budget),
            (&metrics.events_dropped, tally.events_dropped),
        ] {
            if count != 0 {
                counter.inc_by(count);
            }
        }
        if let Some((client, error)) = self.directory.take_refused()
            && let Some(suppressed) = self.warnings.session.admit(clock::now())
        {
            let client = self.client_id(client);
            tracing::warn!(%client, %error, suppressed, "session update rejected");
        }
        if self.content != *self.directory.content() {
            self.content = *self.directory.content();
            self.gateway.set_content(self.index.into(), &self.content);
        }
        let held = self.unassigned.len() + self.suspects.bytes();
        let in_flight = self.workers.in_flight();
        let clients = self.budget.used();
        let standby_updates = self.workers.standby_updates();
        for (gauge, before, after) in [
            (&metrics.client_bytes, tally.clients, clients),
            (&metrics.held, tally.held, held),
            (&metrics.in_flight, tally.in_flight, in_flight),
            (&metrics.standby_updates, tally.standby_updates, standby_updates),
        ] {
            if before != after {
                gauge.inc_by(after as i64 - before as i64);
            }
        }
        self.tally = Tally { clients, held, in_flight, standby_updates, ..Tally::default() };
    }
}
