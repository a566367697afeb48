//! The newest positions that were seen, so that a server which has lost some of them is noticed.

use std::collections::HashMap;

use protocol::{Epoch, Position, StreamName};

/// The most streams of one generation.
const MOST_STREAMS: usize = 10_000;

/// The most replaced epochs that are remembered of a stream.
const MOST_RETIRED: usize = 8;

/// The newest positions of the streams that were used last. The rest is forgotten in two generations,
/// which bounds the memory without an order of use.
#[derive(Debug, Default)]
pub(super) struct Seen {
    recent: HashMap<StreamName, Known>,
    older: HashMap<StreamName, Known>,
}

/// The newest position of a stream, and its earlier epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) top: Position,
    /// Epochs that others followed. A server that has one of them again was rolled back.
    pub(super) retired: Vec<Epoch>,
}

impl Seen {
    pub(super) fn of(&self, stream: &StreamName) -> Option<&Known> {
        self.recent.get(stream).or_else(|| self.older.get(stream))
    }

    /// Notes a position of a message, or the newest one.
    pub(super) fn note(&mut self, stream: &StreamName, position: Position) {
        if let Some(known) = self.recent.get_mut(stream) {
            known.note(position);
            return;
        }
        if MOST_STREAMS <= self.recent.len() {
            self.older = std::mem::take(&mut self.recent);
        }
        let new = || Known { top: position, retired: Vec::new() };
        let mut known = self.older.remove(stream).unwrap_or_else(new);
        known.note(position);
        self.recent.insert(stream.clone(), known);
    }
}

impl Known {
    fn note(&mut self, position: Position) {
        if self.top.epoch == position.epoch {
            self.top.offset = self.top.offset.max(position.offset);
        } else if !self.retired.contains(&position.epoch) {
            if self.retired.len() == MOST_RETIRED {
                self.retired.remove(0);
            }
            self.retired.push(self.top.epoch);
            self.top = position;
        }
        // Else it is an answer that was overtaken by one of the next epoch.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, offset: u64) -> Position {
        Position::new(Epoch::from_bits(epoch), offset)
    }

    fn stream(number: u32) -> StreamName {
        StreamName::Uid(number.into())
    }

    #[test]
    fn newest_position_is_kept_in_any_order_of_answers() {
        let mut seen = Seen::default();
        assert_eq!(seen.of(&stream(1)), None);
        for position in [at(1, 5), at(1, 7), at(1, 6), at(2, 3), at(1, 9)] {
            seen.note(&stream(1), position);
        }
        let known = Known { top: at(2, 3), retired: vec![Epoch::from_bits(1)] };
        assert_eq!(seen.of(&stream(1)), Some(&known));
    }

    #[test]
    fn memory_is_bounded() {
        let mut seen = Seen::default();
        for number in 0..3 * MOST_STREAMS as u32 {
            seen.note(&stream(number), at(1, 1));
        }
        assert!(seen.recent.len() + seen.older.len() <= 2 * MOST_STREAMS);
        assert!(seen.of(&stream(3 * MOST_STREAMS as u32 - 1)).is_some());
        for epoch in 1..100 {
            seen.note(&stream(0), at(epoch, 1));
        }
        let retired = &seen.of(&stream(0)).unwrap().retired;
        assert_eq!(retired.len(), MOST_RETIRED);
        assert_eq!(retired.last(), Some(&Epoch::from_bits(98)));
    }

    #[test]
    fn stream_in_use_outlives_the_generations() {
        let mut seen = Seen::default();
        seen.note(&stream(0), at(1, 7));
        for number in 1..3 * MOST_STREAMS as u32 {
            seen.note(&stream(number), at(1, 1));
            if number % 1000 == 0 {
                seen.note(&stream(0), at(1, 1));
            }
        }
        assert_eq!(seen.of(&stream(0)).unwrap().top, at(1, 7));
    }
}
