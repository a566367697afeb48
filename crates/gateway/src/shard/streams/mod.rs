//! The streams of a shard: values.
//!
//! A stream has a state here from its first message, or the first client that recovers, until it has
//! no clients any more. The state consists of a [`Cursor`], by which every member receives each
//! message once and in order, and of the clients that do not receive what the others do: those for
//! which messages are held back, and those that are ahead of the cursor.

mod cursor;
mod ended;
mod gaps;
mod hold;
mod holds;

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use bytes::Bytes;
use protocol::{ConnectionId, Excluded, Message, Position, StreamName};
use rustc_hash::FxHashMap;

pub(super) use self::holds::Freeing;
use self::{
    cursor::{Arrival, Cursor},
    ended::Ended,
    gaps::{Asking, Gaps},
    holds::Holding,
};

/// Maximum bytes of messages that are held back or wait, without a memory budget.
const BYTES_IN_ALL: usize = 64 * 1024 * 1024;

/// The streams of a shard.
#[derive(Debug)]
pub(super) struct Streams {
    // Names are untrusted input, so their hash is keyed.
    all: HashMap<StreamName, Box<Stream>>,
    /// The streams in which a client is apart from the other members. A side table: other clients
    /// cost nothing.
    apart: FxHashMap<ConnectionId, Vec<StreamName>>,
    ended: Ended,
    /// When holds end, in order, unless they have ended or were prolonged.
    ends: VecDeque<(Instant, ConnectionId, StreamName)>,
    gaps: Gaps,
    totals: Totals,
    /// Maximum bytes of `totals`.
    limit: usize,
    pub(super) counts: Counts,
}

/// Sums over all streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Clients for which messages are held back, counted for each stream.
    pub(super) holds: usize,
    /// Bytes of messages that are held back or wait.
    pub(super) bytes: usize,
}

/// Events that are not added to the metrics yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Messages that were passed on to members.
    pub(super) published: u64,
    /// Messages that had been passed on before.
    pub(super) older: u64,
    /// Messages that a worker has read from the store for this shard.
    pub(super) filled: u64,
    /// Resets that members were notified of.
    pub(super) resets: u64,
    /// Holds that ended without a release.
    pub(super) expired: u64,
}

/// A message of a stream, and the clients that do not receive it.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) message: Message,
    pub(super) exclude: Option<Box<Excluded>>,
}

/// Output to the members of a stream.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// A message.
    Message(Position, Piece),
    /// The notice that messages up to a position may have been missed.
    Reset(Position, Message),
}

#[derive(Debug, Default)]
struct Stream {
    /// `None` until a message is passed on, or a client has recovered.
    cursor: Option<Cursor<Piece>>,
    apart: FxHashMap<ConnectionId, Apart>,
    /// Set while messages are missing.
    asking: Option<Asking>,
    /// Whether it is in the list of those.
    is_listed: bool,
}

/// A client that does not receive what the other members receive.
#[derive(Debug)]
enum Apart {
    /// Messages are held back for it.
    Held(Box<Holding>),
    /// It has the messages up to this position.
    Ahead(Position),
}

impl Streams {
    /// `share` is the shard's part of the memory budget, in bytes.
    pub(super) fn new(share: Option<usize>) -> Self {
        Self {
            all: HashMap::new(),
            apart: FxHashMap::default(),
            ended: Ended::default(),
            ends: VecDeque::new(),
            gaps: Gaps::default(),
            totals: Totals::default(),
            limit: share.map_or(BYTES_IN_ALL, |share| (share / 16).min(BYTES_IN_ALL)),
            counts: Counts::default(),
        }
    }

