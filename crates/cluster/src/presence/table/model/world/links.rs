//! Links: established, broken, and noticed to be so at each end.

use std::collections::VecDeque;

use protocol::rendezvous::rendezvous;
use rand::{RngExt as _, rngs::StdRng};

use super::{super::shard::group, Link, ToGateway, ToWorker, World};

/// Links.
impl World {
    /// Links each pair that may be linked and is not.
    pub(super) fn link_all(&mut self) {
        for gateway in 0..self.gateways.len() {
            for worker in 0..self.workers.len() {
                let instance = self.gateways[gateway].instance.clone();
                let is_linked = self.workers[worker].links.contains_key(&instance);
                let is_dead = self.workers[worker].dead.contains(&instance);
                if is_linked || is_dead || self.cut.contains(&(gateway, worker)) {
                    continue;
                }
                // The gateway ends an older link of the same worker first.
                self.gateway_loses(gateway, worker);
                self.last_link += 1;
                let number = self.last_link;
                let mut link = Link {
                    number,
                    is_broken: false,
                    is_watched: false,
                    to_worker: VecDeque::new(),
                    to_gateway: VecDeque::new(),
                };
                if self.workers[worker].watches {
                    link.to_gateway.push_back(ToGateway::Watch(true));
                }
                self.links.insert(number, link);
                self.gateways[gateway].links.insert(worker, number);
                self.workers[worker].links.insert(instance.clone(), number);
                let now = self.time();
                self.workers[worker].table.linked(&instance, now);
                self.execute(worker);
            }
        }
    }

    pub(super) fn break_link(&mut self, random: &mut StdRng) {
        let numbers: Vec<_> = self.links.keys().copied().collect();
        if !numbers.is_empty() {
            let number = numbers[random.random_range(0..numbers.len())];
            if let Some(link) = self.links.get_mut(&number) {
                link.is_broken = true;
                // Messages in flight may be lost, or arrive before the end is noticed.
                let arrive = random.random_range(0..=link.to_worker.len());
                link.to_worker.truncate(arrive);
                let arrive = random.random_range(0..=link.to_gateway.len());
                link.to_gateway.truncate(arrive);
            }
        }
    }

    pub(super) fn notice_broken(&mut self, random: &mut StdRng) {
        let broken: Vec<_> =
            self.links.values().filter(|link| link.is_broken).map(|link| link.number).collect();
        if broken.is_empty() {
            return;
        }
        let number = broken[random.random_range(0..broken.len())];
        if random.random() {
            self.worker_notices(number)
        } else {
            self.gateway_notices(number)
        }
        self.links.retain(|number, _| {
            let at_gateways = self.gateways.iter().flat_map(|it| it.links.values());
            let at_workers = self.workers.iter().flat_map(|it| it.links.values());
            at_gateways.chain(at_workers).any(|known| known == number)
        });
    }

    pub(super) fn worker_notices(&mut self, number: u64) {
        for worker in 0..self.workers.len() {
            let lost: Vec<_> = self.workers[worker]
                .links
                .iter()
                .filter(|(_, it)| **it == number)
                .map(|(instance, _)| instance.clone())
                .collect();
            for instance in lost {
                self.workers[worker].links.remove(&instance);
                self.not_answered(worker, &instance);
            }
        }
    }

    pub(super) fn gateway_notices(&mut self, number: u64) {
        for gateway in 0..self.gateways.len() {
            let links = &self.gateways[gateway].links;
            let worker = links.iter().find(|(_, it)| **it == number).map(|(worker, _)| *worker);
            if let Some(worker) = worker {
                self.gateway_loses(gateway, worker);
            }
        }
    }

    pub(super) fn gateway_loses(&mut self, gateway: usize, worker: usize) {
        if let Some(number) = self.gateways[gateway].links.remove(&worker) {
            if let Some(link) = self.links.get_mut(&number) {
                link.is_broken = true;
            }
            self.choose_owner(gateway);
        }
    }

    /// Shards report to another owner if there is one, and tell the one before.
    pub(super) fn choose_owner(&mut self, gateway: usize) {
        let Self { gateways, workers, links, .. } = self;
        let watched = gateways[gateway].links.iter().filter_map(|(worker, number)| {
            links.get(number)?.is_watched.then_some((&workers[*worker].instance, *number))
        });
        let watched: Vec<_> = watched.collect();
        let owner = rendezvous(group().as_bytes(), watched.into_iter());
        for shard in &mut gateways[gateway].shards {
            if shard.owner() == owner {
                continue;
            }
            let before = shard.owner();
            let had_state = !shard.is_empty();
            shard.set_owner(owner);
            if let Some(link) = before.and_then(|number| links.get_mut(&number))
                && !link.is_broken
                && had_state
            {
                link.to_worker.push_back(ToWorker::Lost(shard.index));
            }
        }
    }
}
