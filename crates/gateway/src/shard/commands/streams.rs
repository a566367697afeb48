//! Streams: messages passed on in order, and clients that recover.

use std::{collections::VecDeque, time::Instant};

use framing::Framed;
use protocol::{
    ConnectionId, Excluded, Message, Position, StreamName,
    link::ToPeer,
    streaming::{Held, Hold, MAX_GAPS, Release, Released},
};
use runtime::{clock, random};

use super::{
    targets::Targets,
    work::{SLICE, Work},
};
use crate::{
    shard::{
        Shard,
        connections::Audience,
        indexes::Directory,
        slot::SlotKey,
        streams::{Freeing, Outgoing, Piece},
    },
    thread_messages::{LinkEnd, LinkId, Ordinal, ToHub},
};

/// The output to the members of a stream, in progress.
#[derive(Debug)]
pub(super) struct Passing {
    stream: StreamName,
    /// Clients that joined later receive nothing of it.
    ordinal: Ordinal,
    current: Option<Current>,
    rest: VecDeque<Outgoing>,
}

#[derive(Debug)]
struct Current {
    outgoing: Outgoing,
    targets: Targets,
    framed: Framed,
    audience: Audience,
}

impl Shard {
    /// A message of a stream has arrived.
    pub(super) fn publish(
        &mut self,
        ordinal: Ordinal,
        stream: StreamName,
        position: Position,
        exclude: Excluded,
        shard: Option<u16>,
        message: Message,
    ) {
        if shard.is_some_and(|shard| shard != self.index) {
            return;
        }
        let is_plain = exclude.clients.is_empty() && exclude.uids.is_empty();
        let piece = Piece { message, exclude: (!is_plain).then(|| Box::new(exclude)) };
        let how = (is_used(&self.directory, &stream), shard.is_some());
        let mut rest = VecDeque::new();
        self.streams.arrive(&stream, position, piece, how, &mut rest);
        self.pass_on(stream, ordinal, rest);
    }

    /// Messages of a stream are missing and cannot be had.
    pub(super) fn reset_stream(
        &mut self,
        ordinal: Ordinal,
        stream: StreamName,
        (after, to): (Position, Position),
        message: Message,
    ) {
        let mut rest = VecDeque::new();
        self.streams.reset(&stream, after, to, message, &mut rest);
        self.pass_on(stream, ordinal, rest);
    }

    fn pass_on(&mut self, stream: StreamName, ordinal: Ordinal, rest: VecDeque<Outgoing>) {
        if !rest.is_empty() {
            self.begin(Work::Stream(Box::new(Passing { stream, ordinal, current: None, rest })));
        }
    }

    /// Passes on the next messages of a stream. Returns what is left.
    pub(super) fn pass_on_slice(&mut self, mut passing: Box<Passing>) -> Option<Work> {
        let mut budget = SLICE;
        loop {
            let mut current = match passing.current.take() {
                Some(current) => current,
                None => self.next_outgoing(&mut passing)?,
            };
            let visited = current.targets.len(&self.directory).min(budget).max(1);
            let is_plain = self.streams.all_are_members();
            let Current { outgoing, targets, framed, audience } = &mut current;
            let more = self.each(targets, visited, |shard, found| {
                if is_plain || shard.streams.is_for(&passing.stream, found.id, outgoing) {
                    let pushed = shard.send(found.handle, framed, *audience);
                    shard.commands.count_message(pushed);
                }
            });
            if more {
                passing.current = Some(current);
            }
            budget = budget.saturating_sub(visited);
            if budget == 0 {
                return Some(Work::Stream(passing));
            }
        }
    }

