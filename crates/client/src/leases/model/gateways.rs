//! What gateways do with clients, owners and witnesses.

use super::*;

impl Universe {
    pub(super) fn connect(&mut self, at: usize) {
        let gateway = &mut self.gateways[at];
        if gateway.alive {
            gateway.next += 1;
            let client = (gateway.life, gateway.next);
            gateway.clients.insert(client, Standing::default());
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
        let marked = self.is_doubtful(at, client);
        let standing = self.gateways[at].clients.remove(&client).unwrap_or_default();
        if let Some(witness) = standing.witness {
            self.gateways[at].departed.insert(client, witness);
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
        self.gateways[at].clients.get_mut(&client).expect("it is there").owner = owner;
        owner
    }

    pub(super) fn give(&mut self, at: usize, client: Client, last: bool, marked: bool) {
        let before = self.gateways[at].clients[&client].owner;
        let owner = self.route(at, client);
        if owner.is_some()
            && (owner != before || self.gateways[at].clients[&client].witness.is_none())
        {
            self.witness(at, client);
        }
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
            None => self.gateways[at].held.push((client, last, marked)),
        }
    }

    pub(super) fn witness(&mut self, at: usize, client: Client) {
        let Standing { owner, witness: before, .. } = self.gateways[at].clients[&client];
        let linked = self.linked(at);
        let Some(owner) = owner.filter(|owner| linked.contains(owner)) else { return };
        let others: Vec<_> = linked.into_iter().filter(|link| *link != owner).collect();
        let kept = before.filter(|link| others.contains(link));
        let witness = kept.or_else(|| self.pick(&others));
        if let Some(before) = before.filter(|before| Some(*before) != witness) {
            self.tell(before, ToWorker::Release(client));
        }
        self.gateways[at].clients.get_mut(&client).expect("it is there").witness = witness;
        if let Some(witness) = witness {
            let life = self.links[&owner].owner;
            self.tell(witness, ToWorker::Witness(client, life));
        }
    }

    pub(super) fn tell(&mut self, link: usize, what: ToWorker) {
        if let Some(link) = self.links.get_mut(&link).filter(|link| link.gateway_end) {
            link.down.push_back(what);
        }
    }

    pub(super) fn worker_up(&mut self, at: usize) {
        let held = std::mem::take(&mut self.gateways[at].held);
        for (client, last, marked) in held {
            self.give_again(at, client, last, marked);
        }
        self.adopt_all(at);
        self.witness_again(at, None);
    }

    pub(super) fn worker_down(&mut self, at: usize, link: usize) {
        let undone = std::mem::take(&mut self.links.get_mut(&link).expect("named").undone);
        let held = std::mem::take(&mut self.gateways[at].held);
        let gateway = &mut self.gateways[at];
        for (_, standing) in gateway.clients.iter_mut().filter(|(_, it)| it.owner == Some(link)) {
            let before = standing.lost.filter(|lost| gateway.sight.was_doubtful(*lost));
            standing.lost = before.or(Some(self.now));
        }
        let undone = undone.into_iter().map(|(client, last)| (client, last, true));
        for (client, last, marked) in undone.chain(held) {
            self.give_again(at, client, last, marked);
        }
        self.adopt_all(at);
        self.witness_again(at, Some(link));
    }

    pub(super) fn give_again(&mut self, at: usize, client: Client, last: bool, marked: bool) {
        if self.gateways[at].clients.contains_key(&client) {
            return self.give(at, client, last, marked);
        }
        let linked = self.linked(at);
        let owner = self.pick(&linked);
        let marked = marked || last && self.gateways[at].sight.is_doubtful(self.now);
        self.post(at, owner, client, last, marked);
    }

    /// Whether a former owner may have taken the gateway for gone.
    pub(super) fn is_doubtful(&self, at: usize, client: Client) -> bool {
        let gateway = &self.gateways[at];
        gateway.clients[&client].lost.is_some_and(|lost| gateway.sight.is_doubtful(lost))
    }

    pub(super) fn adopt_all(&mut self, at: usize) {
        let linked = self.linked(at);
        if linked.is_empty() {
            return;
        }
        let clients = self.gateways[at].clients.iter();
        let orphans = clients.filter(|(_, it)| !it.owner.is_some_and(|it| linked.contains(&it)));
        for client in orphans.map(|(client, _)| *client).collect::<Vec<_>>() {
            if let Some(owner) = self.route(at, client) {
                self.witness(at, client);
                let marked = self.is_doubtful(at, client);
                self.tell(owner, ToWorker::Adopt(client, marked));
            }
        }
    }

    pub(super) fn witness_again(&mut self, at: usize, gone: Option<usize>) {
        let gateway = &mut self.gateways[at];
        gateway.departed.retain(|_, witness| Some(*witness) != gone);
        let clients = gateway.clients.iter();
        let lacks = clients.filter(|(_, it)| it.witness.is_none() || it.witness == gone);
        for client in lacks.map(|(client, _)| *client).collect::<Vec<_>>() {
            self.witness(at, client);
        }
    }
}
