//! Traces: pushes whose steps an operator has asked for, until they are written. A value.
//!
//! Without an open trace, a write to a socket costs one branch.

use std::time::{Duration, Instant};

use protocol::{
    ConnectionId,
    inspect::{MAX_TRACED, TracedFate},
};

use super::slot::SlotKey;
use crate::{
    inspection::{ShardTrace, micros},
    thread_messages::Token,
};

/// The open traces of a shard. The hub limits their number.
#[derive(Debug, Default)]
pub(super) struct Traces {
    open: Vec<OpenTrace>,
}

#[derive(Debug)]
struct OpenTrace {
    token: Token,
    taken: Instant,
    deadline: Instant,
    matched: u64,
    /// Whether the push is queued for all of its clients.
    complete: bool,
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    key: SlotKey,
    id: ConnectionId,
    queued: Instant,
    queue_bytes: u64,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// So many bytes of the write queue are up to the end of the push.
    Waits(usize),
    /// The write queue is empty up to there, and TLS has bytes that the socket has not taken.
    Encrypted,
    Over(TracedFate),
}

/// A push that was queued for a client, or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    pub(super) key: SlotKey,
    pub(super) id: ConnectionId,
    /// When it was queued.
    pub(super) at: Instant,
    /// Bytes that were queued before it.
    pub(super) queue_bytes: usize,
    /// Its fate, if that is known already; otherwise the bytes of the write queue up to its end.
    pub(super) fate: Result<TracedFate, usize>,
}

impl Traces {
    /// Whether none is open.
    pub(super) const fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Opens a trace that is answered at the deadline at the latest.
    pub(super) fn open(&mut self, token: Token, taken: Instant, wait: Duration) {
        let deadline = taken + wait;
        let (matched, complete, clients) = (0, false, Vec::new());
        self.open.push(OpenTrace { token, taken, deadline, matched, complete, clients });
    }

    /// Adds a client.
    pub(super) fn queued(&mut self, token: Token, queued: Queued) {
        let Some(trace) = self.open.iter_mut().find(|trace| trace.token == token) else { return };
        trace.matched += 1;
        if trace.clients.len() < MAX_TRACED {
            let Queued { key, id, at, queue_bytes, fate } = queued;
            let state = fate.map_or_else(State::Waits, State::Over);
            let queue_bytes = queue_bytes as u64;
            trace.clients.push(Client { key, id, queued: at, queue_bytes, state });
        }
    }

    /// The push is queued for all clients of a trace.
    pub(super) fn complete(&mut self, token: Token) {
        if let Some(trace) = self.open.iter_mut().find(|trace| trace.token == token) {
            trace.complete = true;
        }
    }

    /// Bytes of a connection's write queue were written, and it may have `encrypted` ones that the
    /// socket has not taken.
    pub(super) fn written(
        &mut self,
        key: SlotKey,
        id: Option<ConnectionId>,
        bytes: usize,
        encrypted: bool,
        now: Instant,
    ) {
        let clients = self.open.iter_mut().flat_map(|trace| &mut trace.clients);
        for client in clients.filter(|client| client.key == key && Some(client.id) == id) {
            let left = match client.state {
                State::Waits(left) => left.saturating_sub(bytes),
                State::Encrypted => 0,
                State::Over(_) => continue,
            };
            client.state = match (left, encrypted) {
                (0, false) => {
                    State::Over(TracedFate::Written { after: micros(now, client.queued) })
                }
                (0, true) => State::Encrypted,
                (left, _) => State::Waits(left),
            };
        }
    }

    /// The traces that are to be answered: those whose clients have taken the push or are closed, and
    /// those whose deadline has passed.
    pub(super) fn take_finished(
        &mut self,
        thread: u16,
        now: Instant,
        is_open: impl Fn(SlotKey, ConnectionId) -> bool,
    ) -> Vec<(Token, ShardTrace)> {
        let clients = self.open.iter_mut().flat_map(|trace| &mut trace.clients);
        for client in clients.filter(|client| !client.is_over()) {
            if !is_open(client.key, client.id) {
                client.state = State::Over(TracedFate::Closed);
            }
        }
        let is_finished = |trace: &mut OpenTrace| {
            let is_over = trace.complete && trace.clients.iter().all(Client::is_over);
            is_over || trace.deadline <= now
        };
        let finished = self.open.extract_if(.., is_finished);
        finished.map(|trace| (trace.token, trace.into_part(thread, now))).collect()
    }
}

impl OpenTrace {
    fn into_part(self, thread: u16, now: Instant) -> ShardTrace {
        let Self { taken, matched, clients, .. } = self;
        let clients = clients.into_iter().map(|client| {
            let fate = match client.state {
                State::Over(fate) => fate,
                State::Waits(left) => client.waiting(now, left),
                State::Encrypted => client.waiting(now, 0),
            };
            (client.id, micros(client.queued, taken), client.queue_bytes, fate)
        });
        ShardTrace { thread, taken, matched, clients: clients.collect() }
    }
}

impl Client {
    const fn is_over(&self) -> bool {
        matches!(self.state, State::Over(_))
    }

    fn waiting(&self, now: Instant, left: usize) -> TracedFate {
        TracedFate::Waiting { since: micros(now, self.queued), left: left as u64 }
    }
}

#[cfg(test)]
mod tests;
