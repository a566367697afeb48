//! How gateways assign clients to owners and standbys.

use super::*;

impl Universe {
    pub(super) fn connect(&mut self, at: usize) {
        let gateway = &mut self.gateways[at];
        if gateway.alive {
            gateway.next += 1;
            let client = (gateway.incarnation, gateway.next);
            gateway.clients.insert(client, LinkState::default());
            self.give(at, client, false, false);
        }
    }

    pub(super) fn leave(&mut self, at: usize) {
        let count = self.gateways[at].clients.len();
        if count == 0 || !self.gateways[at].alive {
            return;
        }
        let nth = self.below(count);
        let client = *self.gateways[at].clients.keys().nth(nth).expect("below the count");
        let owner = self.route(at, client);
        let marked = self.may_be_presumed_dead(at, client);
        let standing = self.gateways[at].clients.remove(&client).unwrap_or_default();
        let LinkState { named, standbys, unconfirmed, .. } = standing;
        let closed_clients = ClosedClient { owner: named, standbys, confirmed: !unconfirmed };
        self.gateways[at].closed_clients.insert(client, closed_clients);
        if let Some(owner) = owner {
            self.reassign_departed(at, client, owner);
        }
        self.post(at, owner, client, true, marked);
    }

    pub(super) fn linked(&self, at: usize) -> Vec<usize> {
        let here = self.links.iter().filter(|(_, link)| link.gateway_end && link.gateway == at);
        here.map(|(id, _)| *id).collect()
    }

    pub(super) fn pick(&mut self, from: &[usize]) -> Option<usize> {
        (!from.is_empty()).then(|| from[self.below(from.len())])
    }

    pub(super) fn route(&mut self, at: usize, client: Client) -> Option<usize> {
        let linked = self.linked(at);
        let owner = self.gateways[at].clients[&client].owner.filter(|link| linked.contains(link));
        let owner = owner.or_else(|| self.pick(&linked));
        self.gateways[at].clients.get_mut(&client).expect("the client exists").owner = owner;
        owner
    }

    pub(super) fn give(&mut self, at: usize, client: Client, last: bool, marked: bool) {
        let owner = self.route(at, client);
        self.assign_standbys(at, client);
        self.post(at, owner, client, last, marked);
    }

    pub(super) fn post(
        &mut self,
        at: usize,
        owner: Option<usize>,
        client: Client,
        last: bool,
        marked: bool,
    ) {
        match owner.and_then(|owner| self.links.get_mut(&owner)) {
            Some(link) => {
                link.undone.push((client, last));
                link.down.push_back(match last {
                    true => ToWorker::Close(client, marked),
                    false => ToWorker::Connect(client, marked),
                });
            }
            None => self.gateways[at].unassigned.push((client, last, marked)),
        }
    }

    /// Adds missing standbys of a client, and notifies all standbys of any change.
    pub(super) fn assign_standbys(&mut self, at: usize, client: Client) {
        let linked = self.linked(at);
        let standing = self.gateways[at].clients[&client].clone();
        let Some(owner) = standing.owner.filter(|owner| linked.contains(owner)) else { return };
        let others: Vec<_> = linked.into_iter().filter(|link| *link != owner).collect();
        let (mut standbys, released): (Vec<_>, Vec<_>) =
            standing.standbys.iter().partition(|link| others.contains(link));
        while standbys.len() < STANDBYS {
            let free: Vec<_> = others.iter().copied().filter(|it| !standbys.contains(it)).collect();
            let Some(one) = self.pick(&free) else { break };
            standbys.push(one);
        }
        for link in released.into_iter().filter(|link| *link != owner) {
            self.send(link, ToWorker::Release(client));
        }
        let is_other = standing.named != Some(owner);
        let unconfirmed = standing.unconfirmed || is_other && standing.named.is_some();
        let is_changed = is_other || standbys != standing.standbys;
        let named = Some(owner);
        // It may never be notified that it is the owner.
        let promoted = standing.standbys.contains(&owner).then_some(owner);
        let changed = LinkState { named, standbys, unconfirmed, ..standing };
        self.gateways[at].clients.insert(client, changed);
        if is_changed {
            self.register(at, client, promoted);
        }
    }

    /// Sends all standbys of a client its holders.
    fn register(&mut self, at: usize, client: Client, promoted: Option<usize>) {
        let LinkState { named, standbys, unconfirmed, .. } =
            self.gateways[at].clients[&client].clone();
        let holders = named.into_iter().chain(standbys.iter().copied());
        let holders: Vec<_> = holders.map(|link| self.links[&link].owner).collect();
        for standby in standbys.into_iter().chain(promoted) {
            self.send(standby, ToWorker::Standby(client, holders.clone(), !unconfirmed));
        }
    }

    /// A worker has acknowledged an event of a client.
    pub(super) fn confirm(&mut self, at: usize, client: Client, by: usize) {
        let standing = self.gateways[at].clients.get_mut(&client);
        if let Some(standing) = standing.filter(|it| it.named == Some(by) && it.unconfirmed) {
            standing.unconfirmed = false;
            self.register(at, client, None);
        }
    }

