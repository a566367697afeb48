//! The messages of a stream that are held back for one client: a value.
//!
//! The window that is kept is always the latest part of what was passed on to the other members. So too many
//! messages are no error: the oldest are dropped, and the store has them.

use std::collections::VecDeque;

use protocol::Position;

/// Maximum number of messages that are held back for a client in a stream, and their bytes.
const MESSAGES: usize = 1024;
pub(super) const BYTES: usize = 256 * 1024;

/// Messages that are held back. `T` is a message.
#[derive(Debug)]
pub(super) struct Held<T> {
    /// Everything behind this position is kept. `None` while the shard has passed on nothing.
    since: Option<Position>,
    kept: VecDeque<(Position, T, usize)>,
    bytes: usize,
}

/// The end of a hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Freed<T> {
    /// To be sent to the client, in order.
    pub(super) messages: Vec<(Position, T)>,
    /// The shard has not passed on the messages up to this position yet, and the client has them.
    pub(super) has_until: Option<Position>,
}

impl<T> Held<T> {
    /// Holds back what is passed on after this position.
    pub(super) fn new(since: Option<Position>) -> Self {
        Self { since, kept: VecDeque::new(), bytes: 0 }
    }

    /// Bytes of the messages.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A message is passed on, of so many bytes; `None` if it is not for this client. `most` bytes
    /// may be kept.
    pub(super) fn pass_on(&mut self, position: Position, message: Option<(T, usize)>, most: usize) {
        self.since.get_or_insert(Position { offset: position.offset - 1, ..position });
        if let Some((message, size)) = message {
            self.bytes += size;
            self.kept.push_back((position, message, size));
        }
        while MESSAGES < self.kept.len() || most.min(BYTES) < self.bytes {
            let Some((oldest, _, size)) = self.kept.pop_front() else { break };
            self.bytes -= size;
            self.since = Some(oldest);
        }
    }

    /// The stream continues behind this position. Messages before it are not kept: a reader of the store
    /// finds out.
    pub(super) fn reset(&mut self, to: Position) {
        *self = Self::new(Some(to));
    }

    /// Ends the hold of a client that has everything up to `top`. Messages were passed on up to
    /// `passed`. The hold itself comes back if messages behind `top` are not kept.
    pub(super) fn release(self, top: Position, passed: Option<Position>) -> Result<Freed<T>, Self> {
        let Some((since, passed)) = self.since.zip(passed) else {
            return Ok(Freed { messages: Vec::new(), has_until: None });
        };
        if since.epoch != top.epoch || top.offset < since.offset {
            return Err(self);
        }
        Ok(self.free(top, passed))
    }

    /// Ends the hold of a client that is notified that it may have missed messages up to `top`.
    pub(super) fn give_up(self, top: Option<Position>, passed: Option<Position>) -> Freed<T> {
        match top.zip(passed) {
            Some((top, passed)) if passed.epoch == top.epoch => self.free(top, passed),
            _ => {
                let messages = self.kept.into_iter();
                let messages = messages.map(|(position, message, _)| (position, message));
                Freed { messages: messages.collect(), has_until: None }
            }
        }
    }

    fn free(self, top: Position, passed: Position) -> Freed<T> {
        let kept = self.kept.into_iter().filter(|(position, ..)| top.offset < position.offset);
        Freed {
            messages: kept.map(|(position, message, _)| (position, message)).collect(),
            has_until: (passed.offset < top.offset).then_some(top),
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::Epoch;

    use super::*;

    const A: Epoch = Epoch::from_bits(1);
    const B: Epoch = Epoch::from_bits(2);

    fn at(offset: u64) -> Position {
        Position::new(A, offset)
    }

    fn held(since: Option<Position>, passed: impl IntoIterator<Item = u64>) -> Held<u64> {
        let mut held = Held::new(since);
        passed.into_iter().for_each(|it| held.pass_on(at(it), Some((it, 1)), BYTES));
        held
    }

    fn offsets(freed: &Freed<u64>) -> Vec<u64> {
        freed.messages.iter().map(|(_, message)| *message).collect()
    }

    #[test]
    fn messages_behind_the_top_follow() {
        let freed = held(Some(at(5)), 6..=9).release(at(7), Some(at(9))).unwrap();
        assert_eq!((offsets(&freed), freed.has_until), (vec![8, 9], None));
        let freed = held(Some(at(5)), []).release(at(5), Some(at(5))).unwrap();
        assert_eq!((offsets(&freed), freed.has_until), (vec![], None));
    }

    #[test]
    fn client_may_be_ahead_of_its_shard() {
        let freed = held(Some(at(5)), 6..=7).release(at(9), Some(at(7))).unwrap();
        assert_eq!((offsets(&freed), freed.has_until), (vec![], Some(at(9))));
    }

    #[test]
    fn first_message_of_a_shard_begins_the_hold() {
        let freed = held(None, []).release(at(9), None).unwrap();
        assert_eq!(freed, Freed { messages: vec![], has_until: None });
        let again = held(None, 6..=7).release(at(4), Some(at(7))).unwrap_err();
        let freed = again.release(at(5), Some(at(7))).unwrap();
        assert_eq!(offsets(&freed), [6, 7]);
    }

    #[test]
    fn hold_that_has_dropped_messages_is_released_by_a_later_top_only() {
        let last = MESSAGES as u64 + 10;
        let held = held(Some(at(0)), 1..=last);
        assert_eq!(held.bytes(), MESSAGES);
        let again = held.release(at(9), Some(at(last))).unwrap_err();
        let freed = again.release(at(10), Some(at(last))).unwrap();
        assert_eq!(offsets(&freed), (11..=last).collect::<Vec<_>>());
        // Without any memory, all of them are dropped.
        let mut held = Held::new(Some(at(0)));
        (1..=3).for_each(|it| held.pass_on(at(it), Some((it, 1)), 0));
        let again = held.release(at(2), Some(at(3))).unwrap_err();
        assert_eq!(again.release(at(3), Some(at(3))).unwrap().messages, []);
    }

    #[test]
    fn message_for_others_is_no_hole() {
        let mut held = held(Some(at(0)), [1]);
        held.pass_on(at(2), None, BYTES);
        held.pass_on(at(3), Some((3, 1)), BYTES);
        assert_eq!(offsets(&held.release(at(0), Some(at(3))).unwrap()), [1, 3]);
    }

    #[test]
    fn reset_leaves_positions_of_its_own_epoch_only() {
        let to = Position::new(B, 4);
        let mut one = held(Some(at(0)), 1..=3);
        one.reset(to);
        let again = one.release(at(9), Some(to)).unwrap_err();
        let again = again.release(Position::new(B, 3), Some(to)).unwrap_err();
        assert!(again.release(to, Some(to)).is_ok());
    }

    #[test]
    fn given_up_hold_passes_on_what_it_has() {
        let give_up = |top, passed| offsets(&held(Some(at(5)), 8..=9).give_up(top, passed));
        assert_eq!(give_up(None, Some(at(9))), [8, 9]);
        assert_eq!(give_up(Some(at(8)), Some(at(9))), [9]);
        assert_eq!(give_up(Some(at(1)), Some(at(9))), [8, 9]);
        assert_eq!(give_up(Some(Position::new(B, 1)), Some(at(9))), [8, 9]);
        let ahead = held(Some(at(5)), []).give_up(Some(at(9)), Some(at(7)));
        assert_eq!(ahead.has_until, Some(at(9)));
    }
}
