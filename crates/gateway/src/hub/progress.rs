//! How many commands of each peer were taken by links that have ended: a value.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use protocol::Instance;

/// How many peers are remembered. Beyond it, those whose links ended first are forgotten.
const MAX_PEERS: usize = 16 * 1024;

/// How long a peer is remembered.
const MAX_AGE: Duration = Duration::from_hours(1);

/// What was taken, by the life of the peer. One that is back before it is forgotten need not send
/// anything twice.
#[derive(Debug, Default)]
pub(super) struct Progress {
    peers: HashMap<Instance, Ended>,
    /// Each peer once, with when a link of it ended, oldest first. Another may have ended since.
    order: VecDeque<(Instance, Instant)>,
}

#[derive(Debug)]
struct Ended {
    through: u64,
    at: Instant,
}

impl Progress {
    /// The number of the last command that was taken; 0 if the peer is not known.
    pub(super) fn of(&self, peer: &Instance) -> u64 {
        self.peers.get(peer).map_or(0, |ended| ended.through)
    }

    /// A link has ended after that command, if it brought any.
    pub(super) fn ended(&mut self, peer: Instance, through: u64, now: Instant) {
        self.forget(now);
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
            self.forget_first();
        }
    }

    /// Forgets those whose links ended too long ago.
    fn forget(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(_, at)| MAX_AGE <= now.duration_since(*at)) {
            self.forget_first();
        }
    }

    /// Forgets the first, or puts it behind the others if another link of it has ended since.
    fn forget_first(&mut self) {
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

    fn peer(number: u64) -> Instance {
        Instance::from_dice(number)
    }

    #[test]
    fn each_peer_has_its_own_and_it_never_goes_back() {
        let (mut progress, now) = (Progress::default(), Instant::now());
        progress.ended(peer(1), 7, now);
        progress.ended(peer(2), 3, now);
        // An older link of the same peer that is found dead later.
        progress.ended(peer(1), 5, now);
        assert_eq!((progress.of(&peer(1)), progress.of(&peer(2))), (7, 3));
        assert_eq!(progress.of(&peer(3)), 0);
    }

    #[test]
    fn those_who_commanded_nothing_take_no_room() {
        let mut progress = Progress::default();
        progress.ended(peer(1), 0, Instant::now());
        assert!(progress.peers.is_empty() && progress.order.is_empty());
    }

    #[test]
    fn the_oldest_are_forgotten_when_there_are_too_many() {
        let (mut progress, now) = (Progress::default(), Instant::now());
        for number in 0..=MAX_PEERS as u64 {
            progress.ended(peer(number), 1, now + Duration::from_micros(number));
        }
        assert_eq!((progress.of(&peer(0)), progress.of(&peer(1))), (0, 1));
        assert_eq!((progress.peers.len(), progress.order.len()), (MAX_PEERS, MAX_PEERS));
    }

    #[test]
    fn one_that_comes_and_goes_takes_no_more_room_and_is_as_young_as_its_last_link() {
        let (mut progress, start) = (Progress::default(), Instant::now());
        for round in 1..=100 {
            progress.ended(peer(1), round, start + Duration::from_micros(round));
        }
        assert_eq!((progress.of(&peer(1)), progress.order.len()), (100, 1));
        progress.ended(peer(2), 1, start + Duration::from_millis(1));
        progress.ended(peer(1), 101, start + MAX_AGE / 2);
        progress.ended(peer(3), 1, start + MAX_AGE + Duration::from_secs(1));
        assert_eq!((progress.of(&peer(1)), progress.of(&peer(2))), (101, 0));
        progress.ended(peer(3), 2, start + MAX_AGE + MAX_AGE / 2);
        assert_eq!((progress.of(&peer(1)), progress.of(&peer(3))), (0, 2));
        assert_eq!((progress.peers.len(), progress.order.len()), (1, 1));
    }

    #[test]
    fn of_too_many_those_stay_whose_links_ended_last() {
        let (mut progress, start) = (Progress::default(), Instant::now());
        let later = |number: u64| start + Duration::from_micros(number);
        for number in 0..MAX_PEERS as u64 {
            progress.ended(peer(number), 1, later(number));
        }
        progress.ended(peer(0), 2, later(MAX_PEERS as u64));
        progress.ended(peer(MAX_PEERS as u64), 1, later(MAX_PEERS as u64 + 1));
        assert_eq!(
            (progress.of(&peer(0)), progress.of(&peer(1)), progress.of(&peer(2))),
            (2, 0, 1)
        );
    }
}
