//! Who is let in, to which shard, and how a connection becomes a client.

use protocol::Event;
use service::clock;

use super::{
    Arrival, Shard,
    connection::{Connection, Key, Phase},
};
use crate::framing::{Decoder, Framing};

/// How far a shard may be over its window before it gets no more connections.
const FULL: usize = 2;

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
            self.introduce(key);
        } else if self.settings.ways.client_at_accept {
            self.await_request(key);
            self.introduce(key);
        } else {
            self.await_first_request(key);
        }
        Some(key)
    }

    /// A request must come in time, if that is limited.
    pub(super) fn await_request(&mut self, key: Key) {
        let timeout = self.settings.handshake_timeout;
        self.connections[key as usize].deadline =
            timeout.map(|timeout| self.deadlines.set(clock::now(), timeout, key));
    }

    /// Takes a place for one more connection, on whichever shard; `None` if nobody should be let in:
    /// there are so many already, or all shards are [crowded](Self::tell_crowded). It counts from
    /// here on, so that no more than may be are on their way to their shards.
    pub(super) fn place(&self, door: usize) -> Option<usize> {
        let host = &self.host;
        let requests = usize::try_from(host.metrics.requests.get()).unwrap_or(0);
        let most = self.settings.max_connections;
        let is_full = self.settings.max_requests <= requests
            || most.is_some_and(|most| most <= host.places.taken());
        if is_full {
            return None;
        }
        let place = host.places.take()?;
        if self.doors[door].framing == Framing::WebSocket {
            host.metrics.requests.inc();
        }
        Some(place)
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

    /// Says whether this shard should get nobody else: so much waits for a worker, or clients make it
    /// hold so much.
    pub(super) fn tell_crowded(&self) {
        let crowded =
            self.window().saturating_mul(FULL) < self.limbo.len() || self.budget.is_pressed();
        self.host.places.set_crowded(usize::from(self.index), crowded);
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
