//! Traces of peers: when the steps happened that the hub does.

use std::time::Instant;

use protocol::{
    Answer, Query,
    inspect::{MAX_TRACED, MAX_TRACED_MESSAGE, Traced, TracedClient, TracedPush},
    link::ToPeer,
};
use runtime::clock;

use super::{Hub, scatter_gather::Origin};
use crate::{
    inspection::micros,
    thread_messages::{LinkId, PartialAnswer, Token},
};

/// Most traces that are not answered, of all peers.
const MOST: usize = 16;

/// A trace that the shards have not answered.
#[derive(Debug)]
pub(super) struct OpenTrace {
    token: Token,
    link: LinkId,
    arrived: Instant,
    /// When it was passed to the shards.
    dispatched: Option<Instant>,
}

impl Hub {
    /// Refuses a trace if the peer has one already, there are too many, or its message is too long.
    /// Returns whether it did.
    pub(super) fn refuse_trace(&mut self, from: LinkId, origin: &Origin) -> bool {
        let Origin::Native { request, query: Query::Trace(trace) } = origin else { return false };
        let is_long = match &trace.push {
            TracedPush::Ping => false,
            TracedPush::Message { body, .. } => MAX_TRACED_MESSAGE < body.len(),
        };
        let is_refused =
            is_long || MOST <= self.traces.len() || self.traces.iter().any(|it| it.link == from);
        if is_refused {
            self.send(from, &ToPeer::Answer { request: *request, answer: Answer::Unavailable });
        }
        is_refused
    }

    /// Notes a trace that goes to the shards in this run.
    pub(super) fn begin_trace(&mut self, token: Token, link: LinkId) {
        let arrived = clock::now();
        self.traces.push(OpenTrace { token, link, arrived, dispatched: None });
        if let Some(link) = self.links.get(&link) {
            tracing::info!(remote = %link.remote, "a peer traces a push to clients");
        }
    }

    /// The traces of this run are passed to the shards now.
    pub(super) fn dispatch_traces(&mut self) {
        let now = clock::now();
        for trace in &mut self.traces {
            trace.dispatched.get_or_insert(now);
        }
    }

    /// Forgets a trace whose parts are complete, and returns it.
    pub(super) fn end_trace(&mut self, token: Token) -> Option<OpenTrace> {
        let at = self.traces.iter().position(|trace| trace.token == token)?;
        Some(self.traces.swap_remove(at))
    }
}

impl OpenTrace {
    /// The answer, of which each shard has contributed a part.
    pub(super) fn answer(self, parts: Vec<PartialAnswer>) -> Answer {
        let dispatched = self.dispatched.unwrap_or(self.arrived);
        let mut traced = Traced { dispatch: micros(dispatched, self.arrived), ..Traced::default() };
        for part in parts {
            let PartialAnswer::Trace(part) = part else { continue };
            traced.matched += part.matched;
            let taken = micros(part.taken, dispatched);
            let clients = part.clients.into_iter().map(|(client, queued, queue_bytes, fate)| {
                TracedClient { client, thread: part.thread, taken, queued, queue_bytes, fate }
            });
            traced.clients.extend(clients.take(MAX_TRACED - traced.clients.len()));
        }
        traced.total = micros(clock::now(), self.arrived);
        Answer::Traced(Box::new(traced))
    }
}
