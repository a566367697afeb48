//! Faults, and when they are noticed.

use super::*;

impl Universe {
    pub(super) fn kill_gateway(&mut self, at: usize) {
        if self.now < self.gateways[at].shaken + PROMPT + Duration::from_secs(1) {
            // The one case that is not covered.
            return;
        }
        self.end_gateway(at);
        // Registers detect it at once, as for every process that terminates.
        self.announce_all();
    }

    pub(super) fn end_gateway(&mut self, at: usize) {
        let gateway = &mut self.gateways[at];
        gateway.alive = false;
        gateway.clients.clear();
        gateway.closed_clients.clear();
        gateway.unassigned.clear();
        for link in self.links.values_mut().filter(|link| link.gateway == at) {
            link.gateway_end = false;
            link.closed.get_or_insert(self.now);
        }
        self.forget(true);
    }

    pub(super) fn kill_worker(&mut self, worker: usize) {
        self.workers[worker].alive = false;
        for link in self.links.values_mut().filter(|link| link.worker == worker) {
            link.worker_end = false;
            link.clients_known = KnownClients::default();
        }
        self.workers[worker].known_clients.clear();
        self.workers[worker].jobs.clear();
        self.workers[worker].handovers.clear();
        self.forget(true);
    }

    pub(super) fn kill_register(&mut self) {
        self.register = Register::default();
        for worker in 0..WORKERS {
            self.receive_view(worker);
        }
    }

    pub(super) fn cut_link(&mut self) {
        let ids: Vec<_> = self.links.keys().copied().collect();
        if let Some(id) = self.pick(&ids) {
            let link = &self.links[&id];
            if link.gateway_end && link.worker_end {
                self.gateways[link.gateway].shaken = self.now;
                // Both ends notice, at different times; nothing more is sent.
                match self.rng.random() {
                    true => self.worker_notices(id),
                    false => self.gateway_notices(id),
                }
            }
        }
    }

    pub(super) fn cut_off(&mut self, gateway: usize, worker: usize) {
        match self.rng.random_range(0..4) {
            0 if self.gateways[gateway].shaken + PROMPT < self.now => {
                self.gateways[gateway].cut = true;
                self.announce_all();
                let links = self.links.iter().filter(|(_, link)| link.gateway == gateway);
                for id in links.map(|(id, _)| *id).collect::<Vec<_>>() {
                    self.worker_notices(id);
                    self.gateway_notices(id);
                }
            }
            1 => {
                self.workers[worker].cut = true;
                self.receive_view(worker);
                let links = self.links.iter().filter(|(_, link)| link.worker == worker);
                for id in links.map(|(id, _)| *id).collect::<Vec<_>>() {
                    self.gateways[self.links[&id].gateway].shaken = self.now;
                    self.worker_notices(id);
                    self.gateway_notices(id);
                }
            }
            _ => self.come_back(),
        }
    }

    /// Partitions a gateway from the register and some workers. It continues with the others.
    pub(super) fn hide(&mut self, gateway: usize) {
        // An earlier partition from a worker is the one case that is not covered.
        if !self.gateways[gateway].alive || self.now < self.gateways[gateway].shaken + PROMPT {
            return;
        }
        // The same applies if it terminates as soon.
        self.gateways[gateway].shaken = self.now;
        self.gateways[gateway].hidden = true;
        self.gateways[gateway].outages.begin(self.now);
        self.announce_all();
        for worker in 0..WORKERS {
            self.receive_view(worker);
            if self.rng.random() {
                self.gateways[gateway].apart.insert(worker);
                let of = |link: &Link| (link.gateway, link.worker) == (gateway, worker);
                let links = self.links.iter().filter(|(_, link)| of(link));
                for id in links.map(|(id, _)| *id).collect::<Vec<_>>() {
                    self.worker_notices(id);
                    self.gateway_notices(id);
                }
            }
        }
    }

    pub(super) fn stall(&mut self, worker: usize) {
        if self.workers[worker].alive {
            self.workers[worker].stalled_since.get_or_insert(self.now);
        }
    }

    /// Resumes a stalled worker, which first detects which of its links have ended, and then
    /// updates its view of the registers.
    pub(super) fn wake(&mut self, worker: usize) {
        let Some(since) = self.workers[worker].stalled_since.take() else { return };
        let ended = |link: &Link| link.worker == worker && !link.gateway_end;
        let ended: Vec<_> = self.links.iter().filter(|(_, link)| ended(link)).collect();
        for id in ended.into_iter().map(|(id, _)| *id).collect::<Vec<_>>() {
            let link = self.links.get_mut(&id).expect("named");
            link.closed = link.closed.map(|closed| closed.min(since));
            self.worker_notices(id);
        }
        self.receive_view(worker);
    }

    pub(super) fn come_back(&mut self) {
        self.register.alive = true;
        let (gateway, worker) = (self.below(GATEWAYS), self.below(WORKERS));
        self.workers[worker].cut = false;
        self.wake(worker);
        self.heal(gateway);
        if !self.gateways[gateway].alive {
            let incarnation = self.live();
            self.gateways[gateway] = Gateway::new(incarnation, self.gateways[gateway].shaken);
        }
        if !self.workers[worker].alive {
            let incarnation = self.live();
            self.workers[worker] = Worker::new(incarnation);
        }
    }

