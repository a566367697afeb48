//! Links and their messages.

use super::*;

impl Universe {
    pub(super) fn link(&mut self, at: usize, worker: usize) {
        let (gateway, peer) = (&self.gateways[at], &self.workers[worker]);
        let apart = !gateway.alive || !peer.runs() || gateway.cut || peer.cut;
        let apart = apart || gateway.apart.contains(&worker);
        let known = self.register.gateways.contains(&(at, gateway.incarnation));
        let up = |link: &Link| link.worker_end && (link.gateway, link.worker) == (at, worker);
        if apart || !known || self.links.values().any(up) {
            return;
        }
        let (incarnation, owner) = (gateway.incarnation, peer.incarnation);
        // A register that lists the gateway has reported the cleanup records as well.
        if !self.register.alive || !self.register.workers.contains(&(worker, owner)) {
            return;
        }
        self.receive_view(worker);
        // A newer link of the same worker replaces the older.
        let older = self
            .links
            .iter()
            .find(|(_, link)| link.gateway_end && link.gateway == at && link.owner == owner);
        if let Some(older) = older.map(|(id, _)| *id) {
            self.gateway_notices(older);
        }
        let actions =
            self.workers[worker].detector.linked(address(at), &instance(incarnation), self.now);
        let Some(actions) = actions else {
            self.end_gateway(at);
            return;
        };
        self.execute(worker, actions);
        let back = self.workers[worker].detector.is_back(&instance(incarnation));
        let up = back.then_some(ToGateway::Ping).into_iter().collect();
        self.last_link += 1;
        self.links.insert(
            self.last_link,
            Link {
                gateway: at,
                worker,
                incarnation,
                owner,
                down: VecDeque::new(),
                up,
                gateway_end: true,
                worker_end: true,
                closed: None,
                fenced: false,
                undone: Vec::new(),
                clients_known: KnownClients::default(),
            },
        );
        self.worker_up(at);
    }

    pub(super) fn deliver_some(&mut self) {
        let ids: Vec<_> = self.links.keys().copied().collect();
        if let Some(id) = self.pick(&ids) {
            match self.rng.random() {
                true => drop(self.deliver_down(id)),
                false => drop(self.deliver_up(id)),
            }
        }
    }

    /// Returns whether there was a message.
    pub(super) fn deliver_down(&mut self, id: usize) -> bool {
        let link = self.links.get_mut(&id).expect("named");
        if !link.worker_end || self.workers[link.worker].stalled_since.is_some() {
            return false;
        }
        let Some(what) = link.down.pop_front() else { return false };
        let worker = link.worker;
        // An own client needs no standby record.
        if let ToWorker::Connect(client, _)
        | ToWorker::Close(client, _)
        | ToWorker::Reassigned(client, _) = what
        {
            link.clients_known.standby.remove(&client);
        }
        match what {
            ToWorker::Connect(client, marked) => {
                link.clients_known.own.insert(client, marked);
                link.up.push_back(ToGateway::EventAck(client, false));
                self.deliveries.entry(client).or_default().connects += u32::from(!marked);
            }
            ToWorker::Close(client, marked) => {
                link.clients_known.own.remove(&client);
                link.up.push_back(ToGateway::EventAck(client, true));
                self.closed(client, marked);
            }
            ToWorker::Reassigned(client, marked) => {
                link.clients_known.own.insert(client, marked);
                link.up.push_back(ToGateway::EventAck(client, false));
            }
            ToWorker::Standby(client, holders, confirmed) => {
                link.clients_known.standby.insert(client, (holders, confirmed));
            }
            ToWorker::Release(client) => drop(link.clients_known.standby.remove(&client)),
            ToWorker::Pong => {
                let incarnation = link.incarnation;
                let worker = &mut self.workers[worker];
                worker.detector.confirmed(&instance(incarnation));
                worker.known_clients.remove(&incarnation);
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
            Some(ToGateway::EventAck(client, last)) => {
                if let Some(done) = link.undone.iter().position(|it| *it == (client, last)) {
                    link.undone.remove(done);
                }
                if last {
                    let closed_clients = self.gateways[at].closed_clients.remove(&client);
                    for standby in closed_clients
                        .into_iter()
                        .flat_map(|closed_clients| closed_clients.standbys)
                    {
                        self.send(standby, ToWorker::Release(client));
                    }
                }
                self.confirm(at, client, id);
            }
            Some(ToGateway::Ping) => link.down.push_back(ToWorker::Pong),
            Some(ToGateway::Fenced) => self.end_gateway(at),
        }
        true
    }

    pub(super) fn closed(&mut self, client: Client, marked: bool) {
        let deliveries = self.deliveries.entry(client).or_default();
        match marked {
            true => deliveries.marked += 1,
            false => deliveries.closes += 1,
        }
    }
}
