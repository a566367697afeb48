//! A push whose steps an operator has asked for.

use std::time::{Duration, Instant};

use framing::Framed;
use protocol::{
    ConnectionId, Message,
    inspect::{MAX_TRACE_WAIT, TailTarget, Trace, TracedFate, TracedPush},
};
use runtime::clock;

use super::{targets::Targets, work::Work};
use crate::{
    inspection::micros,
    shard::{
        Shard,
        connections::{Audience, Phase, Pushed},
        slot::SlotKey,
        traces::Queued,
    },
    thread_messages::{Ordinal, PartialAnswer, ToHub, Token},
};

/// The push to clients.
#[derive(Debug)]
pub(super) enum Push {
    Ping,
    Message(Box<Framed>),
}

impl Shard {
    /// Begins to push to the clients of a trace.
    pub(super) fn begin_trace(&mut self, token: Token, trace: Trace, until: Ordinal) {
        let wait = Duration::from_millis(trace.wait.min(MAX_TRACE_WAIT).into());
        self.traces.open(token, clock::now(), wait);
        let targets = match trace.target {
            TailTarget::Client(client) => Targets::clients(vec![client]),
            TailTarget::Uid(uid) => Targets::uids(vec![uid], until),
            TailTarget::Group(group) => Targets::groups(vec![group], until),
        };
        let clients = targets.len(&self.directory);
        let push = match trace.push {
            TracedPush::Ping => Push::Ping,
            TracedPush::Message { kind, body } => {
                let message = Message { kind, body: body.into(), uncompressed: false };
                Push::Message(Box::new(self.framed(message, clients)))
            }
        };
        let audience = Audience::of(clients);
        self.begin(Work::Trace { token, targets, push, audience });
    }

    /// Sends the push to a client of a trace.
    pub(super) fn push_traced(
        &mut self,
        token: Token,
        (key, id): (SlotKey, ConnectionId),
        push: &mut Push,
        audience: Audience,
    ) {
        let is_open = matches!(self.connections[key].phase, Phase::Open(_));
        let queue_bytes = self.connections[key].queued();
        let at = clock::now();
        let pushed = match push {
            Push::Ping => self.push_ping(key, audience),
            Push::Message(framed) => {
                let (before, pushed) = (self.tally.dropped, self.send(key, framed, audience));
                // A message without a frame on this listener counts as no dropped one.
                let has_frame = pushed != Pushed::Dropped || before != self.tally.dropped;
                has_frame.then_some(pushed)
            }
        };
        // A connection that was closed meanwhile keeps its slot until it is polled.
        let connection = &self.connections[key];
        let fate = match pushed {
            None => Ok(TracedFate::Unframable),
            Some(Pushed::Dropped) => Ok(TracedFate::Dropped),
            Some(Pushed::Closing) => Ok(TracedFate::Closed),
            Some(Pushed::Queued) if !is_open => Ok(TracedFate::HeldBack),
            Some(Pushed::Queued) => match connection.unwritten() {
                (0, 0) => Ok(TracedFate::Written { after: micros(clock::now(), at) }),
                (bytes, _) => Err(bytes),
            },
        };
        self.traces.queued(token, Queued { key, id, at, queue_bytes, fate });
    }

    /// Answers the traces that are finished.
    pub(in crate::shard) fn finish_traces(&mut self, now: Instant) {
        let is_open = |key, id| {
            let connection = self.connections.get(key).filter(|it| it.id == Some(id));
            connection.is_some_and(|it| matches!(it.phase, Phase::Open(_)))
        };
        for (token, part) in self.traces.take_finished(self.index, now, is_open) {
            let part = PartialAnswer::Trace(Box::new(part));
            self.gateway.hub.push(ToHub::PartialAnswer { token, part });
        }
    }
}