    pub(super) fn send(&mut self, link: usize, what: ToWorker) {
        if let Some(link) = self.links.get_mut(&link).filter(|link| link.gateway_end) {
            link.down.push_back(what);
        }
    }

    pub(super) fn worker_up(&mut self, at: usize) {
        let unassigned = std::mem::take(&mut self.gateways[at].unassigned);
        for (client, last, marked) in unassigned {
            self.give_again(at, client, last, marked);
        }
        self.reassign_all(at);
        self.complete_standbys(at);
    }

    pub(super) fn worker_down(&mut self, at: usize, link: usize) {
        let undone = std::mem::take(&mut self.links.get_mut(&link).expect("named").undone);
        let unassigned = std::mem::take(&mut self.gateways[at].unassigned);
        let gateway = &mut self.gateways[at];
        for (_, standing) in gateway.clients.iter_mut().filter(|(_, it)| it.owner == Some(link)) {
            let before =
                standing.lost.filter(|lost| gateway.outages.may_have_been_presumed_dead(*lost));
            standing.lost = before.or(Some(self.now));
        }
        let undone = undone.into_iter().map(|(client, last)| (client, last, true));
        for (client, last, marked) in undone.chain(unassigned) {
            self.give_again(at, client, last, marked);
        }
        self.reassign_all(at);
        self.complete_standbys(at);
    }

    pub(super) fn give_again(&mut self, at: usize, client: Client, last: bool, marked: bool) {
        if self.gateways[at].clients.contains_key(&client) {
            return self.give(at, client, last, marked);
        }
        let linked = self.linked(at);
        let owner = self.pick(&linked);
        let marked = marked || last && self.gateways[at].outages.may_be_presumed_dead(self.now);
        if let Some(owner) = owner.filter(|_| last) {
            self.reassign_departed(at, client, owner);
        }
        self.post(at, owner, client, last, marked);
    }

    /// Reassigns the close of a client to another worker, and notifies the standbys.
    fn reassign_departed(&mut self, at: usize, client: Client, owner: usize) {
        let Some(closed_clients) = self.gateways[at].closed_clients.get(&client).cloned() else {
            return;
        };
        let linked = self.linked(at);
        let others: Vec<_> = linked.into_iter().filter(|link| *link != owner).collect();
        let mut standbys: Vec<_> =
            closed_clients.standbys.iter().copied().filter(|it| others.contains(it)).collect();
        while standbys.len() < STANDBYS {
            let free: Vec<_> = others.iter().copied().filter(|it| !standbys.contains(it)).collect();
            let Some(one) = self.pick(&free) else { break };
            standbys.push(one);
        }
        let is_other = closed_clients.owner != Some(owner);
        if !is_other && standbys == closed_clients.standbys {
            return;
        }
        let holders = [owner].into_iter().chain(standbys.iter().copied());
        let holders: Vec<_> = holders.map(|link| self.links[&link].owner).collect();
        let promoted = closed_clients.standbys.contains(&owner).then_some(owner);
        for link in standbys.iter().copied().chain(promoted) {
            let confirmed = !is_other && closed_clients.confirmed;
            self.send(link, ToWorker::Standby(client, holders.clone(), confirmed));
        }
        let closed_clients = ClosedClient {
            owner: Some(owner),
            standbys,
            confirmed: !is_other && closed_clients.confirmed,
        };
        self.gateways[at].closed_clients.insert(client, closed_clients);
    }

    /// Whether a former owner may have declared the gateway dead.
    pub(super) fn may_be_presumed_dead(&self, at: usize, client: Client) -> bool {
        let gateway = &self.gateways[at];
        gateway.clients[&client].lost.is_some_and(|lost| gateway.outages.may_be_presumed_dead(lost))
    }

    pub(super) fn reassign_all(&mut self, at: usize) {
        let linked = self.linked(at);
        if linked.is_empty() {
            return;
        }
        let clients = self.gateways[at].clients.iter();
        let orphans = clients.filter(|(_, it)| !it.owner.is_some_and(|it| linked.contains(&it)));
        for client in orphans.map(|(client, _)| *client).collect::<Vec<_>>() {
            if let Some(owner) = self.route(at, client) {
                self.assign_standbys(at, client);
                let marked = self.may_be_presumed_dead(at, client);
                self.send(owner, ToWorker::Reassigned(client, marked));
            }
        }
    }

    /// Adds missing standbys of clients, including closed ones.
    pub(super) fn complete_standbys(&mut self, at: usize) {
        for client in self.gateways[at].closed_clients.keys().copied().collect::<Vec<_>>() {
            let owner = self.gateways[at].closed_clients[&client].owner;
            if let Some(owner) = owner.filter(|owner| self.linked(at).contains(owner)) {
                self.reassign_departed(at, client, owner);
            }
        }
        for client in self.gateways[at].clients.keys().copied().collect::<Vec<_>>() {
            self.assign_standbys(at, client);
        }
    }
}
