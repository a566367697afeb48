//! Time passes, and messages arrive.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use protocol::{InstanceId, LocalMember, MemberChange, MemberId, PresenceAnswer};
use rand::{RngExt as _, rngs::StdRng};

use super::{
    super::{
        super::{Dealt, Decision, Source, To},
        shard::{Order, Shard, group, member},
    },
    Gateway, Link, ToGateway, ToWorker, Worker, World,
};

/// Progress.
impl World {
    pub(in super::super) fn pass_time(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        let now = self.time();
        for worker in 0..self.workers.len() {
            if self.workers[worker].table.next().is_some_and(|next| next <= self.now) {
                self.workers[worker].table.due(now);
                self.execute(worker);
            }
        }
    }

    /// The end of the turn of each shard.
    pub(super) fn settle_turns(&mut self) {
        for shard in self.gateways.iter_mut().flat_map(|it| &mut it.shards) {
            let owner = shard.owner();
            let parts = shard.report();
            if let Some(link) = owner.and_then(|number| self.links.get_mut(&number))
                && !link.is_broken
            {
                link.to_worker.extend(
                    parts.into_iter().map(|(notified, report)| ToWorker::Report(notified, report)),
                );
            }
        }
    }

    pub(in super::super) fn deliver_all(&mut self, random: &mut StdRng) {
        for _ in 0..60 {
            self.settle_turns();
            if self.links.values().all(|it| it.to_worker.is_empty() && it.to_gateway.is_empty()) {
                return;
            }
            self.deliver(random);
        }
    }

    /// Some messages of one link arrive.
    pub(super) fn deliver(&mut self, random: &mut StdRng) {
        let waiting: Vec<_> = self
            .links
            .values()
            .filter(|link| !link.to_worker.is_empty() || !link.to_gateway.is_empty())
            .map(|link| link.number)
            .collect();
        if waiting.is_empty() {
            return;
        }
        let number = waiting[random.random_range(0..waiting.len())];
        for _ in 0..random.random_range(1..6) {
            if random.random() {
                self.arrive_at_worker(number)
            } else {
                self.arrive_at_gateway(number)
            }
            self.settle_turns();
        }
    }

    pub(super) fn arrive_at_worker(&mut self, number: u64) {
        let find = |worker: &Worker| {
            let mut links = worker.links.iter();
            links.find(|(_, it)| **it == number).map(|(instance, _)| instance.clone())
        };
        let mut workers = self.workers.iter().enumerate();
        let found = workers.find_map(|(index, worker)| Some((index, find(worker)?)));
        let Some(link) = self.links.get_mut(&number) else { return };
        let Some(message) = link.to_worker.pop_front() else { return };
        let Some((worker, gateway)) = found else { return };
        let now = self.time();
        let watches = self.workers[worker].watches;
        let table = &mut self.workers[worker].table;
        match message {
            // Sent before the gateway knew that this worker watches no more.
            ToWorker::Report(..) | ToWorker::Lost(_) if !watches => {}
            ToWorker::Report(notified, report) => {
                table.notified(&gateway, notified);
                table.report(&gateway, report, now);
            }
            ToWorker::Lost(shard) => table.lost(&gateway, shard, &group(), now),
            ToWorker::Answer(ask, answer) => {
                if let Some((missing, is_complete)) = self.workers[worker].asks.get_mut(&ask)
                    && missing.remove(&gateway)
                {
                    match answer {
                        Some(answer) => self.workers[worker].table.answered(ask, answer, now),
                        None => *is_complete = false,
                    }
                    self.conclude(worker, ask);
                }
            }
        }
        self.execute(worker);
    }

    pub(super) fn arrive_at_gateway(&mut self, number: u64) {
        let mut gateways = self.gateways.iter();
        let found = gateways.position(|it| it.links.values().any(|link| *link == number));
        let Some(link) = self.links.get_mut(&number) else { return };
        let Some(message) = link.to_gateway.pop_front() else { return };
        let Some(gateway) = found else { return };
        match message {
            ToGateway::Watch(watch) => {
                link.is_watched = watch;
                self.choose_owner(gateway);
            }
            ToGateway::Order(shard, order) => {
                let shards = self.gateways[gateway].shards.iter_mut();
                for shard in shards.filter(|it| shard.is_none_or(|index| index == it.index)) {
                    shard.obey(number, order.clone());
                }
            }
            ToGateway::Query(ask, members) => {
                let gateway = &self.gateways[gateway];
                let owns = gateway.shards.iter().all(|shard| shard.owner() == Some(number));
                let answer =
                    (members.is_none() || owns).then(|| answer(gateway, members.as_deref()));
                if !link.is_broken {
                    link.to_worker.push_back(ToWorker::Answer(ask, answer));
                }
            }
        }
    }

