//! Finished events, as ranges of their numbers.

use protocol::link::ToGateway;

/// Finished events that are not acknowledged yet. Adjacent events are merged into a range, so that
/// a batch is usually acknowledged with one message.
#[derive(Debug, Default)]
pub struct Finished(Vec<Range>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    shard: u16,
    first: u64,
    last: u64,
}

/// How many ranges are searched for an adjacent one: the shards of a gateway interleave.
const LOOK_BACK: usize = 8;

impl Finished {
    /// Adds one event.
    pub fn add(&mut self, shard: u16, seq: u64) {
        self.add_range(Range { shard, first: seq, last: seq });
    }

    fn add_range(&mut self, new: Range) {
        for range in self.0.iter_mut().rev().take(LOOK_BACK) {
            if range.shard == new.shard && range.last + 1 == new.first {
                range.last = new.last;
                return;
            }
        }
        self.0.push(new);
    }

    /// Moves the events of another list here.
    pub(super) fn append(&mut self, other: &mut Self) {
        for range in other.0.drain(..) {
            self.add_range(range);
        }
    }

    /// Whether there is nothing to acknowledge.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn drain(&mut self, mut report: impl FnMut(ToGateway)) {
        for Range { shard, first, last } in self.0.drain(..) {
            report(ToGateway::EventAck { shard, first, last });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reported(finished: &mut Finished) -> Vec<(u16, u64, u64)> {
        let mut reported = Vec::new();
        finished.drain(|done| match done {
            ToGateway::EventAck { shard, first, last } => reported.push((shard, first, last)),
            other => panic!("{other:?}"),
        });
        reported
    }

    #[test]
    fn batch_is_merged_into_one_range_per_shard() {
        let mut finished = Finished::default();
        for seq in 1..=3 {
            finished.add(0, seq);
            finished.add(1, seq + 10);
        }
        assert_eq!(reported(&mut finished), [(0, 1, 3), (1, 11, 13)]);
        assert!(finished.is_empty());
    }

    proptest! {
        #[test]
        fn every_event_is_reported_exactly_once(
            order in Just((0..4_u16).flat_map(|shard| (1..40_u64).map(move |seq| (shard, seq)))
                .collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut finished = Finished::default();
            for (shard, seq) in &order {
                finished.add(*shard, *seq);
            }
            let mut all: Vec<_> = reported(&mut finished)
                .into_iter()
                .flat_map(|(shard, first, last)| (first..=last).map(move |seq| (shard, seq)))
                .collect();
            all.sort_unstable();
            let mut order = order;
            order.sort_unstable();
            prop_assert_eq!(all, order);
        }
    }
}
