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
        let peer = &mut self.workers[worker];
        let life_of = |name: &Instance| u64::from_str_radix(name.as_str(), 16).expect("ours");
        for verdict in verdicts {
            match verdict {
                Verdict::Missed(_) => unreachable!("nobody waits for a first link here"),
                Verdict::Over { gateway, in_doubt } => {
                    self.over.insert(life_of(&gateway));
                    let settled = Settled { gateway: gateway.clone(), owner: instance(peer.life) };
                    let estate = peer.estates.entry(life_of(&gateway)).or_default();
                    let own = std::mem::take(&mut estate.own).into_iter();
                    let left = own.map(|(client, marked)| (client, marked || in_doubt)).collect();
                    let owners: BTreeSet<_> = estate.witnessed.values().copied().collect();
                    peer.jobs.push(Job { left, settled: Some(settled) });
                    peer.leases.witnessed(&gateway, owners.into_iter().map(instance), self.now);
                }
                Verdict::Inherit(settled) => {
                    let left =
                        peer.take_witnessed(life_of(&settled.gateway), life_of(&settled.owner));
                    let left = left.into_iter().map(|client| (client, true)).collect();
                    peer.jobs.push(Job { left, settled: None });
                }
                Verdict::Forget(settled) => {
                    peer.take_witnessed(life_of(&settled.gateway), life_of(&settled.owner));
                }
            }
        }
        self.forget();
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
                if let Some(settled) = job.settled {
                    peer.leases.settle(settled);
                }
            }
        }
    }

    /// Notes clients of dead gateways that nobody knows of any more.
    pub(super) fn forget(&mut self) {
        let alive: BTreeSet<_> =
            self.gateways.iter().filter(|it| it.alive).map(|it| it.life).collect();
        let mut known = BTreeSet::new();
        for link in self.links.values().filter(|link| link.worker_end) {
            known.extend(link.estate.own.keys().chain(link.estate.witnessed.keys()).copied());
            known.extend(link.down.iter().filter_map(|what| match what {
                ToWorker::Connect(client, _)
                | ToWorker::Close(client, _)
                | ToWorker::Adopt(client, _)
                | ToWorker::Witness(client, _) => Some(*client),
                ToWorker::Release(_) | ToWorker::Pong => None,
            }));
        }
        for worker in self.workers.iter().filter(|worker| worker.alive) {
            let estates = worker.estates.values();
            known.extend(estates.flat_map(|it| it.own.keys().chain(it.witnessed.keys()).copied()));
            let left = worker.jobs.iter().flat_map(|job| &job.left);
            known.extend(left.map(|(client, _)| *client));
        }
        for (client, told) in &mut self.told {
            let ended = told.closes + told.marked != 0;
            told.forgotten |= !alive.contains(&client.0) && !ended && !known.contains(client);
        }
    }
}
