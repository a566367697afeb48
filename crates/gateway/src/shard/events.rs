//! Events on their way to a worker, and what becomes of them when there is none.

use std::time::Instant;

use protocol::{CloseReason, ConnectionId, Context, Event};
use rustc_hash::FxHashMap;

use super::{
    Shard,
    connection::{Connection, Key},
    outlet::{Outlet, Recalled},
};
use crate::exchange::LinkId;

impl Shard {
    /// Gives an event of a client to its worker. `event` is without its payload, which is given
    /// beside it.
    pub(super) fn emit(&mut self, key: Key, event: Event, payload: &[u8]) {
        self.give(key, event, payload, false);
    }

    fn give(&mut self, key: Key, event: Event, payload: &[u8], redelivered: bool) {
        let Some(id) = self.connections[key as usize].id else {
            return;
        };
        let link = self.route(key);
        let connection = &mut self.connections[key as usize];
        match link.and_then(|link| self.workers.open(link)) {
            Some(worker) => {
                let context = (!connection.introduced).then(|| {
                    let session = self.directory.get(id).map(|client| client.session.clone());
                    context(connection, session.unwrap_or_default())
                });
                connection.introduced = true;
                connection.held_since = None;
                worker.outlet.push(id, event, payload, context, redelivered);
                if self.settings.worker_window < worker.outlet.len() && !connection.paused {
                    // Its socket is left unread until the worker has caught up.
                    connection.paused = true;
                    worker.paused.push(key);
                }
                self.tally.events += 1;
                self.tally.redelivered += u64::from(redelivered);
            }
            None => {
                connection.held_since.get_or_insert_with(Instant::now);
                connection.introduced = false;
                self.limbo.push(id, event, payload, None, redelivered);
                connection.paused |= self.settings.worker_window < self.limbo.len();
            }
        }
        self.call();
    }

    /// Tells the worker that a client is gone, and forgets the client.
    pub(super) fn depart(&mut self, key: Key, reason: CloseReason) {
        let Some(id) = self.connections[key as usize].id else {
            return;
        };
        let link = self.route(key);
        let Some(client) = self.directory.remove(id) else {
            return;
        };
        let connection = &mut self.connections[key as usize];
        // A close brings all that a worker needs to know, since nobody can be asked afterwards.
        let context = Some(context(connection, client.session));
        connection.id = None;
        connection.route = None;
        match link.and_then(|link| self.workers.open(link)) {
            Some(worker) => {
                worker.outlet.push(id, Event::Close(reason), &[], context, false);
                self.tally.events += 1;
            }
            None => self.limbo.push(id, Event::Close(reason), &[], context, false),
        }
        if let Some(link) = link {
            self.workers.unbind(link);
        }
        self.host.metrics.clients.dec();
        self.host.metrics.count_closed(reason);
        self.call();
    }

    /// The worker of a client: the one that it has, or a new one if that is gone.
    fn route(&mut self, key: Key) -> Option<LinkId> {
        let connection = &mut self.connections[key as usize];
        if let Some(link) = connection.route
            && self.workers.holds(link)
        {
            return Some(link);
        }
        let link = self.workers.choose(self.settings.router, connection.remote.ip());
        connection.route = link;
        connection.introduced = false;
        link
    }

    /// Gives out again what a worker did not finish, or what there was no worker for.
    pub(super) fn give_again(&mut self, recalled: Vec<Recalled>) {
        // Of clients that are gone, what a worker must know is in their last event.
        let mut gone: FxHashMap<ConnectionId, (Option<LinkId>, Option<Box<Context>>)> =
            FxHashMap::default();
        for event in &recalled {
            if matches!(event.event, Event::Close(_)) {
                gone.insert(event.client, (None, event.context.clone()));
            }
        }
        for Recalled { client, mut event, redelivered, .. } in recalled {
            let payload = match &mut event {
                Event::Message(message) => std::mem::take(&mut message.body),
                _ => bytes::Bytes::new(),
            };
            if let Some(key) = self.directory.get(client).map(|client| client.handle) {
                self.give(key, event, &payload, redelivered);
                continue;
            }
            let (link, context) = gone.entry(client).or_default();
            if link.is_none_or(|link| !self.workers.holds(link)) {
                let ip = context.as_ref().map(|context| context.remote.ip());
                let ip = ip.unwrap_or_else(|| std::net::Ipv4Addr::UNSPECIFIED.into());
                *link = self.workers.choose(self.settings.router, ip);
                if let Some(link) = link {
                    self.workers.unbind(*link);
                }
            }
            let last = matches!(event, Event::Close(_));
            match link.and_then(|link| self.workers.open(link)) {
                Some(worker) => {
                    let context = context.clone();
                    worker.outlet.push(client, event, &payload, context, redelivered);
                    self.tally.events += 1;
                    self.tally.redelivered += u64::from(redelivered);
                }
                None => {
                    let context = context.clone().filter(|_| last);
                    self.limbo.push(client, event, &payload, context, redelivered);
                }
            }
        }
        self.call();
    }

    /// Takes back all events that wait for a worker.
    pub(super) fn take_limbo(&mut self) -> Vec<Recalled> {
        std::mem::replace(&mut self.limbo, Outlet::new(self.index)).recall().collect()
    }

    /// Has the connections read again that were left unread.
    pub(super) fn resume(&mut self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            if let Some(connection) = self.connections.get_mut(key as usize) {
                connection.paused = false;
                connection.wake();
            }
        }
    }
}

fn context(connection: &Connection, session: protocol::Session) -> Box<Context> {
    let listener_port = connection.door.addr.port();
    Box::new(Context { remote: connection.remote, listener_port, session })
}
