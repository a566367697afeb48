//! Who is let in, to which shard, and how a connection becomes a client.

use std::collections::VecDeque;

use protocol::Event;
use service::clock;

use super::{
    Arrival, Shard,
    connection::{Connection, Key, Pause, Phase},
};
use crate::{
    framing::{Decoder, Framing},
    settings::NoWorker,
};

/// How far a shard may be over its window before it gets no more connections.
const OVER: usize = 2;

/// How many of those that wait for room are looked at in one turn.
const NEWCOMERS: usize = 32;

/// Why no more connections are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// `--max-handshakes` are pending.
    Handshakes,
    /// There are `--max-connections`.
    Connections,
    /// The other files that the process may have open are kept for peers and admin pages.
    Descriptors,
    /// Workers have as much to do as they may have, or clients hold too much memory, on every thread.
    Shards,
}

impl Full {
    /// As metrics and logs name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Handshakes => "handshakes",
            Self::Connections => "connections",
            Self::Descriptors => "descriptors",
            Self::Shards => "backpressure",
        }
    }
}

impl Shard {
    /// Takes a connection in. Poll it with [`poll`](Self::poll) until it is over.
    pub(super) fn accept(&mut self, arrival: Arrival) -> Option<Key> {
        let Arrival { stream, remote, door } = arrival;
        let stream = match (self.doors[door].tls, &self.settings.tls) {
            _ if self.drain.is_some() => None,
            (false, _) => Some(stream.into()),
            (true, tls) => tls.as_ref().and_then(|tls| tls.accept(stream).ok()),
        };
        let Some(stream) = stream else {
            self.give_back(self.index.into(), door);
            return None;
        };
        let door = std::rc::Rc::clone(&self.doors[door]);
        self.host.metrics.connections.inc();
        self.host.metrics.open.inc();
        let framing = door.framing;
        let key = self.connections.insert(Connection::new(stream, remote, door)) as Key;
        if framing != Framing::WebSocket {
            self.connections[key as usize].phase = Phase::Open(Decoder::new(framing));
        } else if self.settings.ways.client_at_accept {
            self.set_deadline(key, self.settings.handshake_timeout);
        } else {
            self.await_first_request(key);
        }
        if self.is_unannounced(key) {
            let _ = self.announce(key);
        }
        Some(key)
    }

    /// Takes a place for one more connection, on whichever shard. It counts from here on, so that no
    /// more than may be are on their way to their shards.
    ///
    /// # Errors
    /// When no more connections are accepted for now.
    pub(super) fn place(&self, door: usize) -> Result<usize, Full> {
        let host = &self.host;
        let requests = usize::try_from(host.metrics.requests.get()).unwrap_or(0);
        let most = self.settings.max_connections.unwrap_or(usize::MAX);
        if self.settings.max_requests <= requests {
            return Err(Full::Handshakes);
        }
        match host.places.taken() {
            taken if most <= taken => return Err(Full::Connections),
            taken if host.descriptors.clients <= taken => return Err(Full::Descriptors),
            _ => {}
        }
        let place = host.places.take().ok_or(Full::Shards)?;
        if self.doors[door].framing == Framing::WebSocket {
            host.metrics.requests.inc();
        }
        Ok(place)
    }

    /// No more connections are accepted until there is a place. Counted, and logged at most once a
    /// second.
    pub(super) fn accepting_pauses(&mut self, why: Full) {
        self.host.metrics.count_pause(why.name());
        if let Some(suppressed) = self.warnings.full.admit(clock::now()) {
            let (reason, connections) = (why.name(), self.host.places.taken());
            tracing::warn!(
                reason,
                connections,
                suppressed,
                "no more connections are accepted for now"
            );
        }
    }

    /// Gives a place back that was taken for a connection which never came to its shard.
    pub(super) fn give_back(&self, place: usize, door: usize) {
        self.host.places.leave(place);
        if self.doors[door].framing == Framing::WebSocket {
            self.host.metrics.requests.dec();
        }
    }

