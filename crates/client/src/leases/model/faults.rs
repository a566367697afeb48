//! What goes wrong, and who notices.

use super::*;

impl Universe {
    pub(super) fn kill_gateway(&mut self, at: usize) {
        if self.now < self.gateways[at].shaken + PROMPT + Duration::from_secs(1) {
            // The one case that is not covered.
            return;
        }
        self.end_gateway(at);
        // Registers hear of it at once, as they do of every process that ends.
        self.announce_all();
    }

    pub(super) fn end_gateway(&mut self, at: usize) {
        let gateway = &mut self.gateways[at];
        gateway.alive = false;
        gateway.clients.clear();
        gateway.departed.clear();
        gateway.held.clear();
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
            link.estate = Estate::default();
        }
        self.workers[worker].estates.clear();
        self.workers[worker].jobs.clear();
        self.workers[worker].handovers.clear();
        self.forget(true);
    }

    pub(super) fn kill_register(&mut self) {
        self.register = Register::default();
        for worker in 0..WORKERS {
            self.hear(worker);
        }
    }

    pub(super) fn cut_link(&mut self) {
        let ids: Vec<_> = self.links.keys().copied().collect();
        if let Some(id) = self.pick(&ids) {
            let link = &self.links[&id];
            if link.gateway_end && link.worker_end {
                self.gateways[link.gateway].shaken = self.now;
                // Both notice, at different times: nothing more is sent.
                match self.dice.random() {
                    true => self.worker_notices(id),
                    false => self.gateway_notices(id),
                }
            }
        }
    }

    pub(super) fn cut_off(&mut self, gateway: usize, worker: usize) {
        match self.dice.random_range(0..4) {
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
                self.hear(worker);
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

    /// A gateway is cut off from the register and some workers. It goes on with the others.
    pub(super) fn hide(&mut self, gateway: usize) {
        // If it is cut off from a worker sooner, that is the one case that is not covered.
        if !self.gateways[gateway].alive || self.now < self.gateways[gateway].shaken + PROMPT {
            return;
        }
        // As it is if it dies as soon.
        self.gateways[gateway].shaken = self.now;
        self.gateways[gateway].hidden = true;
        self.gateways[gateway].sight.lose(self.now);
        self.announce_all();
        for worker in 0..WORKERS {
            self.hear(worker);
            if self.dice.random() {
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

    pub(super) fn stand_still(&mut self, worker: usize) {
        if self.workers[worker].alive {
            self.workers[worker].still.get_or_insert(self.now);
        }
    }

    /// A worker goes on that stood still, and finds first which of its links have ended, and
    /// what registers say.
    pub(super) fn wake(&mut self, worker: usize) {
        let Some(since) = self.workers[worker].still.take() else { return };
        let ended = |link: &Link| link.worker == worker && !link.gateway_end;
        let ended: Vec<_> = self.links.iter().filter(|(_, link)| ended(link)).collect();
        for id in ended.into_iter().map(|(id, _)| *id).collect::<Vec<_>>() {
            let link = self.links.get_mut(&id).expect("named");
            link.closed = link.closed.map(|closed| closed.min(since));
            self.worker_notices(id);
        }
        self.hear(worker);
    }

    pub(super) fn come_back(&mut self) {
        self.register.alive = true;
        let (gateway, worker) = (self.below(GATEWAYS), self.below(WORKERS));
        self.workers[worker].cut = false;
        self.wake(worker);
        self.heal(gateway);
        if !self.gateways[gateway].alive {
            let life = self.live();
            self.gateways[gateway] = Gateway::new(life, self.gateways[gateway].shaken);
        }
        if !self.workers[worker].alive {
            let life = self.live();
            self.workers[worker] = Worker::new(life);
        }
    }

    /// A gateway that was cut off comes back. If its clients were closed meanwhile, the first that
    /// it meets tells it: that it meets somebody else first, who has not heard of it, is not covered.
    pub(super) fn heal(&mut self, gateway: usize) {
        let it = &mut self.gateways[gateway];
        if std::mem::take(&mut it.hidden) {
            it.apart.clear();
            it.sight.regain(self.now);
            self.announce_all();
            (0..WORKERS).for_each(|worker| self.hear(worker));
        }
        if !std::mem::take(&mut self.gateways[gateway].cut) {
            return;
        }
        if self.over.contains(&self.gateways[gateway].life) {
            self.end_gateway(gateway);
        }
        self.announce_all();
        for worker in 0..WORKERS {
            self.hear(worker);
        }
    }

    /// One end of one link that the other has left notices.
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
            (true, true) if self.stands_still(id) => self.gateway_notices(id),
            (false, true) => self.worker_notices(id),
            (true, true) | (false, false) => {}
        }
    }

    /// Whether the worker of a link has stood still for so long that its gateway gives it up.
    fn stands_still(&self, id: usize) -> bool {
        let still = self.workers[self.links[&id].worker].still;
        still.is_some_and(|since| since + PATIENCE <= self.now)
    }

    pub(super) fn gateway_notices(&mut self, id: usize) {
        // What had come, it has read.
        while self.deliver_up(id) {}
        let link = self.links.get_mut(&id).expect("named");
        if std::mem::take(&mut link.gateway_end) {
            link.closed = Some(self.now);
            let at = link.gateway;
            self.worker_down(at, id);
        }
    }

    /// What a worker was told did not come, since its gateway died: nobody promises anything of a client
    /// if that was who its holders are; or if it was the client's own, and no standby has heard, or is to
    /// hear, that the client is that worker's.
    fn lost_with_gateway(&mut self, lost: &VecDeque<ToWorker>, owner: u64) {
        for what in lost {
            let client = match what {
                ToWorker::Standby(client, ..) => *client,
                ToWorker::Connect(client, _)
                | ToWorker::Close(client, _)
                | ToWorker::Adopt(client, _)
                    if !self.has_standby_of(*client, owner) =>
                {
                    *client
                }
                _ => continue,
            };
            self.unheard.insert(client);
        }
    }

    /// Whether a worker stands by for a client of that owner.
    fn has_standby_of(&self, client: Client, owner: u64) -> bool {
        let knows = |estate: &Estate| {
            let known = estate.standby.get(&client);
            known.is_some_and(|(holders, _)| holders.first() == Some(&owner))
        };
        let is_told = |what: &ToWorker| match what {
            ToWorker::Standby(of, holders, _) => *of == client && holders.first() == Some(&owner),
            _ => false,
        };
        let mut links = self.links.values().filter(|link| link.worker_end);
        links.any(|link| knows(&link.estate) || link.down.iter().any(is_told))
            || self.workers.iter().any(|worker| worker.estates.values().any(knows))
    }

    pub(super) fn worker_notices(&mut self, id: usize) {
        if self.workers[self.links[&id].worker].still.is_some() {
            return;
        }
        let lives = self.gateways[self.links[&id].gateway].life == self.links[&id].life;
        // What a dead process had written arrives; what was cut on its way does not.
        // All of it, unless its host vanished with it.
        let most = if self.below(4) == 0 { self.below(4) } else { usize::MAX };
        for _ in 0..most {
            if lives || !self.deliver_down(id) {
                break;
            }
        }
        let lost = std::mem::take(&mut self.links.get_mut(&id).expect("named").down);
        self.lost_with_gateway(&lost, self.links[&id].owner);
        let link = self.links.get_mut(&id).expect("named");
        if !std::mem::take(&mut link.worker_end) {
            return;
        }
        let estate = std::mem::take(&mut link.estate);
        let (at, life) = (link.gateway, link.life);
        let (since, written_off) = (link.closed.unwrap_or(self.now), link.written_off);
        if lives {
            self.gateways[at].shaken = self.now;
        }
        let worker = &mut self.workers[link.worker];
        let kept = worker.estates.entry(life).or_default();
        kept.own.extend(estate.own);
        kept.standby.retain(|client, _| !kept.own.contains_key(client));
        kept.standby.extend(estate.standby);
        let address = address(at);
        let name = address.to_string().into();
        worker.leases.unlinked(name, address, instance(life), since, self.now);
        if written_off {
            worker.leases.went_on(&instance(life));
        }
        self.forget(true);
    }
}
