//! Workers that were started after a gateway had gone out of reach: what is known of its clients is
//! handed over to them, or it might be lost with those that know it. A value.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use protocol::Instance;
use rustc_hash::{FxHashMap, FxHashSet};

/// A worker that registers began to name so shortly before a gateway went out of reach may not have been
/// linked to it.
const STARTING: Duration = Duration::from_secs(5);

/// Which workers were started lately, and which gateways concern them.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    us: Option<Instance>,
    /// Since when registers name which worker.
    named: FxHashMap<Instance, Instant>,
    vacant: Vec<Vacant>,
}

/// A gateway that is out of reach, and was linked.
#[derive(Debug)]
struct Vacant {
    gateway: Instance,
    address: SocketAddr,
    lost: Instant,
    /// The workers that its clients were handed over to.
    handed: Vec<Instance>,
}

/// What we know of a gateway's clients is to be handed over to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HandOver {
    pub(crate) gateway: Instance,
    /// The inner address of the gateway.
    pub(crate) address: SocketAddr,
    /// The workers that it was handed over to, the one that it is handed over to now last.
    pub(crate) to: Vec<Instance>,
}

impl Newcomers {
    pub(super) fn new(us: Option<Instance>) -> Self {
        Self { us, ..Self::default() }
    }

    /// Takes which workers registers name.
    pub(super) fn hear(&mut self, workers: &FxHashSet<Instance>, now: Instant) {
        self.named.retain(|worker, _| workers.contains(worker));
        for worker in workers {
            self.named.entry(worker.clone()).or_insert(now);
        }
        for vacant in &mut self.vacant {
            vacant.handed.retain(|worker| workers.contains(worker));
        }
    }

    /// A gateway is out of reach.
    pub(super) fn lose(&mut self, gateway: &Instance, address: SocketAddr, lost: Instant) {
        if self.vacant.iter().all(|vacant| vacant.gateway != *gateway) {
            let (gateway, handed) = (gateway.clone(), Vec::new());
            self.vacant.push(Vacant { gateway, address, lost, handed });
        }
    }

    /// Keeps only gateways that are still of concern.
    pub(super) fn retain(&mut self, concerns: impl Fn(&Instance) -> bool) {
        self.vacant.retain(|vacant| concerns(&vacant.gateway));
    }

    /// What is to be handed over by now, of gateways that are `away`.
    pub(super) fn due(&mut self, away: impl Fn(&Instance) -> bool) -> Vec<HandOver> {
        let mut all = Vec::new();
        for vacant in self.vacant.iter_mut().filter(|vacant| away(&vacant.gateway)) {
            let is_new = |(worker, since): &(&Instance, &Instant)| {
                vacant.lost < **since + STARTING && Some(*worker) != self.us.as_ref()
            };
            let mut new: Vec<_> = self.named.iter().filter(is_new).map(|(it, _)| it).collect();
            // The same order at every worker: each is a standby behind those before it.
            new.sort_unstable();
            for worker in new {
                if !vacant.handed.contains(worker) {
                    vacant.handed.push(worker.clone());
                    let (gateway, address) = (vacant.gateway.clone(), vacant.address);
                    all.push(HandOver { gateway, address, to: vacant.handed.clone() });
                }
            }
        }
        all
    }

    /// Whether this is still to be handed over to that worker: neither is it gone, nor is the gateway
    /// back.
    pub(super) fn has(&self, gateway: &Instance, to: &Instance) -> bool {
        let mut vacant = self.vacant.iter();
        vacant.any(|vacant| vacant.gateway == *gateway && vacant.handed.contains(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Instance {
        Instance::new(text).unwrap()
    }

    fn address() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], 2900))
    }

    fn workers(names: &[&str]) -> FxHashSet<Instance> {
        names.iter().map(|text| name(text)).collect()
    }

    fn hand_over(gateway: &str, to: &[&str]) -> HandOver {
        let to = to.iter().map(|text| name(text)).collect();
        HandOver { gateway: name(gateway), address: address(), to }
    }

    /// One of two workers that have known each other for long when they lose a gateway.
    fn lost() -> (Newcomers, Instant) {
        let (mut newcomers, began) = (Newcomers::new(Some(name("us"))), Instant::now());
        newcomers.hear(&workers(&["us", "old"]), began);
        let now = began + STARTING * 2;
        newcomers.lose(&name("g"), address(), now);
        (newcomers, now)
    }

    #[test]
    fn only_workers_that_came_later_are_handed_clients_and_once() {
        let (mut newcomers, now) = lost();
        assert_eq!(newcomers.due(|_| true), []);
        newcomers.hear(&workers(&["us", "old", "new"]), now);
        assert_eq!(newcomers.due(|_| false), [], "it is linked again");
        assert_eq!(newcomers.due(|_| true), [hand_over("g", &["new"])]);
        assert_eq!(newcomers.due(|_| true), []);
        assert!(newcomers.has(&name("g"), &name("new")));
        newcomers.retain(|_| false);
        assert!(!newcomers.has(&name("g"), &name("new")));
    }

    #[test]
    fn each_newcomer_stands_behind_those_before_it_that_are_there() {
        let (mut newcomers, now) = lost();
        newcomers.hear(&workers(&["us", "n1", "n2"]), now);
        let expected = [hand_over("g", &["n1"]), hand_over("g", &["n1", "n2"])];
        assert_eq!(newcomers.due(|_| true), expected);
        newcomers.hear(&workers(&["us", "n2", "n3"]), now);
        assert_eq!(newcomers.due(|_| true), [hand_over("g", &["n2", "n3"])]);
        assert!(!newcomers.has(&name("g"), &name("n1")), "it is gone");
    }

    #[test]
    fn worker_that_came_shortly_before_may_not_have_been_linked() {
        let (mut newcomers, began) = (Newcomers::new(Some(name("us"))), Instant::now());
        newcomers.hear(&workers(&["us", "w"]), began);
        newcomers.lose(&name("g"), address(), began + STARTING / 2);
        assert_eq!(newcomers.due(|_| true), [hand_over("g", &["w"])]);
    }
}
