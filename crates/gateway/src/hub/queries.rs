//! Queries of peers, admitted to the shards within the limits for answers.

use protocol::{Answer, Query, link::ToPeer};

use super::{
    Hub, UNANSWERED,
    allowance::{self, Answers, PER_LINK},
    link::Link,
    scatter_gather::{Origin, Response, ScatterGather},
};
use crate::thread_messages::{LinkId, PartialAnswer, ToShard, Token};

impl Hub {
    /// Sends a peer's query to the shard of the client that it is about, or to all shards. It is
    /// deferred if its answer exceeds the limits now.
    pub(super) fn submit(&mut self, from: LinkId, mut origin: Origin) {
        let estimate = self.estimate(&origin);
        if !self.admits(from, estimate) {
            if let Some(link) = self.links.get_mut(&from) {
                link.deferred = Some(origin);
            }
            return;
        }
        if let Origin::Native { query: Query::HoldStream(hold), .. } = &mut origin {
            // The client joins in the order of commands.
            hold.ordinal = self.gateway.ordinal().0;
        }
        if self.answer_here(from, &origin) || self.refuse_trace(from, &origin) {
            return;
        }
        let asked = origin.query().map(|(query, in_php)| (query.clone(), in_php));
        let client = asked.as_ref().and_then(|(query, _)| query.client());
        let shards = if client.is_some() { 1 } else { self.gateway.shards.len() };
        let token = self.await_parts(from, shards, origin, estimate);
        if let Some((Query::Trace(_), _)) = asked {
            self.begin_trace(token, from);
        }
        match asked {
            Some((query, in_php)) => {
                self.queries += 1;
                self.send_to_shards(client, || {
                    let query = query.clone();
                    ToShard::Query { token, from, query, in_php }
                });
            }
            None => self.send_to_shards(None, || ToShard::Barrier { token }),
        }
    }

    /// Expects the answers of that many shards, which answer in a later run.
    pub(super) fn await_parts(
        &mut self,
        from: LinkId,
        shards: usize,
        origin: Origin,
        estimate: usize,
    ) -> Token {
        self.last_id += 1;
        let token = Token(self.last_id);
        if let Some(link) = self.links.get_mut(&from) {
            link.unanswered += 1;
            link.under_way += estimate;
            if let Some(php) = &mut link.php {
                php.awaits(token);
            }
        }
        self.pending_queries.insert(token, ScatterGather::new(from, origin, estimate, shards));
        self.schedule_run();
        token
    }

    /// Submits the deferred query, if one exists.
    pub(super) fn submit_deferred(&mut self, from: LinkId) {
        if let Some(origin) = self.links.get_mut(&from).and_then(|link| link.deferred.take()) {
            self.submit(from, origin);
        }
    }

    /// Whether reading from a peer is paused until answers are complete or read.
    pub(super) fn awaits_answers(&self, link: &Link) -> bool {
        let waits = |origin| !self.has_room(link, self.estimate(origin));
        PER_LINK < link.queued_answers()
            || UNANSWERED <= link.unanswered
            || link.deferred.as_ref().is_some_and(waits)
    }

    /// Estimated maximum size of the answer in bytes.
    fn estimate(&self, origin: &Origin) -> usize {
        origin.query().map_or(0, |(query, in_php)| {
            if let Query::Retained { group } = query {
                return self.retained.size_of(group);
            }
            allowance::estimate(query, &self.gateway.content(), in_php)
        })
    }

    fn admits(&self, from: LinkId, estimate: usize) -> bool {
        self.links.get(&from).is_none_or(|link| self.has_room(link, estimate))
    }

    /// Whether an answer of that size is within the limits.
    fn has_room(&self, link: &Link, estimate: usize) -> bool {
        allowance::admits(estimate, link.answers(), || {
            let answers = self.links.values().map(Link::answers);
            answers.fold(Answers::default(), Answers::add)
        })
    }

    /// Adds a shard's part of an answer, and sends the answer once it is complete.
    pub(super) fn add_partial_answer(&mut self, token: Token, part: PartialAnswer) {
        let Some(pending) = self.pending_queries.get_mut(&token) else {
            return;
        };
        if !pending.add(part) {
            return;
        }
        let Some(pending) = self.pending_queries.remove(&token) else {
            return;
        };
        let trace = pending.is_trace().then(|| self.end_trace(token)).flatten();
        if let Origin::Gateway { .. } = pending.origin {
            if let Some((uid, bindings)) = pending.bindings() {
                self.uid_checked_here(&uid, bindings);
            }
            return;
        }
        let to = pending.link;
        // The link may have ended.
        let Some(link) = self.links.get_mut(&to) else {
            return;
        };
        link.unanswered -= 1;
        link.under_way -= pending.estimate;
        let response = match (&pending.origin, trace) {
            (Origin::Native { request, .. }, Some(trace)) => {
                let (request, answer) = (*request, trace.answer(pending.into_parts()));
                Response::Native(ToPeer::Answer { request, answer })
            }
            (Origin::Native { request, query: Query::Gateway }, None) => {
                let (request, status) = (*request, self.status(pending.into_parts()));
                let answer = Answer::Gateway(Box::new(status));
                Response::Native(ToPeer::Answer { request, answer })
            }
            _ => pending.reply(),
        };
        match response {
            Response::Native(message) => self.send(to, &message),
            Response::Php(reply) => self.reply(to, token, reply),
            Response::None => {}
            Response::NoReply(query, error) => self.fail(to, query, error),
        }
    }
}
