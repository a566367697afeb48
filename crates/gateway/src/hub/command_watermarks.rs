//! The last accepted command of each peer whose link has ended.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use protocol::InstanceId;

/// Maximum number of peers. Beyond it, those whose links ended first are evicted.
const MAX_PEERS: usize = 16 * 1024;

/// How long the watermark of a peer is kept.
const MAX_AGE: Duration = Duration::from_hours(1);

/// The last accepted command by instance id of the peer. A peer that reconnects before its entry
/// expires need not send any command twice.
#[derive(Debug, Default)]
pub(super) struct CommandWatermarks {
    peers: HashMap<InstanceId, Ended>,
    /// Each peer once, with the time when a link of it ended, oldest first. A later link may have
    /// ended since.
    order: VecDeque<(InstanceId, Instant)>,
}

#[derive(Debug)]
struct Ended {
    through: u64,
    at: Instant,
}

impl CommandWatermarks {
    /// Sequence number of the last accepted command; 0 for an unknown peer.
    pub(super) fn of(&self, peer: &InstanceId) -> u64 {
        self.peers.get(peer).map_or(0, |ended| ended.through)
    }

    /// Records the end of a link after command `through`; 0 if it carried none.
    pub(super) fn ended(&mut self, peer: InstanceId, through: u64, now: Instant) {
        self.evict_expired(now);
        if through == 0 {
            return;
        }
        if let Some(ended) = self.peers.get_mut(&peer) {
            (ended.through, ended.at) = (through.max(ended.through), now);
            return;
        }
        self.peers.insert(peer.clone(), Ended { through, at: now });
        self.order.push_back((peer, now));
        while MAX_PEERS < self.order.len() {
            self.evict_first();
        }
    }

    /// Evicts expired entries.
    fn evict_expired(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(_, at)| MAX_AGE <= now.duration_since(*at)) {
            self.evict_first();
        }
    }

    /// Evicts the first entry, or requeues it if a later link of that peer has ended since.
    fn evict_first(&mut self) {
        let Some((peer, at)) = self.order.pop_front() else { return };
        match self.peers.get(&peer) {
            Some(ended) if at < ended.at => self.order.push_back((peer, ended.at)),
            _ => {
                self.peers.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u64) -> InstanceId {
        InstanceId::from_random(number)
    }

    #[test]
    fn watermark_is_per_peer_and_never_decreases() {
        let (mut watermarks, now) = (CommandWatermarks::default(), Instant::now());
        watermarks.ended(peer(1), 7, now);
        watermarks.ended(peer(2), 3, now);
        // An older link of the same peer whose loss is detected later.
        watermarks.ended(peer(1), 5, now);
        assert_eq!((watermarks.of(&peer(1)), watermarks.of(&peer(2))), (7, 3));
        assert_eq!(watermarks.of(&peer(3)), 0);
    }

    #[test]
    fn peer_without_commands_is_not_recorded() {
        let mut watermarks = CommandWatermarks::default();
        watermarks.ended(peer(1), 0, Instant::now());
        assert!(watermarks.peers.is_empty() && watermarks.order.is_empty());
    }

    #[test]
    fn oldest_entry_is_evicted_at_limit() {
        let (mut watermarks, now) = (CommandWatermarks::default(), Instant::now());
        for number in 0..=MAX_PEERS as u64 {
            watermarks.ended(peer(number), 1, now + Duration::from_micros(number));
        }
        assert_eq!((watermarks.of(&peer(0)), watermarks.of(&peer(1))), (0, 1));
        assert_eq!((watermarks.peers.len(), watermarks.order.len()), (MAX_PEERS, MAX_PEERS));
    }

    #[test]
    fn reconnecting_peer_has_one_entry_that_expires_after_its_last_link() {
        let (mut watermarks, start) = (CommandWatermarks::default(), Instant::now());
        for round in 1..=100 {
            watermarks.ended(peer(1), round, start + Duration::from_micros(round));
        }
        assert_eq!((watermarks.of(&peer(1)), watermarks.order.len()), (100, 1));
        watermarks.ended(peer(2), 1, start + Duration::from_millis(1));
        watermarks.ended(peer(1), 101, start + MAX_AGE / 2);
        watermarks.ended(peer(3), 1, start + MAX_AGE + Duration::from_secs(1));
        assert_eq!((watermarks.of(&peer(1)), watermarks.of(&peer(2))), (101, 0));
        watermarks.ended(peer(3), 2, start + MAX_AGE + MAX_AGE / 2);
        assert_eq!((watermarks.of(&peer(1)), watermarks.of(&peer(3))), (0, 2));
        assert_eq!((watermarks.peers.len(), watermarks.order.len()), (1, 1));
    }

    #[test]
    fn eviction_at_limit_keeps_most_recently_ended_links() {
        let (mut watermarks, start) = (CommandWatermarks::default(), Instant::now());
        let later = |number: u64| start + Duration::from_micros(number);
        for number in 0..MAX_PEERS as u64 {
            watermarks.ended(peer(number), 1, later(number));
        }
        watermarks.ended(peer(0), 2, later(MAX_PEERS as u64));
        watermarks.ended(peer(MAX_PEERS as u64), 1, later(MAX_PEERS as u64 + 1));
        assert_eq!(
            (watermarks.of(&peer(0)), watermarks.of(&peer(1)), watermarks.of(&peer(2))),
            (2, 0, 1)
        );
    }
}
