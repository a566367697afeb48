//! Commands that outlive the link they were sent on: a value.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::link::ToGateway;

/// Commands that the gateway has not confirmed, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Kept {
    commands: VecDeque<One>,
    bytes: usize,
}

#[derive(Debug)]
struct One {
    number: u64,
    /// Bytes of its frame.
    size: usize,
    /// Whether it is on behalf of an event.
    scoped: bool,
    command: ToGateway,
}

impl Kept {
    /// Keeps a command whose frame has that many bytes. Numbers rise.
    pub(super) fn add(&mut self, number: u64, size: usize, scoped: bool, command: ToGateway) {
        self.bytes += size;
        self.commands.push_back(One { number, size, scoped, command });
    }

    /// Forgets those on behalf of events. Returns how many bytes their frames had.
    pub(super) fn drop_scoped(&mut self) -> usize {
        let before = self.bytes;
        self.commands.retain(|one| !one.scoped);
        self.bytes = self.commands.iter().map(|one| one.size).sum();
        before - self.bytes
    }

    /// Forgets what was taken.
    pub(super) fn confirm(&mut self, through: u64) {
        while let Some(one) = self.commands.pop_front_if(|one| one.number <= through) {
            self.bytes -= one.size;
        }
    }

    /// Has each payload in memory of its own. It may be part of a buffer that others were read into,
    /// and is not to keep all of that for as long as a gateway is away.
    pub(super) fn detach(&mut self) {
        self.commands.iter_mut().for_each(|one| detach(&mut one.command));
    }

    /// Forgets all, and says how many there were.
    pub(super) fn clear(&mut self) -> u64 {
        let count = self.commands.len() as u64;
        *self = Self::default();
        count
    }

    /// Those that there are.
    pub(super) fn iter(&self) -> impl Iterator<Item = &ToGateway> {
        self.commands.iter().map(|one| &one.command)
    }

    /// The number of the last.
    pub(super) fn last(&self) -> Option<u64> {
        self.commands.back().map(|one| one.number)
    }

    /// How many bytes their frames have.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Has a command's payload in memory of its own.
pub(super) fn detach(command: &mut ToGateway) {
    if let ToGateway::Command { command, .. } = command
        && let Some(message) = command.message_mut()
    {
        message.body = Bytes::copy_from_slice(&message.body);
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Command, Message};

    use super::*;

    fn command(seq: u64, body: Bytes) -> ToGateway {
        let message = Message { body, ..Message::text("") };
        let command = Command::SendToAll { to: protocol::Recipients::All, message };
        ToGateway::Command { seq, command }
    }

    fn kept(numbers: impl IntoIterator<Item = u64>) -> Kept {
        let mut kept = Kept::default();
        for number in numbers {
            kept.add(number, 10, number % 2 == 0, command(number, Bytes::new()));
        }
        kept
    }

    fn numbers(kept: &Kept) -> Vec<u64> {
        let number = |command: &ToGateway| match command {
            ToGateway::Command { seq, .. } => *seq,
            other => panic!("{other:?}"),
        };
        kept.iter().map(number).collect()
    }

    #[test]
    fn what_was_taken_is_forgotten_and_the_rest_keeps_its_order() {
        // Numbers in between went to commands that are not kept.
        let mut kept = kept([2, 3, 7, 9]);
        assert_eq!((kept.bytes(), kept.last()), (40, Some(9)));
        kept.confirm(1);
        assert_eq!(numbers(&kept), [2, 3, 7, 9]);
        kept.confirm(5);
        assert_eq!((numbers(&kept), kept.bytes()), (vec![7, 9], 20));
        kept.confirm(u64::MAX);
        assert_eq!((numbers(&kept), kept.bytes(), kept.last()), (vec![], 0, None));
    }

    #[test]
    fn commands_on_behalf_of_events_can_be_dropped() {
        let mut kept = kept([2, 3, 7, 8]);
        assert_eq!((kept.drop_scoped(), kept.drop_scoped()), (20, 0));
        assert_eq!((numbers(&kept), kept.bytes()), (vec![3, 7], 20));
    }

    #[test]
    fn what_is_cleared_is_counted() {
        let mut kept = kept(1..=3);
        assert_eq!(kept.clear(), 3);
        assert_eq!((kept.clear(), kept.bytes()), (0, 0));
    }

    #[test]
    fn a_detached_payload_is_the_same_and_keeps_no_buffer() {
        let buffer = Bytes::from(vec![7; 64 * 1024]);
        let mut kept = Kept::default();
        kept.add(1, 10, false, command(1, buffer.slice(100..103)));
        assert!(!buffer.is_unique());
        kept.detach();
        assert!(buffer.is_unique(), "nobody else holds it");
        let expected = command(1, Bytes::from_static(&[7; 3]));
        assert_eq!(kept.iter().collect::<Vec<_>>(), [&expected]);
    }
}
