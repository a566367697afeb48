//! Events that were started and did not complete at once: a value.

/// The last event of each shard.
#[derive(Debug, Default)]
pub(super) struct Started(Vec<(u16, u64)>);

impl Started {
    /// Records an event. One that has waited for its client may be older than others of its shard
    /// that were started before it.
    pub(super) fn note(&mut self, shard: u16, seq: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == shard) {
            Some((_, last)) => *last = (*last).max(seq),
            None => self.0.push((shard, seq)),
        }
    }

    /// The last event of each shard since the last call.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (u16, u64)> {
        self.0.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_event_does_not_take_back_what_was_started() {
        let mut started = Started::default();
        for (shard, seq) in [(0, 4), (1, 7), (0, 9), (0, 5), (1, 6)] {
            started.note(shard, seq);
        }
        assert_eq!(started.take().collect::<Vec<_>>(), [(0, 9), (1, 7)]);
        assert_eq!(started.take().count(), 0);
    }
}
