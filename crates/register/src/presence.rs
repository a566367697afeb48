//! Which workers are here, and whose clients on gateways that are gone were closed. A value.

use std::collections::VecDeque;

use protocol::{
    Instance,
    discovery::{Presence, Settled, Takeover, WorkerConnect},
};

use crate::addresses::PeerId;

/// How much is remembered of what was settled, and taken from one worker at a time. Workers say
/// again what they know whenever they connect, so nothing more depends on it than how soon others
/// hear.
const REMEMBERED: usize = 256;

/// The same for takeovers, each of which names several workers.
const TAKEOVERS: usize = 64;

/// What workers know of each other through us.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    here: Vec<Here>,
    /// Newest last.
    settled: VecDeque<Settled>,
    /// Newest last.
    takeovers: VecDeque<Takeover>,
}

#[derive(Debug)]
struct Here {
    peer: PeerId,
    instance: Instance,
    /// Whether it reaches every gateway.
    complete: bool,
}

impl Workers {
    /// A worker introduces itself and says what it knows. Returns whether any of it is news for others; that
    /// introduction makes it one of the workers.
    pub(crate) fn enter(&mut self, peer: PeerId, asks: WorkerConnect) -> bool {
        let WorkerConnect { instance: Some(instance), settled, takeovers, complete, .. } = asks
        else {
            return false;
        };
        let mut news = match self.here.iter_mut().find(|known| known.peer == peer) {
            Some(known) => {
                let same = known.instance == instance && known.complete == complete;
                (known.instance, known.complete) = (instance, complete);
                !same
            }
            None => {
                self.here.push(Here { peer, instance, complete });
                true
            }
        };
        news |= remember(&mut self.settled, settled, REMEMBERED);
        news |= remember(&mut self.takeovers, takeovers, TAKEOVERS);
        news
    }

    /// Somebody is gone. Says whether that was one of the workers.
    pub(crate) fn leave(&mut self, peer: PeerId) -> bool {
        let before = self.here.len();
        self.here.retain(|known| known.peer != peer);
        before != self.here.len()
    }

    /// Whether this peer is a worker that has said who it is.
    pub(crate) fn has(&self, peer: PeerId) -> bool {
        self.here.iter().any(|known| known.peer == peer)
    }

    /// What workers are told.
    pub(crate) fn presence(&self) -> Presence {
        let complete = self.here.iter().filter(|known| known.complete);
        Presence {
            workers: self.here.iter().map(|known| known.instance.clone()).collect(),
            settled: self.settled.iter().cloned().collect(),
            takeovers: self.takeovers.iter().cloned().collect(),
            complete: complete.map(|known| known.instance.clone()).collect(),
        }
    }
}

/// Adds what is new, in place of the oldest if there are more than `most`. Returns whether any is.
fn remember<T: PartialEq>(known: &mut VecDeque<T>, told: Vec<T>, most: usize) -> bool {
    let mut news = false;
    for told in told.into_iter().take(most) {
        if known.contains(&told) {
            continue;
        }
        if known.len() == most {
            known.pop_front();
        }
        known.push_back(told);
        news = true;
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Instance {
        Instance::new(text).unwrap()
    }

    fn asks(worker: &str) -> WorkerConnect {
        WorkerConnect {
            secret_key: None,
            known: vec![],
            instance: Some(name(worker)),
            settled: vec![],
            takeovers: vec![],
            complete: false,
        }
    }

    fn settled(gateway: &str) -> Settled {
        Settled { gateway: name(gateway), owner: name("w") }
    }

    fn takeover(gateway: &str) -> Takeover {
        let holders = vec![name("v"), name("w")];
        Takeover { gateway: name(gateway), by: name("w"), digest: 7, holders }
    }

    #[test]
    fn only_news_are_news() {
        let mut workers = Workers::default();
        assert!(workers.enter(1, asks("w")));
        assert!(!workers.enter(1, asks("w")));
        assert!(workers.enter(1, asks("x")), "another life by the same connection");
        assert!(workers.has(1) && !workers.has(2));
        let twice = WorkerConnect { settled: vec![settled("a"), settled("a")], ..asks("x") };
        assert!(workers.enter(1, twice));
        assert!(!workers.enter(1, WorkerConnect { settled: vec![settled("a")], ..asks("x") }));
        let took_over = || WorkerConnect { takeovers: vec![takeover("b")], ..asks("x") };
        assert!(workers.enter(1, took_over()) && !workers.enter(1, took_over()));
        assert!(!workers.leave(2));
        assert!(workers.leave(1));
        let left = Presence {
            settled: vec![settled("a")],
            takeovers: vec![takeover("b")],
            ..Presence::default()
        };
        assert_eq!(workers.presence(), left, "it stays when its worker is gone");
    }

    #[test]
    fn worker_is_complete_for_as_long_as_it_says_so() {
        let mut workers = Workers::default();
        let complete = || WorkerConnect { complete: true, ..asks("w") };
        workers.enter(1, asks("v"));
        assert!(workers.enter(2, complete()) && !workers.enter(2, complete()));
        assert_eq!(workers.presence().complete, [name("w")]);
        assert!(workers.enter(2, asks("w")));
        assert_eq!(workers.presence().complete, []);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut workers = Workers::default();
        for one in 0..REMEMBERED * 2 {
            let settled = vec![settled(&one.to_string())];
            let takeovers = vec![takeover(&one.to_string())];
            workers.enter(1, WorkerConnect { settled, takeovers, ..asks("w") });
        }
        let settled = (0..9999).map(|one| settled(&one.to_string())).collect();
        let takeovers = (0..9999).map(|one| takeover(&one.to_string())).collect();
        workers.enter(1, WorkerConnect { settled, takeovers, ..asks("w") });
        let presence = workers.presence();
        assert_eq!((presence.settled.len(), presence.takeovers.len()), (REMEMBERED, TAKEOVERS));
    }
}