    /// Ends the partition of a gateway. If its clients were closed meanwhile, the first worker that
    /// it links to fences it: another worker that does not know of the closes and is linked first
    /// is not covered.
    pub(super) fn heal(&mut self, gateway: usize) {
        let it = &mut self.gateways[gateway];
        if std::mem::take(&mut it.hidden) {
            it.apart.clear();
            it.outages.end(self.now);
            self.announce_all();
            (0..WORKERS).for_each(|worker| self.receive_view(worker));
        }
        if !std::mem::take(&mut self.gateways[gateway].cut) {
            return;
        }
        if self.declared_dead.contains(&self.gateways[gateway].incarnation) {
            self.end_gateway(gateway);
        }
        self.announce_all();
        for worker in 0..WORKERS {
            self.receive_view(worker);
        }
    }

    /// One end of a link that the other has closed notices.
    pub(super) fn notice(&mut self) {
        let ids: Vec<_> = self.links.keys().copied().collect();
        if let Some(id) = self.pick(&ids) {
            self.notice_at(id);
        }
    }

    pub(super) fn notice_at(&mut self, id: usize) {
        let link = &self.links[&id];
        match (link.gateway_end, link.worker_end) {
            (true, false) => self.gateway_notices(id),
            (true, true) if self.is_stalled_too_long(id) => self.gateway_notices(id),
            (false, true) => self.worker_notices(id),
            (true, true) | (false, false) => {}
        }
    }

    /// Whether the worker of a link has stalled for so long that its gateway closes the link.
    fn is_stalled_too_long(&self, id: usize) -> bool {
        let stalled_since = self.workers[self.links[&id].worker].stalled_since;
        stalled_since.is_some_and(|since| since + PATIENCE <= self.now)
    }

    pub(super) fn gateway_notices(&mut self, id: usize) {
        // Input that has arrived is still read.
        while self.deliver_up(id) {}
        let link = self.links.get_mut(&id).expect("named");
        if std::mem::take(&mut link.gateway_end) {
            link.closed = Some(self.now);
            let at = link.gateway;
            self.worker_down(at, id);
        }
    }

    /// Messages to a worker were lost because its gateway died. Nothing is guaranteed for a client
    /// if the lost message listed its holders; or if it made the worker the owner, and no standby
    /// knows, or is about to be informed, that the client belongs to that worker.
    fn lost_with_gateway(&mut self, lost: &VecDeque<ToWorker>, owner: u64) {
        for what in lost {
            let client = match what {
                ToWorker::Standby(client, ..) => *client,
                ToWorker::Connect(client, _)
                | ToWorker::Close(client, _)
                | ToWorker::Reassigned(client, _)
                    if !self.has_standby_of(*client, owner) =>
                {
                    *client
                }
                _ => continue,
            };
            self.undelivered.insert(client);
        }
    }

    /// Whether a worker is a standby for a client of that owner.
    fn has_standby_of(&self, client: Client, owner: u64) -> bool {
        let holds = |clients_known: &KnownClients| {
            let known = clients_known.standby.get(&client);
            known.is_some_and(|(holders, _)| holders.first() == Some(&owner))
        };
        let is_being_sent = |what: &ToWorker| match what {
            ToWorker::Standby(of, holders, _) => *of == client && holders.first() == Some(&owner),
            _ => false,
        };
        let mut links = self.links.values().filter(|link| link.worker_end);
        links.any(|link| holds(&link.clients_known) || link.down.iter().any(is_being_sent))
            || self.workers.iter().any(|worker| worker.known_clients.values().any(holds))
    }

    pub(super) fn worker_notices(&mut self, id: usize) {
        if self.workers[self.links[&id].worker].stalled_since.is_some() {
            return;
        }
        let is_alive =
            self.gateways[self.links[&id].gateway].incarnation == self.links[&id].incarnation;
        // Output of a terminated process still arrives; data in flight at a network fault does not.
        // All of it arrives, unless the host vanished as well.
        let most = if self.below(4) == 0 { self.below(4) } else { usize::MAX };
        for _ in 0..most {
            if is_alive || !self.deliver_down(id) {
                break;
            }
        }
        let lost = std::mem::take(&mut self.links.get_mut(&id).expect("named").down);
        self.lost_with_gateway(&lost, self.links[&id].owner);
        let link = self.links.get_mut(&id).expect("named");
        if !std::mem::take(&mut link.worker_end) {
            return;
        }
        let clients_known = std::mem::take(&mut link.clients_known);
        let (at, incarnation) = (link.gateway, link.incarnation);
        let (since, fenced) = (link.closed.unwrap_or(self.now), link.fenced);
        if is_alive {
            self.gateways[at].shaken = self.now;
        }
        let worker = &mut self.workers[link.worker];
        let kept = worker.known_clients.entry(incarnation).or_default();
        kept.own.extend(clients_known.own);
        kept.standby.retain(|client, _| !kept.own.contains_key(client));
        kept.standby.extend(clients_known.standby);
        let address = address(at);
        let name = address.to_string().into();
        worker.detector.unlinked(name, address, instance(incarnation), since, self.now);
        if fenced {
            worker.detector.survived(&instance(incarnation));
        }
        self.forget(true);
    }
}
