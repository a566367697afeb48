//! Deadlines of connections: a value.

use std::{collections::BTreeSet, time::Instant};

use crate::shard::slot::SlotKey;

/// The deadlines of a shard's connections, soonest first: one entry per connection with a deadline.
/// Each connection also stores its own deadline; both have to change together.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeSet<(Instant, SlotKey)>);

impl Deadlines {
    /// Changes the deadline of a connection from `before` to `after`.
    pub(super) fn change(&mut self, key: SlotKey, before: Option<Instant>, after: Option<Instant>) {
        self.clear(key, before);
        self.0.extend(after.map(|deadline| (deadline, key)));
    }

    /// Removes the deadline `before` of a connection.
    pub(super) fn clear(&mut self, key: SlotKey, before: Option<Instant>) {
        if let Some(deadline) = before {
            self.0.remove(&(deadline, key));
        }
    }

    /// Removes and returns a connection whose deadline has passed.
    pub(super) fn passed(&mut self, now: Instant) -> Option<SlotKey> {
        let (deadline, _) = self.0.first()?;
        if now < *deadline {
            return None;
        }
        self.0.pop_first().map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn passed(deadlines: &mut Deadlines, now: Instant) -> Vec<SlotKey> {
        std::iter::from_fn(|| deadlines.passed(now)).collect()
    }

    #[test]
    fn deadline_passes_at_its_time_and_once() {
        let (mut deadlines, start) = (Deadlines::default(), Instant::now());
        for (key, seconds) in [(1, 10), (2, 6), (3, 12)] {
            deadlines.change(key, None, Some(start + seconds * SECOND));
        }
        assert_eq!(passed(&mut deadlines, start + 5 * SECOND), [0; 0]);
        assert_eq!(passed(&mut deadlines, start + 6 * SECOND), [2]);
        assert_eq!(passed(&mut deadlines, start + 99 * SECOND), [1, 3]);
        assert_eq!(passed(&mut deadlines, start + 99 * SECOND), [0; 0]);
    }

    #[test]
    fn connection_has_one_entry_however_often_its_deadline_changes() {
        let (mut deadlines, start) = (Deadlines::default(), Instant::now());
        let mut known = None;
        for seconds in 0..1000 {
            let next = Some(start + seconds * SECOND);
            deadlines.change(1, known, next);
            known = next;
        }
        assert_eq!(deadlines.0.len(), 1);
        deadlines.clear(1, known);
        assert!(deadlines.0.is_empty());
    }
}
