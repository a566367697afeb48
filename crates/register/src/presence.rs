//! The connected native workers, and their cleanup records of dead gateways. A value.

use std::collections::VecDeque;

use protocol::{
    InstanceId,
    discovery::{CleanupRecord, Presence, Takeover, WorkerConnect},
};

use crate::addresses::PeerId;

/// Maximum number of cleanup records kept, and accepted in one request. Workers resend their
/// records whenever they connect, so the limit affects only how soon other workers are notified.
const MAX_SETTLED: usize = 256;

/// The same for takeovers, each of which names several workers.
const MAX_TAKEOVERS: usize = 64;

/// The state that the register shares between workers.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    connected: Vec<Worker>,
    /// Newest last.
    settled: VecDeque<CleanupRecord>,
    /// Newest last.
    takeovers: VecDeque<Takeover>,
}

#[derive(Debug)]
struct Worker {
    peer: PeerId,
    instance: InstanceId,
    /// Whether it is linked to every gateway.
    complete: bool,
}

impl Workers {
    /// Adds or updates a worker and its records. Returns whether anything is new to other workers.
    /// A request without an instance id is ignored.
    pub(crate) fn update(&mut self, peer: PeerId, request: WorkerConnect) -> bool {
        let WorkerConnect { instance: Some(instance), settled, takeovers, complete, .. } = request
        else {
            return false;
        };
        let mut is_new = match self.connected.iter_mut().find(|known| known.peer == peer) {
            Some(known) => {
                let same = known.instance == instance && known.complete == complete;
                (known.instance, known.complete) = (instance, complete);
                !same
            }
            None => {
                self.connected.push(Worker { peer, instance, complete });
                true
            }
        };
        is_new |= remember(&mut self.settled, settled, MAX_SETTLED);
        is_new |= remember(&mut self.takeovers, takeovers, MAX_TAKEOVERS);
        is_new
    }

    /// Removes a peer. Returns whether it was a native worker.
    pub(crate) fn remove(&mut self, peer: PeerId) -> bool {
        let before = self.connected.len();
        self.connected.retain(|known| known.peer != peer);
        before != self.connected.len()
    }

    /// Whether this peer is a native worker.
    pub(crate) fn has(&self, peer: PeerId) -> bool {
        self.connected.iter().any(|known| known.peer == peer)
    }

    /// The state to send to workers.
    pub(crate) fn presence(&self) -> Presence {
        let complete = self.connected.iter().filter(|known| known.complete);
        Presence {
            workers: self.connected.iter().map(|known| known.instance.clone()).collect(),
            settled: self.settled.iter().cloned().collect(),
            takeovers: self.takeovers.iter().cloned().collect(),
            complete: complete.map(|known| known.instance.clone()).collect(),
        }
    }
}

/// Adds new records, evicting the oldest beyond `max`. Returns whether any is new.
fn remember<T: PartialEq>(known: &mut VecDeque<T>, records: Vec<T>, max: usize) -> bool {
    let mut is_new = false;
    for record in records.into_iter().take(max) {
        if known.contains(&record) {
            continue;
        }
        if known.len() == max {
            known.pop_front();
        }
        known.push_back(record);
        is_new = true;
    }
    is_new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> InstanceId {
        InstanceId::new(text).unwrap()
    }

    fn request(worker: &str) -> WorkerConnect {
        WorkerConnect {
            secret_key: None,
            known: vec![],
            instance: Some(name(worker)),
            settled: vec![],
            takeovers: vec![],
            complete: false,
            about: false,
        }
    }

    fn settled(gateway: &str) -> CleanupRecord {
        CleanupRecord { gateway: name(gateway), owner: name("w") }
    }

    fn takeover(gateway: &str) -> Takeover {
        let holders = vec![name("v"), name("w")];
        Takeover { gateway: name(gateway), by: name("w"), digest: 7, holders }
    }

    #[test]
    fn repeated_request_is_not_new() {
        let mut workers = Workers::default();
        assert!(workers.update(1, request("w")));
        assert!(!workers.update(1, request("w")));
        assert!(workers.update(1, request("x")), "another instance on the same connection");
        assert!(workers.has(1) && !workers.has(2));
        let twice = WorkerConnect { settled: vec![settled("a"), settled("a")], ..request("x") };
        assert!(workers.update(1, twice));
        assert!(!workers.update(1, WorkerConnect { settled: vec![settled("a")], ..request("x") }));
        let took_over = || WorkerConnect { takeovers: vec![takeover("b")], ..request("x") };
        assert!(workers.update(1, took_over()) && !workers.update(1, took_over()));
        assert!(!workers.remove(2));
        assert!(workers.remove(1));
        let left = Presence {
            settled: vec![settled("a")],
            takeovers: vec![takeover("b")],
            ..Presence::default()
        };
        assert_eq!(workers.presence(), left, "records outlive their worker's connection");
    }

    #[test]
    fn worker_is_complete_while_its_last_request_is() {
        let mut workers = Workers::default();
        let complete = || WorkerConnect { complete: true, ..request("w") };
        workers.update(1, request("v"));
        assert!(workers.update(2, complete()) && !workers.update(2, complete()));
        assert_eq!(workers.presence().complete, [name("w")]);
        assert!(workers.update(2, request("w")));
        assert_eq!(workers.presence().complete, []);
    }

    #[test]
    fn records_are_bounded() {
        let mut workers = Workers::default();
        for n in 0..MAX_SETTLED * 2 {
            let settled = vec![settled(&n.to_string())];
            let takeovers = vec![takeover(&n.to_string())];
            workers.update(1, WorkerConnect { settled, takeovers, ..request("w") });
        }
        let settled = (0..9999).map(|n| settled(&n.to_string())).collect();
        let takeovers = (0..9999).map(|n| takeover(&n.to_string())).collect();
        workers.update(1, WorkerConnect { settled, takeovers, ..request("w") });
        let presence = workers.presence();
        assert_eq!(
            (presence.settled.len(), presence.takeovers.len()),
            (MAX_SETTLED, MAX_TAKEOVERS)
        );
    }
}