    /// Number of streams with a state.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether no client is apart from the other members of a stream.
    pub(super) fn all_are_members(&self) -> bool {
        self.apart.is_empty()
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// A message has arrived. The output is added to `outgoing`. `has_members` is whether the
    /// stream has any here; `fills` whether the message was asked for.
    pub(super) fn arrive(
        &mut self,
        stream: &StreamName,
        position: Position,
        piece: Piece,
        (has_members, fills): (bool, bool),
        outgoing: &mut VecDeque<Outgoing>,
    ) {
        // The message of offset 0 does not exist.
        let Some(before) = position.offset.checked_sub(1) else { return };
        if !self.all.contains_key(stream) {
            if !has_members || fills {
                return;
            }
            self.all.insert(stream.clone(), Box::default());
        }
        let Some(state) = self.all.get_mut(stream) else { return };
        let first = Position { offset: before, ..position };
        let cursor = state.cursor.get_or_insert_with(|| Cursor::new(first));
        let before = cursor.bytes();
        match cursor.arrive(position, piece, Piece::kept) {
            Arrival::Next(piece) => {
                self.counts.filled += u64::from(fills);
                outgoing.push_back(Outgoing::Message(position, piece));
            }
            Arrival::Older => self.counts.older += 1,
            Arrival::Later => {}
        }
        Self::drain(cursor, outgoing);
        self.totals.bytes = self.totals.bytes + cursor.bytes() - before;
        self.gaps.update(stream, state);
    }

    /// A worker has answered what it was asked for: `top` is the last position in the store.
    pub(super) fn answered(&mut self, stream: &StreamName, known: Option<Position>, top: Position) {
        let Some(state) = self.all.get_mut(stream) else { return };
        let Some(cursor) = &mut state.cursor else { return };
        let before = cursor.bytes();
        cursor.answered(known, top);
        self.totals.bytes = self.totals.bytes + cursor.bytes() - before;
        if let Some(asking) = &mut state.asking {
            asking.answered(cursor.at());
        }
        self.gaps.update(stream, state);
    }

    /// Messages missing behind `after` cannot be had: members are notified, and receive what is
    /// behind `to`.
    pub(super) fn reset(
        &mut self,
        stream: &StreamName,
        after: Position,
        to: Position,
        message: Message,
        outgoing: &mut VecDeque<Outgoing>,
    ) {
        let Some(state) = self.all.get_mut(stream) else { return };
        let Some(cursor) = &mut state.cursor else { return };
        let before = cursor.bytes();
        if let Some(to) = cursor.reset(after, to) {
            self.counts.resets += 1;
            outgoing.push_back(Outgoing::Reset(to, message));
        }
        Self::drain(cursor, outgoing);
        self.totals.bytes = self.totals.bytes + cursor.bytes() - before;
        if let Some(asking) = &mut state.asking {
            asking.answered(cursor.at());
        }
        self.gaps.update(stream, state);
    }

    fn drain(cursor: &mut Cursor<Piece>, outgoing: &mut VecDeque<Outgoing>) {
        while let Some((position, piece)) = cursor.take_next() {
            outgoing.push_back(Outgoing::Message(position, piece));
        }
    }

    /// Something goes out to the members of a stream: it is held back for those that are held.
    /// `excludes` is whether a message is not for a client.
    pub(super) fn pass_on(
        &mut self,
        stream: &StreamName,
        outgoing: &Outgoing,
        excludes: impl Fn(ConnectionId, &Excluded) -> bool,
    ) {
        self.counts.published += u64::from(matches!(outgoing, Outgoing::Message(..)));
        if self.apart.is_empty() {
            return;
        }
        let Some(state) = self.all.get_mut(stream) else { return };
        let mut kept = None;
        for (client, apart) in &mut state.apart {
            let Apart::Held(holding) = apart else { continue };
            let before = holding.messages.bytes();
            match outgoing {
                Outgoing::Message(position, piece) => {
                    let is_excluded =
                        piece.exclude.as_deref().is_some_and(|exclude| excludes(*client, exclude));
                    // One copy for all of them.
                    let message = (!is_excluded)
                        .then(|| kept.get_or_insert_with(|| kept_of(&piece.message)).clone());
                    let most = self.limit.saturating_sub(self.totals.bytes - before);
                    holding.messages.pass_on(*position, message, most);
                }
                Outgoing::Reset(to, _) => holding.messages.reset(*to),
            }
            self.totals.bytes = self.totals.bytes + holding.messages.bytes() - before;
        }
    }

    /// Whether a member of a stream is to be sent this.
    pub(super) fn is_for(
        &mut self,
        stream: &StreamName,
        client: ConnectionId,
        outgoing: &Outgoing,
    ) -> bool {
        let Some(state) = self.all.get_mut(stream) else { return true };
        let until = match state.apart.get(&client) {
            None => return true,
            Some(Apart::Held(_)) => return false,
            Some(Apart::Ahead(until)) => *until,
        };
        let (Outgoing::Message(position, _) | Outgoing::Reset(position, _)) = outgoing;
        // With another epoch, what it has is of the past.
        let has_it = position.epoch == until.epoch && position.offset <= until.offset;
        if !has_it || position.offset == until.offset {
            state.apart.remove(&client);
            unlist(&mut self.apart, client, stream);
        }
        !has_it
    }

    /// A client has left a stream.
    pub(super) fn left(&mut self, client: ConnectionId, stream: &StreamName) {
        if !self.apart.is_empty() {
            self.remove(client, stream);
        }
    }

    /// A client has disconnected.
    pub(super) fn disconnected(&mut self, client: ConnectionId) {
        if self.apart.is_empty() {
            return;
        }
        for stream in self.apart.remove(&client).into_iter().flatten() {
            self.remove(client, &stream);
        }
    }

    /// Every client has left a stream.
    pub(super) fn emptied(&mut self, stream: &StreamName) {
        let Some(state) = self.all.get(stream).filter(|_| !self.apart.is_empty()) else { return };
        for client in state.apart.keys().copied().collect::<Vec<_>>() {
            self.remove(client, stream);
        }
    }

    fn remove(&mut self, client: ConnectionId, stream: &StreamName) {
        let Some(state) = self.all.get_mut(stream) else { return };
        let Some(apart) = state.apart.remove(&client) else { return };
        if let Apart::Held(holding) = apart {
            self.totals.bytes -= holding.messages.bytes();
            self.totals.holds -= 1;
        }
        unlist(&mut self.apart, client, stream);
    }
}

impl Piece {
    /// The part of it that is kept, and its size.
    fn kept(self) -> (Self, usize) {
        let (message, size) = kept_of(&self.message);
        let exclude = self.exclude.as_deref().map_or(0, |exclude| {
            size_of_val(&exclude.clients[..])
                + exclude.uids.iter().map(protocol::Uid::weight).sum::<usize>()
        });
        (Self { message, ..self }, size + exclude)
    }
}

/// A copy of a message, and its size. The message is a slice of a link's buffer, which it would keep
/// alive as a whole.
fn kept_of(message: &Message) -> (Message, usize) {
    let body = Bytes::copy_from_slice(&message.body);
    let size = size_of::<Message>() + body.len();
    (Message { body, ..message.clone() }, size)
}

fn unlist(
    apart: &mut FxHashMap<ConnectionId, Vec<StreamName>>,
    client: ConnectionId,
    stream: &StreamName,
) {
    if let Some(streams) = apart.get_mut(&client) {
        streams.retain(|listed| listed != stream);
        if streams.is_empty() {
            apart.remove(&client);
        }
    }
}

#[cfg(test)]
mod tests;
