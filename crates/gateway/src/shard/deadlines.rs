//! When connections must have come further.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::connection::Key;

/// Connections that must have come further by some time.
///
/// There are only a few lengths of time, and what waits equally long is over in the order in which
/// it began: a queue for each length, and no timer for any connection. What was reached in time is
/// not taken out but found to be void when its time comes.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    queues: Vec<(Duration, VecDeque<(Instant, Key)>)>,
}

impl Deadlines {
    /// Remembers that a connection must have come further by `now + length`, and returns that.
    pub(super) fn set(&mut self, now: Instant, length: Duration, key: Key) -> Instant {
        let deadline = now + length;
        match self.queues.iter_mut().find(|(known, _)| *known == length) {
            Some((_, queue)) => queue.push_back((deadline, key)),
            None => self.queues.push((length, VecDeque::from([(deadline, key)]))),
        }
        deadline
    }

    /// A connection whose deadline has passed, and that deadline: void unless it is still the
    /// connection's own.
    pub(super) fn passed(&mut self, now: Instant) -> Option<(Instant, Key)> {
        self.queues
            .iter_mut()
            .find(|(_, queue)| queue.front().is_some_and(|(deadline, _)| *deadline <= now))?
            .1
            .pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_passes_at_its_time() {
        let (mut deadlines, start) = (Deadlines::default(), Instant::now());
        let second = Duration::from_secs(1);
        deadlines.set(start, 10 * second, 1);
        deadlines.set(start + second, 5 * second, 2);
        deadlines.set(start + 2 * second, 10 * second, 3);
        let mut passed = |after: u32| {
            let now = start + after * second;
            std::iter::from_fn(|| deadlines.passed(now)).map(|(_, key)| key).collect::<Vec<_>>()
        };
        assert_eq!(passed(5), [0; 0]);
        assert_eq!(passed(6), [2]);
        assert_eq!(passed(11), [1]);
        assert_eq!(passed(99), [3]);
    }
}
