//! Links, and what goes over them.

use super::*;

impl Universe {
    pub(super) fn link(&mut self, at: usize, worker: usize) {
        let (gateway, peer) = (&self.gateways[at], &self.workers[worker]);
        let apart = !gateway.alive || !peer.runs() || gateway.cut || peer.cut;
        let apart = apart || gateway.apart.contains(&worker);
        let known = self.register.gateways.contains(&(at, gateway.life));
        let up = |link: &Link| link.worker_end && (link.gateway, link.worker) == (at, worker);
        if apart || !known || self.links.values().any(up) {
            return;
        }
        let (life, owner) = (gateway.life, peer.life);
        // Whoever tells it of the gateway tells it of what was settled.
        if !self.register.alive || !self.register.workers.contains(&(worker, owner)) {
            return;
        }
        self.hear(worker);
        // A newer link of the same worker replaces the older.
        let older = self
            .links
            .iter()
            .find(|(_, link)| link.gateway_end && link.gateway == at && link.owner == owner);
        if let Some(older) = older.map(|(id, _)| *id) {
            self.gateway_notices(older);
        }
        let verdicts = self.workers[worker].leases.linked(address(at), &instance(life), self.now);
        let Some(verdicts) = verdicts else {
            self.end_gateway(at);
            return;
        };
        self.carry_out(worker, verdicts);
        let back = self.workers[worker].leases.is_back(&instance(life));
        let up = back.then_some(ToGateway::Ping).into_iter().collect();
        self.last_link += 1;
        self.links.insert(
            self.last_link,
            Link {
                gateway: at,
                worker,
                life,
                owner,
                down: VecDeque::new(),
                up,
                gateway_end: true,
                worker_end: true,
                closed: None,
                written_off: false,
                undone: Vec::new(),
                estate: Estate::default(),
            },
        );
        self.worker_up(at);
    }

    pub(super) fn deliver_some(&mut self) {
        let ids: Vec<_> = self.links.keys().copied().collect();
        if let Some(id) = self.pick(&ids) {
            match self.dice.random() {
                true => drop(self.deliver_down(id)),
                false => drop(self.deliver_up(id)),
            }
        }
    }

    /// Says whether there was something.
    pub(super) fn deliver_down(&mut self, id: usize) -> bool {
        let link = self.links.get_mut(&id).expect("named");
        if !link.worker_end || self.workers[link.worker].still.is_some() {
            return false;
        }
        let Some(what) = link.down.pop_front() else { return false };
        let worker = link.worker;
        // A client of its own needs no standby record.
        if let ToWorker::Connect(client, _)
        | ToWorker::Close(client, _)
        | ToWorker::Adopt(client, _) = what
        {
            link.estate.standby.remove(&client);
        }
        match what {
            ToWorker::Connect(client, marked) => {
                link.estate.own.insert(client, marked);
                link.up.push_back(ToGateway::Done(client, false));
                self.told.entry(client).or_default().connects += u32::from(!marked);
            }
            ToWorker::Close(client, marked) => {
                link.estate.own.remove(&client);
                link.up.push_back(ToGateway::Done(client, true));
                self.closed(client, marked);
            }
            ToWorker::Adopt(client, marked) => {
                link.estate.own.insert(client, marked);
                link.up.push_back(ToGateway::Done(client, false));
            }
            ToWorker::Standby(client, holders, confirmed) => {
                link.estate.standby.insert(client, (holders, confirmed));
            }
            ToWorker::Release(client) => drop(link.estate.standby.remove(&client)),
            ToWorker::Pong => {
                let life = link.life;
                let worker = &mut self.workers[worker];
                worker.leases.confirmed(&instance(life));
                worker.estates.remove(&life);
            }
        }
        true
    }

    pub(super) fn deliver_up(&mut self, id: usize) -> bool {
        let link = self.links.get_mut(&id).expect("named");
        if !link.gateway_end || !self.gateways[link.gateway].alive {
            return false;
        }
        let (at, what) = (link.gateway, link.up.pop_front());
        match what {
            None => return false,
            Some(ToGateway::Done(client, last)) => {
                if let Some(done) = link.undone.iter().position(|it| *it == (client, last)) {
                    link.undone.remove(done);
                }
                if last {
                    let departed = self.gateways[at].departed.remove(&client);
                    for standby in departed.into_iter().flat_map(|departed| departed.standbys) {
                        self.tell(standby, ToWorker::Release(client));
                    }
                }
                self.confirm(at, client, id);
            }
            Some(ToGateway::Ping) => link.down.push_back(ToWorker::Pong),
            Some(ToGateway::WrittenOff) => self.end_gateway(at),
        }
        true
    }

    pub(super) fn closed(&mut self, client: Client, marked: bool) {
        let told = self.told.entry(client).or_default();
        match marked {
            true => told.marked += 1,
            false => told.closes += 1,
        }
    }
}