    /// A connection of this shard is over.
    pub(super) fn leave_place(&self) {
        self.host.places.leave(usize::from(self.index));
    }

    /// Says whether this shard should get nobody else: so much waits for a worker, every worker has so
    /// much to do, or clients make it hold so much.
    pub(super) fn tell_crowded(&self) {
        let (workers, room) = (&self.workers, self.room());
        let crowded = self.window().saturating_mul(OVER) < self.limbo.len()
            || self.budget.is_pressed()
            || !workers.is_empty() && !workers.any_has_room(room);
        self.host.places.set_crowded(usize::from(self.index), crowded);
    }

    /// Whether a connection is to be made a client before anything is read from it. One that speaks
    /// HTTP may want only a page, or be a health check.
    pub(super) fn is_unannounced(&self, key: Key) -> bool {
        let connection = &self.connections[key as usize];
        let is_new = matches!(connection.phase, Phase::Request(_) | Phase::Open(_));
        let may_want_a_page =
            connection.door.framing == Framing::WebSocket && !self.settings.ways.client_at_accept;
        is_new && connection.id.is_none() && !may_want_a_page
    }

    /// Makes a connection a client if its events have a place, or leaves it unread until they have.
    pub(super) fn announce(&mut self, key: Key) -> bool {
        let has_room = self.has_room_for(key);
        if has_room {
            self.introduce(key)
        } else {
            self.hold_newcomer(key)
        }
        has_room
    }

    /// Whether there is room for the first events of a client, which are told unasked: a worker that it
    /// may be given, or the queue for one, has not all that it may have.
    pub(super) fn has_room_for(&self, key: Key) -> bool {
        let connection = &self.connections[key as usize];
        let room = self.room();
        match connection.route.filter(|link| self.workers.holds(*link)) {
            Some(link) => self.workers.has_room(link, room),
            None if self.workers.is_empty() => self.limbo.len() <= self.windows().in_all,
            None => self.workers.have_room(self.settings.router, connection.remote.ip(), room),
        }
    }

    /// Leaves a connection unread that is to become a client, until there is room.
    pub(super) fn hold_newcomer(&mut self, key: Key) {
        self.connections[key as usize].paused = Some(Pause::Full);
        self.newcomers.push_back(key);
        // That it waits is not its fault, and does not count as its handshake.
        let patience = match self.settings.no_worker {
            NoWorker::Wait(patience) if self.workers.is_empty() => patience,
            NoWorker::Wait(_) | NoWorker::Destroy => None,
        };
        self.set_deadline(key, patience);
    }

    /// Lets those become clients that waited for room, a few at a time.
    pub(super) fn admit_newcomers(&mut self) {
        for _ in 0..self.newcomers.len().min(NEWCOMERS) {
            let Some(key) = self.newcomers.pop_front() else {
                return;
            };
            let connection = self.connections.get(key as usize);
            let waits = connection.is_some_and(|it| it.paused.is_some());
            if waits && !self.has_room_for(key) {
                self.newcomers.push_back(key);
            } else if waits {
                if matches!(self.connections[key as usize].phase, Phase::Request(_)) {
                    self.set_deadline(key, self.settings.handshake_timeout);
                }
                self.resume([key]);
            }
        }
        if self.newcomers.is_empty() {
            self.newcomers = VecDeque::new();
        }
    }

    /// Makes a connection a client: from here on it has a name, and a worker hears of it.
    pub(super) fn introduce(&mut self, key: Key) {
        let id = self.ids.next(|id| self.directory.get(id).is_some());
        self.directory.insert(id, self.host.ordinal(), key);
        let since = self.age();
        let connection = &mut self.connections[key as usize];
        (connection.id, connection.since) = (Some(id), since);
        let connection = &self.connections[key as usize];
        tracing::debug!(
            client = %self.client_id(id),
            remote = %connection.remote,
            listener = %connection.door.addr,
            "client connected"
        );
        self.host.metrics.clients.inc();
        self.emit(key, Event::Connect, &[]);
    }
}
