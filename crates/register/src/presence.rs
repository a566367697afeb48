//! Which workers are here, and whose clients on gateways that are gone were closed. A value.

use std::collections::VecDeque;

use protocol::{
    Instance,
    discovery::{Presence, Settled},
};

use crate::addresses::PeerId;

/// How much is remembered of what was settled, and taken from one worker at a time. Workers say
/// again what they know whenever they connect, so nothing more depends on it than how soon others
/// hear.
const REMEMBERED: usize = 256;

/// What workers know of each other through us.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    here: Vec<(PeerId, Instance)>,
    /// Newest last.
    settled: VecDeque<Settled>,
}

impl Workers {
    /// A worker says who it is. Says whether that is news.
    pub(crate) fn enter(&mut self, peer: PeerId, instance: &Instance) -> bool {
        match self.here.iter_mut().find(|(known, _)| *known == peer) {
            Some((_, before)) if before == instance => return false,
            Some((_, before)) => before.clone_from(instance),
            None => self.here.push((peer, instance.clone())),
        }
        true
    }

    /// Somebody is gone. Says whether that was one of the workers.
    pub(crate) fn leave(&mut self, peer: PeerId) -> bool {
        let before = self.here.len();
        self.here.retain(|(known, _)| *known != peer);
        before != self.here.len()
    }

    /// A worker says what is settled. Says whether any of it is news.
    pub(crate) fn settle(&mut self, settled: Vec<Settled>) -> bool {
        let mut news = false;
        for settled in settled.into_iter().take(REMEMBERED) {
            if self.settled.contains(&settled) {
                continue;
            }
            if self.settled.len() == REMEMBERED {
                self.settled.pop_front();
            }
            self.settled.push_back(settled);
            news = true;
        }
        news
    }

    /// Whether this peer is a worker that has said who it is.
    pub(crate) fn has(&self, peer: PeerId) -> bool {
        self.here.iter().any(|(known, _)| *known == peer)
    }

    /// What workers are told.
    pub(crate) fn presence(&self) -> Presence {
        Presence {
            workers: self.here.iter().map(|(_, instance)| instance.clone()).collect(),
            settled: self.settled.iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Instance {
        Instance::new(text).unwrap()
    }

    fn settled(gateway: &str) -> Settled {
        Settled { gateway: name(gateway), owner: name("w") }
    }

    #[test]
    fn only_news_are_news() {
        let mut workers = Workers::default();
        assert!(workers.enter(1, &name("w")));
        assert!(!workers.enter(1, &name("w")));
        assert!(workers.enter(1, &name("x")), "another life by the same connection");
        assert!(workers.has(1) && !workers.has(2));
        assert!(workers.settle(vec![settled("a"), settled("a")]));
        assert!(!workers.settle(vec![settled("a")]));
        assert!(!workers.leave(2));
        assert!(workers.leave(1));
        let left = Presence { workers: vec![], settled: vec![settled("a")] };
        assert_eq!(workers.presence(), left, "it stays when its worker is gone");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut workers = Workers::default();
        for one in 0..REMEMBERED * 2 {
            workers.settle(vec![settled(&one.to_string())]);
        }
        workers.settle((0..9999).map(|one| settled(&one.to_string())).collect());
        assert_eq!(workers.presence().settled.len(), REMEMBERED);
    }
}