    fn next_outgoing(&mut self, passing: &mut Passing) -> Option<Current> {
        let outgoing = passing.rest.pop_front()?;
        let directory = &self.directory;
        let excludes = |client: ConnectionId, exclude: &Excluded| {
            let uid = || directory.get(client).and_then(|client| client.uid());
            exclude.clients.contains(&client)
                || !exclude.uids.is_empty() && uid().is_some_and(|uid| exclude.uids.contains(uid))
        };
        self.streams.pass_on(&passing.stream, &outgoing, excludes);
        let mut targets = match &passing.stream {
            StreamName::Group(group) => Targets::groups(vec![group.clone()], passing.ordinal),
            StreamName::Uid(uid) => Targets::uids(vec![uid.clone()], passing.ordinal),
        };
        let message = match &outgoing {
            Outgoing::Message(_, Piece { message, exclude }) => {
                if let Some(exclude) = exclude.as_deref().cloned() {
                    targets = targets.except(exclude.clients).except_uids(exclude.uids);
                }
                message
            }
            Outgoing::Reset(_, message) => message,
        };
        let clients = targets.len(&self.directory);
        let framed = self.framed(message.clone(), clients);
        Some(Current { outgoing, targets, framed, audience: Audience::of(clients) })
    }

    /// Begins to hold back the messages of a stream for a client, and adds it to the stream.
    pub(super) fn hold_stream(&mut self, from: LinkId, hold: Hold, ordinal: Ordinal) -> Held {
        if self.directory.get(hold.client).is_none() {
            return Held::Offline;
        }
        if let Some(answer) = self.streams.hold(from, &hold, clock::now()) {
            return answer;
        }
        let Hold { client, stream, joins, .. } = hold;
        match &stream {
            StreamName::Group(group) if joins && !self.join(client, group.clone(), ordinal) => {
                self.streams.left(client, &stream);
                Held::Refused
            }
            StreamName::Uid(uid) if joins => {
                self.bind(client, uid.clone(), ordinal);
                Held::Held
            }
            _ => Held::Held,
        }
    }

    /// Sends a client what it has missed, and what was held back.
    pub(super) fn release_stream(&mut self, release: Release) -> Released {
        let behind = match self.streams.release(&release, clock::now()) {
            Freeing::Done(behind) => behind,
            Freeing::Again => return Released::Again,
            Freeing::Unknown => return Released::Ended,
        };
        if let Some(key) = self.key(release.client) {
            self.send_each(key, release.messages.into_iter().map(|message| message.0));
            self.send_each(key, behind);
        }
        Released::Done
    }

    fn send_each(&mut self, key: SlotKey, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            self.send_one(key, message);
        }
    }

    /// Ends holds whose release has not come, and asks workers for missing messages. Called a few
    /// times a second.
    pub(in crate::shard) fn tick_streams(&mut self, now: Instant) {
        // Between two slices, some of the members have received what is held back for others.
        if self.streams.len() == 0 || self.commands.work.is_some() {
            return;
        }
        for expired in self.streams.expire(now) {
            if let Some(key) = self.key(expired.client) {
                self.send_each(key, expired.messages);
            }
        }
        let is_used = |stream: &StreamName| is_used(&self.directory, stream);
        for (link, gaps) in self.streams.questions(now, is_used, random::random()) {
            for gaps in gaps.chunks(MAX_GAPS) {
                let message = ToPeer::StreamGaps { shard: self.index, gaps: gaps.to_vec() };
                self.gateway.hub.push(ToHub::StreamGaps { link, message });
            }
        }
        self.schedule.request();
    }

    /// The link of a worker has ended.
    pub(in crate::shard) fn stream_worker_down(&mut self, link: LinkId, end: LinkEnd) {
        if self.streams.len() == 0 {
            return;
        }
        if end == LinkEnd::Closed {
            self.streams.worker_died(link, clock::now());
        }
        self.streams.check_soon(clock::now(), random::random());
    }
}

/// Whether a stream has clients here.
fn is_used<H: Copy>(directory: &Directory<H>, stream: &StreamName) -> bool {
    match stream {
        StreamName::Group(group) => directory.member_count(group) != 0,
        StreamName::Uid(uid) => directory.bound_count(uid) != 0,
    }
}

#[cfg(test)]
mod tests;
