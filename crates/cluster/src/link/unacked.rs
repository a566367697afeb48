//! Unacknowledged commands, which outlive the link they were sent on: a value.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::link::ToGateway;

/// Commands that the gateway has not acknowledged, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct UnackedCommands {
    commands: VecDeque<Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    /// Size of its frame in bytes.
    size: usize,
    /// Whether it was sent on behalf of an event.
    scoped: bool,
    command: ToGateway,
}

impl UnackedCommands {
    /// Keeps a command whose frame has `size` bytes. Numbers must increase.
    pub(super) fn add(&mut self, number: u64, size: usize, scoped: bool, command: ToGateway) {
        self.bytes += size;
        self.commands.push_back(Entry { number, size, scoped, command });
    }

    /// Drops the commands on behalf of events. Returns the total size of their frames in bytes.
    pub(super) fn drop_scoped(&mut self) -> usize {
        let before = self.bytes;
        self.commands.retain(|entry| !entry.scoped);
        self.bytes = self.commands.iter().map(|entry| entry.size).sum();
        before - self.bytes
    }

    /// Drops the acknowledged commands.
    pub(super) fn confirm(&mut self, through: u64) {
        while let Some(entry) = self.commands.pop_front_if(|entry| entry.number <= through) {
            self.bytes -= entry.size;
        }
    }

    /// Copies each payload into memory of its own. A slice of a read buffer would keep the whole
    /// buffer allocated while the gateway is disconnected.
    pub(super) fn detach(&mut self) {
        self.commands.iter_mut().for_each(|entry| detach(&mut entry.command));
    }

    /// Drops all commands. Returns how many there were.
    pub(super) fn clear(&mut self) -> u64 {
        let count = self.commands.len() as u64;
        *self = Self::default();
        count
    }

    /// The commands that are kept.
    pub(super) fn iter(&self) -> impl Iterator<Item = &ToGateway> {
        self.commands.iter().map(|entry| &entry.command)
    }

    /// The number of the last command.
    pub(super) fn last(&self) -> Option<u64> {
        self.commands.back().map(|entry| entry.number)
    }

    /// The total size of the frames in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Copies the payload of a command into memory of its own.
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

    fn unacked(numbers: impl IntoIterator<Item = u64>) -> UnackedCommands {
        let mut unacked = UnackedCommands::default();
        for number in numbers {
            unacked.add(number, 10, number % 2 == 0, command(number, Bytes::new()));
        }
        unacked
    }

    fn numbers(unacked: &UnackedCommands) -> Vec<u64> {
        let number = |command: &ToGateway| match command {
            ToGateway::Command { seq, .. } => *seq,
            other => panic!("{other:?}"),
        };
        unacked.iter().map(number).collect()
    }

    #[test]
    fn acknowledged_commands_are_dropped_and_the_rest_keeps_its_order() {
        // The numbers in between belong to commands that are not kept.
        let mut unacked = unacked([2, 3, 7, 9]);
        assert_eq!((unacked.bytes(), unacked.last()), (40, Some(9)));
        unacked.confirm(1);
        assert_eq!(numbers(&unacked), [2, 3, 7, 9]);
        unacked.confirm(5);
        assert_eq!((numbers(&unacked), unacked.bytes()), (vec![7, 9], 20));
        unacked.confirm(u64::MAX);
        assert_eq!((numbers(&unacked), unacked.bytes(), unacked.last()), (vec![], 0, None));
    }

    #[test]
    fn scoped_commands_can_be_dropped() {
        let mut unacked = unacked([2, 3, 7, 8]);
        assert_eq!((unacked.drop_scoped(), unacked.drop_scoped()), (20, 0));
        assert_eq!((numbers(&unacked), unacked.bytes()), (vec![3, 7], 20));
    }

    #[test]
    fn cleared_commands_are_counted() {
        let mut unacked = unacked(1..=3);
        assert_eq!(unacked.clear(), 3);
        assert_eq!((unacked.clear(), unacked.bytes()), (0, 0));
    }

    #[test]
    fn detached_payload_is_equal_and_releases_the_buffer() {
        let buffer = Bytes::from(vec![7; 64 * 1024]);
        let mut unacked = UnackedCommands::default();
        unacked.add(1, 10, false, command(1, buffer.slice(100..103)));
        assert!(!buffer.is_unique());
        unacked.detach();
        assert!(buffer.is_unique(), "not referenced elsewhere");
        let expected = command(1, Bytes::from_static(&[7; 3]));
        assert_eq!(unacked.iter().collect::<Vec<_>>(), [&expected]);
    }
}
