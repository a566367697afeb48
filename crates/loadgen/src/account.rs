//! The account of messages: delivered, duplicated, reordered, damaged.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Counts of received messages.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Account {
    /// Each message once per recipient.
    pub(crate) delivered: u64,
    pub(crate) duplicated: u64,
    /// Delivered, but after a later one of the same sender.
    pub(crate) out_of_order: u64,
    /// Delivered with a length other than the sent one. Counted as delivered, too.
    pub(crate) damaged: u64,
    /// Of another run.
    pub(crate) foreign: u64,
    /// Bytes received, with frame headers.
    pub(crate) bytes: u64,
}

impl Account {
    pub(crate) fn enter(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::InOrder => self.delivered += 1,
            Arrival::Late => {
                self.delivered += 1;
                self.out_of_order += 1;
            }
            Arrival::Again => self.duplicated += 1,
        }
    }
}

impl AddAssign for Account {
    fn add_assign(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.damaged += other.damaged;
        self.foreign += other.foreign;
        self.bytes += other.bytes;
    }
}

/// The order of a message relative to earlier ones of its sender.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arrival {
    InOrder,
    Late,
    Again,
}

/// The messages from one sender to one receiver.
///
/// Invariant: every number below `next` has arrived, except those in `missing`, whose ranges
/// are ascending and do not meet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    next: u32,
    missing: Vec<(u32, u32)>,
}

impl Stream {
    /// Records a received message.
    pub(crate) fn arrives(&mut self, number: u32) -> Arrival {
        if self.next <= number {
            if self.next < number {
                self.missing.push((self.next, number));
            }
            self.next = number.saturating_add(1);
            return Arrival::InOrder;
        }
        self.fill(number)
    }

    /// Records a number below `next`: a missing one, or a duplicate.
    fn fill(&mut self, number: u32) -> Arrival {
        let at = self.missing.partition_point(|(_, end)| *end <= number);
        match self.missing.get(at).copied() {
            Some((start, end)) if start <= number => {
                let rest = [(start, number), (number + 1, end)];
                let rest = rest.into_iter().filter(|(start, end)| start < end);
                self.missing.splice(at..=at, rest);
                Arrival::Late
            }
            _ => Arrival::Again,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(numbers: &[u32]) -> Account {
        let (mut stream, mut account) = (Stream::default(), Account::default());
        for number in numbers {
            account.enter(stream.arrives(*number));
        }
        account
    }

    #[test]
    fn messages_in_order_are_delivered() {
        assert_eq!(account(&[0, 1, 2, 3]), Account { delivered: 4, ..Account::default() });
    }

    #[test]
    fn gap_is_not_delivered() {
        assert_eq!(account(&[0, 5, 6]), Account { delivered: 3, ..Account::default() });
    }

    #[test]
    fn overtaken_message_is_delivered_out_of_order() {
        let expected = Account { delivered: 4, out_of_order: 2, ..Account::default() };
        assert_eq!(account(&[3, 1, 2, 4]), expected);
    }

    #[test]
    fn repeated_message_is_delivered_once_and_duplicated() {
        let expected = Account { delivered: 3, duplicated: 2, ..Account::default() };
        assert_eq!(account(&[0, 0, 1, 2, 1]), expected);
        let late_twice =
            Account { delivered: 2, out_of_order: 1, duplicated: 1, ..Account::default() };
        assert_eq!(account(&[5, 2, 2]), late_twice);
    }

    #[test]
    fn messages_in_any_order_are_all_delivered() {
        let numbers: Vec<u32> = (0..97).map(|n| n * 31 % 97).collect();
        let account = account(&numbers);
        assert_eq!((account.delivered, account.duplicated), (97, 0));
    }
}