    /// Executes what a worker has decided.
    pub(super) fn execute(&mut self, worker: usize) {
        loop {
            let decisions = self.workers[worker].table.take_decisions();
            if decisions.is_empty() {
                return;
            }
            for decision in decisions {
                match decision {
                    Decision::Taken { source, number, .. } => {
                        self.order(worker, &source, Order::Taken(number));
                    }
                    Decision::View { source, members, .. } => {
                        self.order(worker, &source, Order::View(members));
                    }
                    Decision::Dealt { source, number, dealt, .. } => {
                        let order = match dealt {
                            Dealt::Arrivals => Order::Notified(number),
                            Dealt::Whole => Order::Settled(number),
                        };
                        self.order(worker, &source, order);
                    }
                    Decision::Set { to, change, .. } => self.set(worker, &to, &change),
                    Decision::Notice(notice) => {
                        let last = &mut self.workers[worker].last_notice;
                        assert!(*last < notice.number, "numbers of notices increase");
                        *last = notice.number;
                        self.notices.add(&notice.kind);
                    }
                    Decision::Ask { ask, members, .. } => self.ask(worker, ask, members.as_ref()),
                }
            }
        }
    }

    pub(super) fn order(&mut self, worker: usize, source: &Source, order: Order) {
        if let Some(link) = self.link_to(worker, &source.gateway) {
            link.to_gateway.push_back(ToGateway::Order(Some(source.shard), order));
        }
    }

    pub(super) fn set(&mut self, worker: usize, to: &To, change: &MemberChange) {
        let gateways: Vec<_> = match to {
            To::All => self.workers[worker].links.keys().cloned().collect(),
            To::Only(gateway) => vec![gateway.clone()],
        };
        for gateway in gateways {
            if let Some(link) = self.link_to(worker, &gateway) {
                link.to_gateway.push_back(ToGateway::Order(None, Order::Set(change.clone())));
            }
        }
    }

    pub(super) fn link_to(&mut self, worker: usize, gateway: &InstanceId) -> Option<&mut Link> {
        let number = self.workers[worker].links.get(gateway)?;
        self.links.get_mut(number).filter(|link| !link.is_broken)
    }

    pub(super) fn ask(&mut self, worker: usize, ask: u64, members: Option<&Vec<MemberId>>) {
        let known = &self.workers[worker];
        let required = self.ever.iter().filter(|it| !known.dead.contains(it)).cloned();
        let required: BTreeSet<_> = required.collect();
        let linked: BTreeSet<_> = known.links.keys().cloned().collect();
        let is_complete = required.is_subset(&linked);
        self.workers[worker].asks.insert(ask, (linked.clone(), is_complete));
        for gateway in linked {
            if let Some(link) = self.link_to(worker, &gateway) {
                link.to_gateway.push_back(ToGateway::Query(ask, members.cloned()));
            }
        }
        self.conclude(worker, ask);
    }

    /// The link to a gateway is lost, and with it its answers.
    pub(super) fn not_answered(&mut self, worker: usize, gateway: &InstanceId) {
        let asks: Vec<_> = self.workers[worker].asks.keys().copied().collect();
        for ask in asks {
            if let Some((missing, is_complete)) = self.workers[worker].asks.get_mut(&ask)
                && missing.remove(gateway)
            {
                *is_complete = false;
                self.conclude(worker, ask);
            }
        }
        self.execute(worker);
    }

    pub(super) fn conclude(&mut self, worker: usize, ask: u64) {
        let now = self.time();
        let asks = &mut self.workers[worker].asks;
        if let Some((missing, is_complete)) = asks.get(&ask)
            && missing.is_empty()
        {
            let is_complete = *is_complete;
            asks.remove(&ask);
            self.workers[worker].table.asked(ask, is_complete, now);
        }
    }
}

fn answer(gateway: &Gateway, members: Option<&[MemberId]>) -> PresenceAnswer {
    let mut counts = BTreeMap::<MemberId, u32>::new();
    for (id, count) in gateway.shards.iter().flat_map(Shard::counts) {
        *counts.entry(id).or_default() += count;
    }
    counts.retain(|id, _| members.is_none_or(|members| members.contains(id)));
    let local = |(id, clients): (MemberId, u32)| LocalMember { member: member(&id), clients };
    PresenceAnswer {
        clients: gateway.shards.iter().map(|shard| shard.clients.len() as u64).sum(),
        members: counts.into_iter().map(local).collect(),
    }
}
