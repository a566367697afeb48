//! What workers hear from the register, decide, and do.

use super::*;

impl Universe {
    pub(super) fn announce(&mut self) {
        if self.register.alive {
            self.announce_all();
        }
    }

    pub(super) fn announce_all(&mut self) {
        if !self.register.alive {
            return;
        }
        let gateways =
            self.gateways.iter().enumerate().filter(|(_, it)| it.alive && !it.cut && !it.hidden);
        self.register.gateways = gateways.map(|(at, it)| (at, it.life)).collect();
        let workers = self.workers.iter().enumerate().filter(|(_, it)| it.alive && !it.cut);
        self.register.workers = workers.map(|(at, it)| (at, it.life)).collect();
    }

    pub(super) fn hear(&mut self, worker: usize) {
        if !self.workers[worker].runs() {
            return;
        }
        let gateway = |&(at, life): &(usize, u64)| discovery::Gateway {
            native: true,
            instance: Some(instance(life)),
            ..discovery::Gateway::plain(address(at).to_string())
        };
        let here = (worker, self.workers[worker].life);
        let reached = !self.workers[worker].cut && self.register.workers.contains(&here);
        let said = (self.register.alive && reached).then(|| Said {
            gateways: self.register.gateways.iter().map(gateway).collect(),
            workers: Some(self.register.workers.iter().map(|(_, life)| instance(*life)).collect()),
            settled: self.register.settled.clone(),
            takeovers: self.register.takeovers.clone(),
        });
        let peer = &mut self.workers[worker];
        peer.leases.heard(said, self.now);
        let over = |link: &&mut Link| link.worker == worker && link.worker_end;
        for link in self.links.values_mut().filter(over) {
            if peer.leases.is_over(&instance(link.life)) {
                link.up.push_back(ToGateway::WrittenOff);
                // One that has ended is not told, and seen to have ended.
                link.written_off |= link.gateway_end;
            }
        }
    }

    pub(super) fn say(&mut self, worker: usize) {
        let peer = &self.workers[worker];
        if peer.runs() && !peer.cut && self.register.alive {
            for settled in peer.leases.settled() {
                if !self.register.settled.contains(settled) {
                    self.register.settled.push(settled.clone());
                }
            }
            for takeover in peer.leases.takeovers() {
                if !self.register.takeovers.contains(takeover) {
                    self.register.takeovers.push(takeover.clone());
                }
            }
        }
    }

    pub(super) fn pass(&mut self) {
        // What registers say of those whom they do not know comes to everybody soon.
        if self.gateways.iter().any(|gateway| gateway.hidden) {
            (0..WORKERS).for_each(|worker| self.hear(worker));
        }
        self.now += Duration::from_millis(self.dice.random_range(200..3_000));
        for worker in 0..WORKERS {
            self.decide(worker);
        }
    }

    pub(super) fn decide(&mut self, worker: usize) {
        if self.workers[worker].runs() {
            let verdicts = self.workers[worker].leases.due(self.now);
            self.carry_out(worker, verdicts);
        }
    }

    pub(super) fn carry_out(&mut self, worker: usize, verdicts: Vec<Verdict>) {
        for verdict in verdicts {
            let peer = &mut self.workers[worker];
            match verdict {
                Verdict::Missed(_) => unreachable!("nobody waits for a first link here"),
                Verdict::Over { gateway, in_doubt } => {
                    self.over.insert(life_of(&gateway));
                    let settled = Settled { gateway: gateway.clone(), owner: instance(peer.life) };
                    let estate = peer.estates.entry(life_of(&gateway)).or_default();
                    let own = std::mem::take(&mut estate.own).into_iter();
                    let left = own.map(|(client, marked)| (client, marked || in_doubt)).collect();
                    let groups = estate.groups();
                    peer.jobs.push(Job { left, done: Some(Done::Settled(settled)) });
                    peer.leases.orphaned(&gateway, groups, self.now);
                }
                Verdict::Orphans(decision) => self.decided(worker, decision),
                Verdict::HandOver(handover) => peer.handovers.push(handover),
            }
        }
        self.forget(false);
    }

    fn decided(&mut self, worker: usize, decision: Decision) {
        let peer = &mut self.workers[worker];
        let (orphaned, digest) = match decision {
            Decision::TakeOver(orphaned) => (orphaned, None),
            Decision::StandbyDone(orphaned, digest) => (orphaned, Some(digest)),
            Decision::OwnerDone(Orphaned { gateway, holders }) => {
                let clients = peer.orphans(life_of(&gateway), &holders);
                peer.forget(life_of(&gateway), &clients);
                let left = clients.iter().filter(|(_, confirmed)| !confirmed);
                let left = left.map(|(client, _)| (*client, true)).collect();
                return peer.jobs.push(Job { left, done: None });
            }
        };
        let Orphaned { gateway, holders } = orphaned;
        let clients = peer.orphans(life_of(&gateway), &holders);
        peer.forget(life_of(&gateway), &clients);
        let ids = clients.iter().map(|((_, id), _)| protocol::ConnectionId(*id));
        let ours = protocol::standby::digest(ids);
        if digest != Some(ours) {
            let left = clients.into_iter().map(|(client, _)| (client, true)).collect();
            let by = instance(peer.life);
            let takeover = Takeover { gateway, by, digest: ours, holders };
            peer.jobs.push(Job { left, done: Some(Done::TakenOver(takeover)) });
        }
    }

