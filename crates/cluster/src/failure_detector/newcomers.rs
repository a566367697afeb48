//! Workers started after a gateway became unreachable: the records of its clients are handed over
//! to them, or they could be lost with the workers that hold them. A value.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use protocol::InstanceId;
use rustc_hash::{FxHashMap, FxHashSet};

/// A worker first listed by registers this shortly before a gateway became unreachable may not have
/// been linked to it.
const STARTING: Duration = Duration::from_secs(5);

/// Recently started workers, and the unreachable gateways that concern them.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    self_id: Option<InstanceId>,
    /// Since when registers list each worker.
    named: FxHashMap<InstanceId, Instant>,
    unreachable: Vec<Unreachable>,
}

/// A gateway that was linked and is unreachable.
#[derive(Debug)]
struct Unreachable {
    gateway: InstanceId,
    address: SocketAddr,
    lost: Instant,
    /// The workers to which its clients were handed over.
    handed: Vec<InstanceId>,
}

/// Records of a gateway's clients are to be handed over to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HandOver {
    pub(crate) gateway: InstanceId,
    /// The inner address of the gateway.
    pub(crate) address: SocketAddr,
    /// The workers that the records were handed over to, the current recipient last.
    pub(crate) to: Vec<InstanceId>,
}

impl Newcomers {
    pub(super) fn new(self_id: Option<InstanceId>) -> Self {
        Self { self_id, ..Self::default() }
    }

    /// Applies the list of workers that registers report.
    pub(super) fn update_workers(&mut self, workers: &FxHashSet<InstanceId>, now: Instant) {
        self.named.retain(|worker, _| workers.contains(worker));
        for worker in workers {
            self.named.entry(worker.clone()).or_insert(now);
        }
        for unreachable in &mut self.unreachable {
            unreachable.handed.retain(|worker| workers.contains(worker));
        }
    }

    /// A gateway has become unreachable.
    pub(super) fn lose(&mut self, gateway: &InstanceId, address: SocketAddr, lost: Instant) {
        if self.unreachable.iter().all(|unreachable| unreachable.gateway != *gateway) {
            let (gateway, handed) = (gateway.clone(), Vec::new());
            self.unreachable.push(Unreachable { gateway, address, lost, handed });
        }
    }

    /// Drops the gateways that are not `concerns`.
    pub(super) fn retain(&mut self, concerns: impl Fn(&InstanceId) -> bool) {
        self.unreachable.retain(|unreachable| concerns(&unreachable.gateway));
    }

    /// The handovers due by now, for gateways that are `away`.
    pub(super) fn due(&mut self, away: impl Fn(&InstanceId) -> bool) -> Vec<HandOver> {
        let mut all = Vec::new();
        for unreachable in
            self.unreachable.iter_mut().filter(|unreachable| away(&unreachable.gateway))
        {
            let is_new = |(worker, since): &(&InstanceId, &Instant)| {
                unreachable.lost < **since + STARTING && Some(*worker) != self.self_id.as_ref()
            };
            let mut new: Vec<_> = self.named.iter().filter(is_new).map(|(it, _)| it).collect();
            // The same order at every worker: each newcomer is a standby behind those before it.
            new.sort_unstable();
            for worker in new {
                if !unreachable.handed.contains(worker) {
                    unreachable.handed.push(worker.clone());
                    let (gateway, address) = (unreachable.gateway.clone(), unreachable.address);
                    all.push(HandOver { gateway, address, to: unreachable.handed.clone() });
                }
            }
        }
        all
    }

    /// Whether the handover to that worker is still needed: the worker is present, and the gateway
    /// is not back.
    pub(super) fn has(&self, gateway: &InstanceId, to: &InstanceId) -> bool {
        let mut unreachable = self.unreachable.iter();
        unreachable
            .any(|unreachable| unreachable.gateway == *gateway && unreachable.handed.contains(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> InstanceId {
        InstanceId::new(text).unwrap()
    }

    fn address() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], 2900))
    }

    fn workers(names: &[&str]) -> FxHashSet<InstanceId> {
        names.iter().map(|text| name(text)).collect()
    }

    fn hand_over(gateway: &str, to: &[&str]) -> HandOver {
        let to = to.iter().map(|text| name(text)).collect();
        HandOver { gateway: name(gateway), address: address(), to }
    }

    /// One of two long-running workers that both lose a gateway.
    fn lost() -> (Newcomers, Instant) {
        let (mut newcomers, began) = (Newcomers::new(Some(name("us"))), Instant::now());
        newcomers.update_workers(&workers(&["us", "old"]), began);
        let now = began + STARTING * 2;
        newcomers.lose(&name("g"), address(), now);
        (newcomers, now)
    }

    #[test]
    fn clients_are_handed_over_once_and_only_to_later_workers() {
        let (mut newcomers, now) = lost();
        assert_eq!(newcomers.due(|_| true), []);
        newcomers.update_workers(&workers(&["us", "old", "new"]), now);
        assert_eq!(newcomers.due(|_| false), [], "it is linked again");
        assert_eq!(newcomers.due(|_| true), [hand_over("g", &["new"])]);
        assert_eq!(newcomers.due(|_| true), []);
        assert!(newcomers.has(&name("g"), &name("new")));
        newcomers.retain(|_| false);
        assert!(!newcomers.has(&name("g"), &name("new")));
    }

    #[test]
    fn newcomer_ranks_behind_earlier_newcomers_that_are_present() {
        let (mut newcomers, now) = lost();
        newcomers.update_workers(&workers(&["us", "n1", "n2"]), now);
        let expected = [hand_over("g", &["n1"]), hand_over("g", &["n1", "n2"])];
        assert_eq!(newcomers.due(|_| true), expected);
        newcomers.update_workers(&workers(&["us", "n2", "n3"]), now);
        assert_eq!(newcomers.due(|_| true), [hand_over("g", &["n2", "n3"])]);
        assert!(!newcomers.has(&name("g"), &name("n1")), "it has terminated");
    }

    #[test]
    fn worker_started_shortly_before_the_loss_is_a_newcomer() {
        let (mut newcomers, began) = (Newcomers::new(Some(name("us"))), Instant::now());
        newcomers.update_workers(&workers(&["us", "w"]), began);
        newcomers.lose(&name("g"), address(), began + STARTING / 2);
        assert_eq!(newcomers.due(|_| true), [hand_over("g", &["w"])]);
    }
}
