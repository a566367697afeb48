//! How far the messages of a stream were passed on to its members on a shard: a value.
//!
//! Messages arrive from several workers, so in any order, repeatedly, or not at all. The next one is
//! passed on, an older one was, and a later one waits until those between are there. Nothing is
//! skipped but by a [reset](Cursor::reset), which members are notified of.

use std::collections::BTreeMap;

use protocol::{Epoch, Position};

/// Maximum number of messages that wait for those before them, and their bytes. Others are not lost:
/// the store has them, and they are asked for in their turn.
const WAITING: usize = 1024;
const WAITING_BYTES: usize = 256 * 1024;

/// Number of epochs that are remembered to be over, since late messages of them may arrive.
const RETIRED: usize = 4;

/// The position of a stream, and the messages that wait. `T` is a message.
#[derive(Debug)]
pub(super) struct Cursor<T> {
    /// The last message that was passed on.
    at: Position,
    /// Messages behind the next one, in the epoch of `known`, each with its size.
    waiting: BTreeMap<u64, (T, usize)>,
    bytes: usize,
    /// A later position that is known to be there: messages are missing until it is passed.
    known: Option<Position>,
    /// Epochs that are over, oldest first.
    retired: Vec<Epoch>,
}

/// The way of a message that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival<T> {
    /// It is the next one, and counts as passed on.
    Next(T),
    /// It was passed on before, or a reset has skipped it.
    Older,
    /// Messages before it are missing.
    Later,
}

impl<T> Cursor<T> {
    /// A cursor behind the message at this position.
    pub(super) fn new(at: Position) -> Self {
        Self { at, waiting: BTreeMap::new(), bytes: 0, known: None, retired: Vec::new() }
    }

    /// The last message that was passed on.
    pub(super) fn at(&self) -> Position {
        self.at
    }

    /// A later position that is known to be there, if messages are missing.
    pub(super) fn missing(&self) -> Option<Position> {
        self.known
    }

    /// Bytes of the messages that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A message has arrived. `keep` makes what is kept of it if it waits, and its size.
    pub(super) fn arrive(
        &mut self,
        position: Position,
        message: T,
        keep: impl FnOnce(T) -> (T, usize),
    ) -> Arrival<T> {
        if self.is_over(position) {
            return Arrival::Older;
        }
        if position == self.at.next() {
            self.advance(position);
            return Arrival::Next(message);
        }
        self.learn(position);
        if self.known.is_some_and(|known| known.epoch == position.epoch)
            && !self.waiting.contains_key(&position.offset)
        {
            let (message, size) = keep(message);
            self.bytes += size;
            self.waiting.insert(position.offset, (message, size));
            while WAITING < self.waiting.len() || WAITING_BYTES < self.bytes {
                let Some((_, (_, size))) = self.waiting.pop_last() else { break };
                self.bytes -= size;
            }
        }
        Arrival::Later
    }

    /// Takes the next message, if it waits: it counts as passed on.
    pub(super) fn take_next(&mut self) -> Option<(Position, T)> {
        let next = self.at.next();
        if self.known?.epoch != next.epoch {
            return None;
        }
        let (message, size) = self.waiting.remove(&next.offset)?;
        self.bytes -= size;
        self.advance(next);
        Some((next, message))
    }

    /// There is a message at this position.
    pub(super) fn learn(&mut self, position: Position) {
        if self.is_over(position) {
            return;
        }
        match &mut self.known {
            Some(known) if known.epoch == position.epoch => {
                known.offset = known.offset.max(position.offset);
            }
            // Another epoch is known, which is probably the newer one: an answer will tell.
            Some(_) if position.epoch == self.at.epoch => {}
            known => {
                *known = Some(position);
                self.discard();
            }
        }
    }

    /// A worker has read the store, when `asked` was [missing](Self::missing): `top` is the last
    /// position there.
    pub(super) fn answered(&mut self, asked: Option<Position>, top: Position) {
        if top.epoch == self.at.epoch
            && let Some(known) = self.known
            && known.epoch != top.epoch
            && asked.is_some_and(|asked| asked.epoch == known.epoch)
        {
            // The store was read after a message of the other epoch had arrived, and did not have
            // that epoch: it is an older one.
            self.retire(known.epoch);
            self.known = None;
            self.discard();
        }
        self.learn(top);
    }

    /// Messages that are missing behind `after` cannot be had: the stream continues behind `to`, or behind the
    /// place before the first message that waits, if that is earlier. Returns that position; `None`
    /// if other messages were passed on since `after`, or it is not behind it.
    pub(super) fn reset(&mut self, after: Position, mut to: Position) -> Option<Position> {
        if self.at != after || self.is_over(to) {
            return None;
        }
        let continues = self.known.is_some_and(|known| known.epoch == to.epoch);
        if continues && let Some((first, _)) = self.waiting.first_key_value() {
            to.offset = to.offset.min(first.saturating_sub(1));
        }
        if to.epoch != self.at.epoch {
            self.retire(self.at.epoch);
            if self.known.is_some_and(|known| known.epoch == self.at.epoch) {
                self.known = None;
                self.discard();
            }
        }
        self.advance(to);
        Some(to)
    }

    /// Whether messages up to this position were passed on, or its epoch is over.
    fn is_over(&self, position: Position) -> bool {
        match position.epoch == self.at.epoch {
            true => position.offset <= self.at.offset,
            false => self.retired.contains(&position.epoch),
        }
    }

    fn advance(&mut self, to: Position) {
        self.at = to;
        let Some(known) = self.known.filter(|known| known.epoch == to.epoch) else { return };
        while let Some(first) = self.waiting.first_entry()
            && *first.key() <= to.offset
        {
            self.bytes -= first.remove().1;
        }
        if known.offset <= to.offset {
            self.known = None;
        }
    }

    fn retire(&mut self, epoch: Epoch) {
        if self.retired.len() == RETIRED {
            self.retired.remove(0);
        }
        self.retired.push(epoch);
    }

    fn discard(&mut self) {
        self.waiting.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