    /// A worker hands over what it knows of a gateway, by way of another that both are linked to.
    pub(super) fn hand_over(&mut self, worker: usize) {
        if !self.workers[worker].runs() {
            return;
        }
        let all = std::mem::take(&mut self.workers[worker].handovers);
        for handover in all {
            let (gateway, to) = (&handover.gateway, handover.to.last().expect("a recipient"));
            if !self.workers[worker].leases.hands_over(gateway, to) {
                continue;
            }
            let newcomer = self.workers.iter().position(|it| it.runs() && instance(it.life) == *to);
            let relays = |at: usize, worker: usize| {
                self.links.values().any(|link| {
                    let ends = link.gateway_end && link.worker_end && self.gateways[at].alive;
                    ends && (link.gateway, link.worker) == (at, worker)
                })
            };
            let newcomer = newcomer.filter(|newcomer| {
                (0..GATEWAYS).any(|at| relays(at, worker) && relays(at, *newcomer))
            });
            match newcomer {
                Some(newcomer) => self.handed_over(worker, newcomer, &handover),
                None => self.workers[worker].handovers.push(handover),
            }
        }
    }

    fn handed_over(&mut self, from: usize, to: usize, handover: &HandOver) {
        let HandOver { gateway, address, to: newcomers } = handover;
        let life = life_of(gateway);
        let linked = |link: &Link| link.worker_end && (link.worker, link.life) == (to, life);
        if self.links.values().any(linked) {
            return;
        }
        let peer = &self.workers[from];
        let Some(estate) = peer.estates.get(&life) else { return };
        let own = estate.own.keys().map(|client| (*client, vec![peer.life], true));
        let standby = estate.standby.iter();
        let standby = standby.map(|(client, (holders, known))| (*client, holders.clone(), *known));
        let clients: Vec<_> = own.chain(standby).collect();
        let peer = &mut self.workers[to];
        let estate = peer.estates.entry(life).or_default();
        for (client, mut holders, confirmed) in clients {
            for newcomer in newcomers.iter().map(life_of) {
                if !holders.contains(&newcomer) {
                    holders.push(newcomer);
                }
            }
            let known = estate.standby.get(&client).map_or(0, |(holders, _)| holders.len());
            if known < holders.len() && !estate.own.contains_key(&client) {
                estate.standby.insert(client, (holders, confirmed));
            }
        }
        peer.leases.handed_over(*address, gateway, estate.groups(), self.now);
    }

    /// A worker closes one client of those that it has to, or says that it has closed all.
    pub(super) fn close_one(&mut self, worker: usize) {
        let peer = &mut self.workers[worker];
        let Some(job) = peer.jobs.first_mut().filter(|_| peer.alive && peer.still.is_none()) else {
            return;
        };
        match job.left.pop() {
            Some((client, marked)) => self.closed(client, marked),
            None => {
                let job = peer.jobs.remove(0);
                match job.done {
                    Some(Done::Settled(settled)) => peer.leases.settle(settled),
                    Some(Done::TakenOver(takeover)) => peer.leases.take_over(takeover),
                    None => {}
                }
            }
        }
    }

    /// Notes clients of dead gateways that no worker knows of any more: since a process `dies` that did, or
    /// since one has decided to forget them.
    pub(super) fn forget(&mut self, dies: bool) {
        let alive: BTreeSet<_> =
            self.gateways.iter().filter(|it| it.alive).map(|it| it.life).collect();
        // Which workers know of which clients.
        let mut known: BTreeMap<Client, BTreeSet<usize>> = BTreeMap::new();
        let mut knows = |client: Client, worker| known.entry(client).or_default().insert(worker);
        for link in self.links.values().filter(|link| link.worker_end) {
            let Estate { own, standby } = &link.estate;
            let on_its_way = link.down.iter().filter_map(|what| match what {
                ToWorker::Connect(client, _)
                | ToWorker::Close(client, _)
                | ToWorker::Adopt(client, _)
                | ToWorker::Standby(client, ..) => Some(client),
                ToWorker::Release(_) | ToWorker::Pong => None,
            });
            for client in own.keys().chain(standby.keys()).chain(on_its_way) {
                knows(*client, link.worker);
            }
        }
        for (at, worker) in self.workers.iter().enumerate().filter(|(_, worker)| worker.alive) {
            let estates = worker.estates.values();
            let left = worker.jobs.iter().flat_map(|job| job.left.iter().map(|(client, _)| client));
            for client in estates.flat_map(|it| it.own.keys().chain(it.standby.keys())).chain(left)
            {
                knows(*client, at);
            }
        }
        for (client, told) in self.told.iter_mut().filter(|(client, _)| !alive.contains(&client.0))
        {
            let ended = told.closes + told.marked != 0;
            let holders = known.get(client).map_or(0, BTreeSet::len);
            told.holders.get_or_insert(holders);
            if !ended && holders == 0 && !told.forgotten {
                told.forgotten = true;
                told.dropped = !dies;
            }
        }
    }
}
