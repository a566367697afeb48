//! Clients that recover: what goes out to the other members is held back for them.

use std::time::{Duration, Instant};

use protocol::{
    ConnectionId, Message, StreamName,
    streaming::{Held as HeldAnswer, Hold, Release},
};

use super::{
    Apart, Streams,
    cursor::Cursor,
    hold::{Freed, Held},
    unlist,
};
use crate::thread_messages::LinkId;

/// How long messages are held back for a client after its worker was last heard of.
const HOLD: Duration = Duration::from_secs(10);

/// Maximum number of clients for which messages are held back, counted for each stream.
const HOLDS: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Holding {
    number: u64,
    /// The link of the worker.
    from: LinkId,
    until: Instant,
    lost: Message,
    pub(super) messages: Held<Message>,
}

/// A hold that has ended without a release.
#[derive(Debug)]
pub(in crate::shard) struct Expired {
    pub(in crate::shard) client: ConnectionId,
    /// To be sent to it: the notice, and what was held back.
    pub(in crate::shard) messages: Vec<Message>,
}

/// The effect of a release.
#[derive(Debug)]
pub(in crate::shard) enum Freeing {
    /// These are to be sent behind those of the release.
    Done(Vec<Message>),
    Again,
    /// There is no such hold.
    Unknown,
}

impl Streams {
    /// Begins to hold back what goes out to a client. `None` if messages are held back from here on,
    /// else the answer.
    pub(in crate::shard) fn hold(
        &mut self,
        from: LinkId,
        hold: &Hold,
        now: Instant,
    ) -> Option<HeldAnswer> {
        let Hold { client, number, stream, lost, .. } = hold;
        if let Some(recovered) = self.ended.find(*client, *number) {
            return Some(HeldAnswer::Ended { recovered });
        }
        // Another hold of the client may be in place: its worker has died, or lost its link.
        self.remove(*client, stream);
        if HOLDS <= self.totals.holds {
            return Some(HeldAnswer::Refused);
        }
        let state = self.all.entry(stream.clone()).or_default();
        let since = state.cursor.as_ref().map(Cursor::at);
        let holding = Holding {
            number: *number,
            from,
            until: now + HOLD,
            lost: lost.0.clone(),
            messages: Held::new(since),
        };
        state.apart.insert(*client, Apart::Held(Box::new(holding)));
        self.apart.entry(*client).or_default().push(stream.clone());
        self.ends.push_back((now + HOLD, *client, stream.clone()));
        self.totals.holds += 1;
        None
    }

    /// Ends a hold, if messages behind `top` are all here or `recovered` is not set.
    pub(in crate::shard) fn release(&mut self, release: &Release, now: Instant) -> Freeing {
        let Release { client, number, stream, top, recovered, .. } = release;
        let is_it = |apart: &Apart| match apart {
            Apart::Held(holding) => holding.number == *number,
            Apart::Ahead(_) => false,
        };
        let Some(state) = self.all.get_mut(stream) else { return Freeing::Unknown };
        if !state.apart.get(client).is_some_and(is_it) {
            return Freeing::Unknown;
        }
        let Some(Apart::Held(mut holding)) = state.apart.remove(client) else {
            return Freeing::Unknown;
        };
        let Some(top) = top else {
            return Freeing::Done(self.give_up(*client, stream, *holding));
        };
        let cursor = state.cursor.get_or_insert_with(|| Cursor::new(*top));
        let (bytes, passed) = (holding.messages.bytes(), cursor.at());
        let waiting = cursor.bytes();
        // A message in the store that was not passed on here is missing.
        cursor.learn(*top);
        let freed = match recovered {
            true => match holding.messages.release(*top, Some(passed)) {
                Ok(freed) => freed,
                Err(messages) => {
                    (holding.messages, holding.until) = (messages, now + HOLD);
                    state.apart.insert(*client, Apart::Held(holding));
                    self.totals.bytes = self.totals.bytes + cursor.bytes() - waiting;
                    self.gaps.update(stream, state);
                    return Freeing::Again;
                }
            },
            false => holding.messages.give_up(Some(*top), Some(passed)),
        };
        self.totals.bytes = self.totals.bytes + cursor.bytes() - waiting - bytes;
        self.totals.holds -= 1;
        self.gaps.update(stream, state);
        let messages = self.free(*client, stream, freed);
        self.ended.add(*client, *number, *recovered);
        Freeing::Done(messages)
    }

    /// The client is as the other members from here on, or ahead of them.
    fn free(
        &mut self,
        client: ConnectionId,
        stream: &StreamName,
        freed: Freed<Message>,
    ) -> Vec<Message> {
        match (freed.has_until, self.all.get_mut(stream)) {
            (Some(until), Some(state)) => {
                state.apart.insert(client, Apart::Ahead(until));
            }
            _ => unlist(&mut self.apart, client, stream),
        }
        freed.messages.into_iter().map(|(_, message)| message).collect()
    }

    /// The holds whose release has not come in time.
    pub(in crate::shard) fn expire(&mut self, now: Instant) -> Vec<Expired> {
        let mut expired = Vec::new();
        while let Some((_, client, stream)) = self.ends.pop_front_if(|(at, ..)| *at <= now) {
            let state = self.all.get(&stream);
            if let Some(Apart::Held(holding)) = state.and_then(|state| state.apart.get(&client)) {
                match holding.until <= now {
                    true => expired.push((client, stream)),
                    false => self.ends.push_back((holding.until, client, stream)),
                }
            }
        }
        let end = |(client, stream): (ConnectionId, StreamName)| {
            let state = self.all.get_mut(&stream)?;
            let Apart::Held(holding) = state.apart.remove(&client)? else { return None };
            self.counts.expired += 1;
            let mut messages = vec![holding.lost.clone()];
            messages.extend(self.give_up(client, &stream, *holding));
            Some(Expired { client, messages })
        };
        expired.into_iter().filter_map(end).collect()
    }

    /// Ends a hold of a client of which no position is known. Returns what was held back.
    fn give_up(
        &mut self,
        client: ConnectionId,
        stream: &StreamName,
        holding: Holding,
    ) -> Vec<Message> {
        self.totals.bytes -= holding.messages.bytes();
        self.totals.holds -= 1;
        self.ended.add(client, holding.number, false);
        let freed = holding.messages.give_up(None, None);
        self.free(client, stream, freed)
    }

    /// A worker has died: nothing that it holds back is released any more.
    pub(in crate::shard) fn worker_died(&mut self, link: LinkId, now: Instant) {
        if self.totals.holds == 0 {
            return;
        }
        let mut over = Vec::new();
        for (stream, state) in &mut self.all {
            for (client, apart) in &mut state.apart {
                if let Apart::Held(holding) = apart
                    && holding.from == link
                {
                    holding.until = now;
                    over.push((now, *client, stream.clone()));
                }
            }
        }
        over.sort_unstable();
        over.into_iter().for_each(|over| self.ends.push_front(over));
    }
}
