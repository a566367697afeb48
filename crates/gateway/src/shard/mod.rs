//! A shard: one thread's clients, their indexes, and the events on their way to workers.
//!
//! A shard owns all this outright. Nothing here locks or waits: whatever a shard is told, or reads
//! from a socket, it carries out on the spot, and what goes out is collected and written once the
//! thread has done everything that was there to do (see [`Shard::turn`]). What crosses between
//! threads crosses in batches.

mod admission;
mod answers;
mod budget;
mod clients;
mod commands;
mod connection;
mod deadlines;
mod directory;
mod drain;
mod events;
mod fan_out;
mod heartbeat;
mod ids;
mod memberships;
mod outlet;
mod pages;
mod pass;
mod quantum;
mod relief;
mod requests;
mod roster;
mod routing;
mod run;
mod share;
#[cfg(test)]
mod stage;
mod standby;
mod stored_session;
mod suspects;
mod sweep;
mod targets;
mod trials;
mod turn;
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
use rustc_hash::FxHashMap;
use service::{
    clock, dice,
    net::{self, TcpStream},
};
use slab::Slab;

use self::{
    answers::Answered,
    budget::Budget,
    connection::{Connection, Key, Phase},
    deadlines::Deadlines,
    directory::Directory,
    drain::Drain,
    fan_out::FanOut,
    ids::ConnectionIds,
    outlet::Outlet,
    pass::Pass,
    standby::Departed,
    suspects::Suspects,
    targets::Found,
    warnings::Warnings,
    work::Work,
    workers::Workers,
};
use crate::{
    closed::Closed,
    exchange::{Content, Host, Language, ToHub, ToShard, Token},
    settings::{Door, Settings},
};

pub(crate) use self::{
    directory::Ordinal,
    heartbeat::{Heartbeat, Life, MAX_LIMIT, Ping, WebSocketPing},
    routing::Router,
    run::run,
    standby::MAX_STANDBYS,
};

/// How many bytes are read from a socket at a time.
const SCRATCH: usize = 64 * 1024;

/// One thread's clients and all that concerns them.
#[derive(Debug)]
pub(crate) struct Shard {
    index: u16,
    started: Instant,
    host: Arc<Host>,
    settings: Arc<Settings>,
    doors: Vec<Rc<Door>>,
    ids: ConnectionIds,
    directory: Directory<Key>,
    connections: Slab<Connection>,
    /// The workers that are linked, and the events on their way to each.
    workers: Workers,
    /// Events that wait for a worker.
    limbo: Outlet,
    /// Events that worker processes may have ended over.
    suspects: Suspects,
    /// The standbys of clients that are gone, until a worker is done with the end of them.
    departed: FxHashMap<ConnectionId, Departed>,
    /// The next client to look at for whether it lacks an owner or a standby, while some may.
    standby_sweep: Option<usize>,
    deadlines: Deadlines,
    /// Connections with something to write.
    dirty: Vec<Key>,
    /// Bytes queued since they were last written to.
    unwritten: usize,
    /// Connections that a message for many was queued for.
    fan_out: FanOut,
    budget: Budget,
    /// Connections that wait to become clients until there is room for their events.
    newcomers: VecDeque<Key>,
    /// Connections that have more to say, and wait until it is their turn.
    run_queue: VecDeque<Key>,
    /// Connections that are left unread because clients make us hold too much.
    held_back: VecDeque<Key>,
    /// Those of them whose turn it is.
    turns: Vec<Key>,
    /// Whether the hub knows that they do.
    told_pressed: bool,
    /// What the hub has said and is not carried out yet.
    told: VecDeque<ToShard>,
    /// What of that is under way.
    work: Option<Work>,
    /// Where the clients that a command is for are found.
    found: Vec<Found<Key>>,
    /// How far all clients were looked at for the heartbeat, and for WebSocket pings.
    beats: Pass,
    pings: Pass,
    /// What the hub is to be told behind the events of this turn.
    barriers: Vec<Token>,
    /// Where sockets are read to.
    scratch: Box<[u8]>,
    tally: Tally,
    /// What others know of the directory.
    content: Content,
    warnings: Warnings,
    /// Whether the turn is called already, and whom to wake for it.
    called: bool,
    waker: Option<Waker>,
    /// Set once the gateway goes down.
    drain: Option<Drain>,
}

/// A connection that was accepted for this shard.
#[derive(Debug)]
pub(crate) struct Arrival {
    stream: TcpStream,
    remote: SocketAddr,
    /// Which of the doors it came in by.
    door: usize,
}

