//! The outcomes of the last holds: a value.
//!
//! A worker that has died, or lost its link, may have released a client without knowing. The handler
//! is repeated then, and is to send the client nothing again.

use std::collections::VecDeque;

use protocol::ConnectionId;
use rustc_hash::FxHashMap;

/// Number of outcomes that are remembered.
const REMEMBERED: usize = 16 * 1024;

/// Holds that have ended, by client and number.
#[derive(Debug, Default)]
pub(super) struct Ended {
    outcomes: FxHashMap<(ConnectionId, u64), bool>,
    order: VecDeque<(ConnectionId, u64)>,
}

impl Ended {
    /// A hold has ended; the client has recovered, or was notified that it may have missed messages.
    pub(super) fn add(&mut self, client: ConnectionId, number: u64, recovered: bool) {
        if self.outcomes.insert((client, number), recovered).is_none() {
            self.order.push_back((client, number));
        }
        if REMEMBERED < self.order.len()
            && let Some(oldest) = self.order.pop_front()
        {
            self.outcomes.remove(&oldest);
        }
    }

    /// Whether the client had recovered when this hold ended; `None` if it is not known to have.
    pub(super) fn find(&self, client: ConnectionId, number: u64) -> Option<bool> {
        self.outcomes.get(&(client, number)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_outcomes_are_remembered() {
        let mut ended = Ended::default();
        let client = ConnectionId(1);
        for number in 0..=REMEMBERED as u64 {
            ended.add(client, number, number % 2 == 0);
            ended.add(client, number, number % 2 == 0);
        }
        assert_eq!(ended.find(client, 0), None, "the oldest is forgotten");
        assert_eq!((ended.find(client, 1), ended.find(client, 2)), (Some(false), Some(true)));
        assert_eq!(ended.find(ConnectionId(2), 1), None);
        assert_eq!((ended.outcomes.len(), ended.order.len()), (REMEMBERED, REMEMBERED));
    }
}
