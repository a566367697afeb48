//! Deaths, withdrawals, and the end of all faults.

use std::collections::BTreeSet;

use rand::{RngExt as _, rngs::StdRng};

use super::{ToGateway, World};

/// Faults.
impl World {
    pub(super) fn kill_gateway(&mut self, gateway: usize) {
        let numbers: Vec<_> = self.gateways[gateway].links.values().copied().collect();
        for number in numbers {
            if let Some(link) = self.links.get_mut(&number) {
                link.is_broken = true;
                link.to_gateway.clear();
            }
        }
        self.gateways[gateway] = self.new_gateway();
        self.cut.retain(|(cut, _)| *cut != gateway);
    }

    pub(super) fn kill_worker(&mut self, worker: usize) {
        let numbers: Vec<_> = self.workers[worker].links.values().copied().collect();
        for number in &numbers {
            if let Some(link) = self.links.get_mut(number) {
                link.is_broken = true;
                link.to_worker.clear();
            }
        }
        self.workers[worker] = self.new_worker();
        // Its links are those of another process from here on.
        for gateway in 0..self.gateways.len() {
            self.gateway_loses(gateway, worker);
        }
    }

    /// The failure detector of a worker declares a gateway dead that is.
    pub(super) fn declare_dead(&mut self, worker: usize) {
        let alive: BTreeSet<_> = self.gateways.iter().map(|it| it.instance.clone()).collect();
        let known = &self.workers[worker];
        let dead = self.ever.iter().find(|it| !alive.contains(it) && !known.dead.contains(it));
        if let Some(dead) = dead.cloned() {
            self.workers[worker].links.remove(&dead);
            self.not_answered(worker, &dead);
            let now = self.time();
            self.workers[worker].dead.insert(dead.clone());
            self.workers[worker].table.gateway_dead(&dead, now);
            self.execute(worker);
        }
    }

    /// A worker becomes passive, or is active again.
    pub(super) fn withdraw(&mut self, worker: usize) {
        let watches = !self.workers[worker].watches;
        self.workers[worker].watches = watches;
        if !watches {
            self.workers[worker].table.clear();
            self.workers[worker].asks.clear();
        }
        self.send_to_all(worker, || ToGateway::Watch(watches));
    }

    pub(super) fn resynchronise(&mut self, worker: usize) {
        if self.workers[worker].watches {
            self.send_to_all(worker, || ToGateway::Watch(false));
            self.send_to_all(worker, || ToGateway::Watch(true));
        }
    }

    /// A gateway is to report everything again, under the same link.
    pub(super) fn restart(&mut self, worker: usize, random: &mut StdRng) {
        let all: Vec<_> = self.workers[worker].links.clone().into_iter().collect();
        if all.is_empty() || !self.workers[worker].watches {
            return;
        }
        let (gateway, number) = &all[random.random_range(0..all.len())];
        if let Some(link) = self.links.get_mut(number).filter(|link| !link.is_broken) {
            link.to_gateway.extend([ToGateway::Watch(false), ToGateway::Watch(true)]);
            let now = self.time();
            self.workers[worker].table.linked(gateway, now);
            self.execute(worker);
        }
    }

    pub(super) fn send_to_all(&mut self, worker: usize, message: impl Fn() -> ToGateway) {
        for number in self.workers[worker].links.values() {
            if let Some(link) = self.links.get_mut(number).filter(|link| !link.is_broken) {
                link.to_gateway.push_back(message());
            }
        }
    }

    /// Everything is reachable again.
    pub(in super::super) fn heal(&mut self) {
        self.cut.clear();
        for number in self.links.keys().copied().collect::<Vec<_>>() {
            if self.links[&number].is_broken {
                self.worker_notices(number);
                self.gateway_notices(number);
            }
        }
        for worker in 0..self.workers.len() {
            for _ in 0..self.ever.len() {
                self.declare_dead(worker);
            }
            if !self.workers[worker].watches {
                self.withdraw(worker);
            }
        }
        self.link_all();
    }

    pub(in super::super) fn close_all_clients(&mut self) {
        for shard in self.gateways.iter_mut().flat_map(|it| &mut it.shards) {
            for client in shard.clients.keys().copied().collect::<Vec<_>>() {
                shard.leave(client);
            }
        }
    }
}