/// What was counted since it was last added to the metrics: shards share those, and should not
/// fight over them for each message.
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
        host: Arc<Host>,
        settings: Arc<Settings>,
        doors: Vec<Door>,
        dice: u32,
    ) -> Self {
        let (number, shards) = (u32::from(index), host.shards.len() as u32);
        let ids = match settings.ways.ids_anywhere {
            true => ConnectionIds::anywhere(number, shards, dice),
            false => ConnectionIds::from_one(number, shards),
        };
        Self {
            index,
            started: clock::now(),
            doors: doors.into_iter().map(Rc::new).collect(),
            ids,
            directory: Directory::new(),
            connections: Slab::new(),
            workers: Workers::default(),
            limbo: Outlet::new(index, Language::Native, host.address),
            suspects: Suspects::new(settings.max_delivery_attempts),
            departed: FxHashMap::default(),
            standby_sweep: None,
            deadlines: Deadlines::default(),
            dirty: Vec::new(),
            unwritten: 0,
            fan_out: FanOut::default(),
            budget: Budget::new(settings.memory),
            newcomers: VecDeque::new(),
            run_queue: VecDeque::new(),
            held_back: VecDeque::new(),
            turns: Vec::new(),
            told_pressed: false,
            told: VecDeque::new(),
            work: None,
            found: Vec::new(),
            beats: Pass::default(),
            pings: Pass::default(),
            barriers: Vec::new(),
            scratch: vec![0; SCRATCH].into(),
            tally: Tally::default(),
            content: Content::default(),
            warnings: Warnings::default(),
            called: false,
            waker: None,
            drain: None,
            host,
            settings,
        }
    }

    /// Has [`turn`](Self::turn) called once everything that is there to do is done.
    fn call(&mut self) {
        if !self.called {
            self.called = true;
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Writes to every connection that something was queued for; of those that a message for many was
    /// queued for, to so many.
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

    /// Writes to those that wait for nobody else.
    fn write_dirty(&mut self) {
        // A socket that turns out to be broken brings an event, and so more to flush at most once.
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

    fn take(&mut self, message: ToShard, arrived: &mut Vec<Arrival>) {
        match message {
            ToShard::Accepted { stream, remote, door } => match net::take_over(stream) {
                Ok(stream) => arrived.push(Arrival { stream, remote, door }),
                Err(error) => {
                    tracing::error!(%error, "a connection could not be taken over");
                    self.give_back(self.index.into(), door);
                }
            },
            ToShard::Command { from, ordinal, command } => self.apply(from, ordinal, command),
            ToShard::Query { token, query, in_php } => {
                match answers::answer(&mut self.directory, query, in_php, self.host.ordinal()) {
                    Answered::Now(part) => self.host.hub.push(ToHub::Part { token, part }),
                    Answered::Slices(enumeration) => {
                        self.begin(Work::Enumerate { token, enumeration });
                    }
                }
            }
            ToShard::Barrier { token } => self.barriers.push(token),
            ToShard::WorkerUp { link, worker } => self.worker_up(link, worker),
            ToShard::WorkerLeaving { link } => self.worker_leaving(link),
            ToShard::WorkerDown { link, end } => self.worker_down(link, end),
            ToShard::Trying { link, seq, alone } => self.trying(link, seq, alone),
            ToShard::Begun { link, through } => self.begun(link, through),
            ToShard::Done { link, first, last } => self.done(link, first, last),
            ToShard::StandbyWritten { link, through } => self.standby_written(link, through),
            ToShard::Drain { grace } => self.drain(grace),
        }
    }

    /// Begins to close every connection; see [`close_due`](Self::close_due). Nothing is accepted
    /// any more when this is called.
    fn drain(&mut self, grace: Duration) {
        let all = self.connections.iter().map(|(key, connection)| (key as Key, connection));
        let (open, others): (Vec<_>, Vec<_>) =
            all.partition(|(_, connection)| matches!(connection.phase, Phase::Open(_)));
        let keys = |connections: Vec<(Key, &Connection)>| {
            connections.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        let (open, others) = (keys(open), keys(others));
        let now = clock::now();
        let shards = self.host.shards.len();
        self.drain = Some(Drain::new(open, shards, grace, now, &mut dice::rng()));
        for key in others {
            // Who has no WebSocket yet would not understand a word.
            self.end(key, Closed::ShuttingDown { retry_after: Duration::ZERO });
        }
        self.close_due(now);
    }

    /// Closes the clients whose turn has come, while the gateway goes down.
    pub(crate) fn close_due(&mut self, now: Instant) {
        let dice = &mut dice::rng();
        let Some(drain) = &mut self.drain else {
            return;
        };
        let due = drain.due(now).into_iter();
        let due = due.map(|key| (key, drain.retry_after(dice))).collect::<Vec<_>>();
        for (key, retry_after) in due {
            // It may have left by itself; its place is not taken again, since nobody is let in.
            if self.connections.contains(key as usize) {
                self.dismiss(key, retry_after);
            }
        }
    }

    /// A client as logs name it, and everybody else.
    fn client_id(&self, id: ConnectionId) -> ClientId {
        ClientId::new(self.host.address, id)
    }

    /// How old this shard is, in tenths of a second: enough for how long a client stays, in little room.
    fn age(&self) -> u32 {
        let age = clock::now().saturating_duration_since(self.started).as_millis() / 100;
        u32::try_from(age).unwrap_or(u32::MAX)
    }

    /// Adds what was counted to the metrics.
    fn report(&mut self) {
        let (metrics, tally) = (&self.host.metrics, std::mem::take(&mut self.tally));
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
            tracing::warn!(%client, %error, suppressed, "session left as it was");
        }
        if self.content != *self.directory.content() {
            self.content = *self.directory.content();
            self.host.set_content(self.index.into(), &self.content);
        }
        let held = self.limbo.len() + self.suspects.bytes();
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
