//! When connections must have come further: a value.

use std::{collections::BTreeSet, time::Instant};

use super::connection::Key;

/// The deadlines of a shard's connections, soonest first: one entry for each connection that has one,
/// and none for the others. A connection knows its own deadline; every change of it is made here too.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeSet<(Instant, Key)>);

impl Deadlines {
    /// A connection whose deadline was `before` has `after` now.
    pub(super) fn change(&mut self, key: Key, before: Option<Instant>, after: Option<Instant>) {
        self.clear(key, before);
        self.0.extend(after.map(|deadline| (deadline, key)));
    }

    /// A connection whose deadline was `before` has none any more.
    pub(super) fn clear(&mut self, key: Key, before: Option<Instant>) {
        if let Some(deadline) = before {
            self.0.remove(&(deadline, key));
        }
    }

    /// Takes out a connection whose deadline has passed: it has none any more.
    pub(super) fn passed(&mut self, now: Instant) -> Option<Key> {
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

    fn passed(deadlines: &mut Deadlines, now: Instant) -> Vec<Key> {
        std::iter::from_fn(|| deadlines.passed(now)).collect()
    }

    #[test]
    fn each_passes_at_its_time_and_once() {
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
