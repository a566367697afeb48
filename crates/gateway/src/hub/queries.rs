//! Peers' questions: put to the shards as far as there is room for the answers.

use super::{
    Hub, UNANSWERED,
    allowance::{self, Answers, PER_LINK},
    gather::{Asked, Gathering, Told},
    link::Link,
};
use crate::exchange::{LinkId, Part, ToShard, Token};

impl Hub {
    /// Puts a peer's question to the shard of the client that it is about, or to all; later, if there is
    /// no room for the answer now.
    pub(super) fn ask(&mut self, from: LinkId, asked: Asked) {
        let estimate = self.estimate(&asked);
        if !self.admits(from, estimate) {
            if let Some(link) = self.links.get_mut(&from) {
                link.deferred = Some(asked);
            }
            return;
        }
        self.last += 1;
        let token = Token(self.last);
        let query = asked.query().map(|(query, in_php)| (query.clone(), in_php));
        let client = query.as_ref().and_then(|(query, _)| query.client());
        let shards = if client.is_some() { 1 } else { self.host.shards.len() };
        if let Some(link) = self.links.get_mut(&from) {
            link.unanswered += 1;
            link.under_way += estimate;
            if let Some(php) = &mut link.php {
                php.awaits(token);
            }
        }
        self.gatherings.insert(token, Gathering::new(from, asked, estimate, shards));
        match query {
            Some((query, in_php)) => {
                self.queries += 1;
                self.tell(client, || ToShard::Query { token, query: query.clone(), in_php });
            }
            None => self.tell(None, || ToShard::Barrier { token }),
        }
        self.call();
    }

    /// Puts the question again that had to wait.
    pub(super) fn ask_deferred(&mut self, from: LinkId) {
        if let Some(asked) = self.links.get_mut(&from).and_then(|link| link.deferred.take()) {
            self.ask(from, asked);
        }
    }

    /// Whether a peer has to read answers, or wait for them, before it is read from again.
    pub(super) fn awaits_answers(&self, link: &Link) -> bool {
        let waits = |asked| !self.has_room(link, self.estimate(asked));
        PER_LINK < link.queued_answers()
            || UNANSWERED <= link.unanswered
            || link.deferred.as_ref().is_some_and(waits)
    }

    /// About how many bytes the answer has, at the most.
    fn estimate(&self, asked: &Asked) -> usize {
        asked
            .query()
            .map_or(0, |(query, in_php)| allowance::estimate(query, &self.host.content(), in_php))
    }

    fn admits(&self, from: LinkId, estimate: usize) -> bool {
        self.links.get(&from).is_none_or(|link| self.has_room(link, estimate))
    }

    /// Whether there is room for an answer of that size.
    fn has_room(&self, link: &Link, estimate: usize) -> bool {
        allowance::admits(estimate, link.answers(), || {
            let answers = self.links.values().map(Link::answers);
            answers.fold(Answers::default(), Answers::add)
        })
    }

    /// Takes a shard's part of an answer, and gives that to its peer if it is whole.
    pub(super) fn gather(&mut self, token: Token, part: Part) {
        let Some(gathering) = self.gatherings.get_mut(&token) else {
            return;
        };
        if !gathering.add(part) {
            return;
        }
        let Some(gathering) = self.gatherings.remove(&token) else {
            return;
        };
        let to = gathering.link;
        // Nobody waits for it any more if the link is gone.
        let Some(link) = self.links.get_mut(&to) else {
            return;
        };
        link.unanswered -= 1;
        link.under_way -= gathering.estimate;
        match gathering.reply() {
            Told::Native(message) => self.say(to, &message),
            Told::Php(reply) => self.reply(to, token, reply),
            Told::NoReply(query, error) => self.fail(to, query, error),
        }
    }
}
