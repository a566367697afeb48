//! Register updates, decisions and actions of workers.

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
        self.register.gateways = gateways.map(|(at, it)| (at, it.incarnation)).collect();
        let workers = self.workers.iter().enumerate().filter(|(_, it)| it.alive && !it.cut);
        self.register.workers = workers.map(|(at, it)| (at, it.incarnation)).collect();
    }

    pub(super) fn receive_view(&mut self, worker: usize) {
        if !self.workers[worker].runs() {
            return;
        }
        let gateway = |&(at, incarnation): &(usize, u64)| discovery::Gateway {
            native: true,
            instance: Some(instance(incarnation)),
            ..discovery::Gateway::plain(address(at).to_string())
        };
        let here = (worker, self.workers[worker].incarnation);
        let reached = !self.workers[worker].cut && self.register.workers.contains(&here);
        let view = (self.register.alive && reached).then(|| RegisterView {
            gateways: self.register.gateways.iter().map(gateway).collect(),
            workers: Some(
                self.register
                    .workers
                    .iter()
                    .map(|(_, incarnation)| instance(*incarnation))
                    .collect(),
            ),
            settled: self.register.settled.clone(),
            takeovers: self.register.takeovers.clone(),
        });
        let peer = &mut self.workers[worker];
        peer.detector.update_view(view, self.now);
        let over = |link: &&mut Link| link.worker == worker && link.worker_end;
        for link in self.links.values_mut().filter(over) {
            if peer.detector.is_dead(&instance(link.incarnation)) {
                link.up.push_back(ToGateway::Fenced);
                // A terminated gateway does not receive it, and is seen to have terminated.
                link.fenced |= link.gateway_end;
            }
        }
    }

    pub(super) fn report_cleanups(&mut self, worker: usize) {
        let peer = &self.workers[worker];
        if peer.runs() && !peer.cut && self.register.alive {
            for settled in peer.detector.cleanups() {
                if !self.register.settled.contains(settled) {
                    self.register.settled.push(settled.clone());
                }
            }
            for takeover in peer.detector.takeovers() {
                if !self.register.takeovers.contains(takeover) {
                    self.register.takeovers.push(takeover.clone());
                }
            }
        }
    }

    pub(super) fn pass(&mut self) {
        // Unregistered gateways are noticed by all workers soon.
        if self.gateways.iter().any(|gateway| gateway.hidden) {
            (0..WORKERS).for_each(|worker| self.receive_view(worker));
        }
        self.now += Duration::from_millis(self.rng.random_range(200..3_000));
        for worker in 0..WORKERS {
            self.decide(worker);
        }
    }

    pub(super) fn decide(&mut self, worker: usize) {
        if self.workers[worker].runs() {
            let actions = self.workers[worker].detector.due(self.now);
            self.execute(worker, actions);
        }
    }

    pub(super) fn execute(&mut self, worker: usize, actions: Vec<Action>) {
        for action in actions {
            let peer = &mut self.workers[worker];
            match action {
                Action::NeverConnected(_) => unreachable!("the model awaits no first link"),
                Action::GatewayDead { gateway, in_doubt } => {
                    self.declared_dead.insert(incarnation_of(&gateway));
                    let settled = CleanupRecord {
                        gateway: gateway.clone(),
                        owner: instance(peer.incarnation),
                    };
                    let clients_known =
                        peer.known_clients.entry(incarnation_of(&gateway)).or_default();
                    let own = std::mem::take(&mut clients_known.own).into_iter();
                    let left = own.map(|(client, marked)| (client, marked || in_doubt)).collect();
                    let groups = clients_known.groups();
                    peer.jobs.push(Job { left, done: Some(Done::CleanupRecord(settled)) });
                    peer.detector.orphaned(&gateway, groups, self.now);
                }
                Action::Orphans(decision) => self.handle_orphans(worker, decision),
                Action::HandOver(handover) => peer.handovers.push(handover),
            }
        }
        self.forget(false);
    }

    fn handle_orphans(&mut self, worker: usize, decision: OrphanAction) {
        let peer = &mut self.workers[worker];
        let (orphaned, digest) = match decision {
            OrphanAction::TakeOver(orphaned) => (orphaned, None),
            OrphanAction::StandbyDone(orphaned, digest) => (orphaned, Some(digest)),
            OrphanAction::OwnerDone(Orphaned { gateway, holders }) => {
                let clients = peer.orphans(incarnation_of(&gateway), &holders);
                peer.forget(incarnation_of(&gateway), &clients);
                let left = clients.iter().filter(|(_, confirmed)| !confirmed);
                let left = left.map(|(client, _)| (*client, true)).collect();
                return peer.jobs.push(Job { left, done: None });
            }
        };
        let Orphaned { gateway, holders } = orphaned;
        let clients = peer.orphans(incarnation_of(&gateway), &holders);
        peer.forget(incarnation_of(&gateway), &clients);
        let ids = clients.iter().map(|((_, id), _)| protocol::ConnectionId(*id));
        let ours = protocol::standby::digest(ids);
        if digest != Some(ours) {
            let left = clients.into_iter().map(|(client, _)| (client, true)).collect();
            let by = instance(peer.incarnation);
            let takeover = Takeover { gateway, by, digest: ours, holders };
            peer.jobs.push(Job { left, done: Some(Done::TakenOver(takeover)) });
        }
    }

    /// Hands over client records to another worker, relayed by a gateway that both are linked to.
    pub(super) fn hand_over(&mut self, worker: usize) {
        if !self.workers[worker].runs() {
            return;
        }
        let all = std::mem::take(&mut self.workers[worker].handovers);
        for handover in all {
            let (gateway, to) = (&handover.gateway, handover.to.last().expect("a recipient"));
            if !self.workers[worker].detector.hands_over(gateway, to) {
                continue;
            }
            let newcomer =
                self.workers.iter().position(|it| it.runs() && instance(it.incarnation) == *to);
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
        let incarnation = incarnation_of(gateway);
        let linked =
            |link: &Link| link.worker_end && (link.worker, link.incarnation) == (to, incarnation);
        if self.links.values().any(linked) {
            return;
        }
        let peer = &self.workers[from];
        let Some(clients_known) = peer.known_clients.get(&incarnation) else { return };
        let own = clients_known.own.keys().map(|client| (*client, vec![peer.incarnation], true));
        let standby = clients_known.standby.iter();
        let standby = standby.map(|(client, (holders, known))| (*client, holders.clone(), *known));
        let clients: Vec<_> = own.chain(standby).collect();
        let peer = &mut self.workers[to];
        let clients_known = peer.known_clients.entry(incarnation).or_default();
        for (client, mut holders, confirmed) in clients {
            for newcomer in newcomers.iter().map(incarnation_of) {
                if !holders.contains(&newcomer) {
                    holders.push(newcomer);
                }
            }
            let known = clients_known.standby.get(&client).map_or(0, |(holders, _)| holders.len());
            if known < holders.len() && !clients_known.own.contains_key(&client) {
                clients_known.standby.insert(client, (holders, confirmed));
            }
        }
        peer.detector.handed_over(*address, gateway, clients_known.groups(), self.now);
    }

    /// Closes one client of the pending ones, or records that all are closed.
    pub(super) fn close_one(&mut self, worker: usize) {
        let peer = &mut self.workers[worker];
        let Some(job) =
            peer.jobs.first_mut().filter(|_| peer.alive && peer.stalled_since.is_none())
        else {
            return;
        };
        match job.left.pop() {
            Some((client, marked)) => self.closed(client, marked),
            None => {
                let job = peer.jobs.remove(0);
                match job.done {
                    Some(Done::CleanupRecord(settled)) => peer.detector.record_cleanup(settled),
                    Some(Done::TakenOver(takeover)) => peer.detector.take_over(takeover),
                    None => {}
                }
            }
        }
    }

    /// Marks clients of dead gateways that no worker knows of any more, because a process
    /// terminated (`dies`) or because one has decided to drop them.
    pub(super) fn forget(&mut self, dies: bool) {
        let alive: BTreeSet<_> =
            self.gateways.iter().filter(|it| it.alive).map(|it| it.incarnation).collect();
        // The workers that know of each client.
        let mut known: BTreeMap<Client, BTreeSet<usize>> = BTreeMap::new();
        let mut holds = |client: Client, worker| known.entry(client).or_default().insert(worker);
        for link in self.links.values().filter(|link| link.worker_end) {
            let KnownClients { own, standby } = &link.clients_known;
            let on_its_way = link.down.iter().filter_map(|what| match what {
                ToWorker::Connect(client, _)
                | ToWorker::Close(client, _)
                | ToWorker::Reassigned(client, _)
                | ToWorker::Standby(client, ..) => Some(client),
                ToWorker::Release(_) | ToWorker::Pong => None,
            });
            for client in own.keys().chain(standby.keys()).chain(on_its_way) {
                holds(*client, link.worker);
            }
        }
        for (at, worker) in self.workers.iter().enumerate().filter(|(_, worker)| worker.alive) {
            let known_clients = worker.known_clients.values();
            let left = worker.jobs.iter().flat_map(|job| job.left.iter().map(|(client, _)| client));
            for client in
                known_clients.flat_map(|it| it.own.keys().chain(it.standby.keys())).chain(left)
            {
                holds(*client, at);
            }
        }
        for (client, deliveries) in
            self.deliveries.iter_mut().filter(|(client, _)| !alive.contains(&client.0))
        {
            let ended = deliveries.closes + deliveries.marked != 0;
            let holders = known.get(client).map_or(0, BTreeSet::len);
            deliveries.holders.get_or_insert(holders);
            if !ended && holders == 0 && !deliveries.forgotten {
                deliveries.forgotten = true;
                deliveries.dropped = !dies;
            }
        }
    }
}
