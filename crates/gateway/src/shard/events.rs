//! Events on their way to a worker, and what becomes of them when there is none.

use std::{net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use protocol::{
    CloseReason, ConnectionId, Context, Event,
    codec::gateway_worker::{MAX_FRAME, TooLarge},
};
use rustc_hash::FxHashMap;
use service::clock;

use super::{
    SCRATCH, Shard,
    connection::{Connection, Key, Pause, Phase},
    outlet::{Care, Entry, Outlet, Reached},
    share::{LIGHT, Share, Wait},
    workers::Linked,
};
use crate::{
    closed::Closed,
    exchange::{Language, LinkId},
    framing::Violation,
    settings::NoWorker,
};

/// How many bytes of a request are read at a time: most fit.
const HEAD: usize = 4 * 1024;

impl Shard {
    /// Gives an event of a client to its worker. `event` is without its payload, which is given
    /// beside it.
    pub(super) fn emit(&mut self, key: Key, event: Event, payload: &[u8]) {
        let connection = &mut self.connections[key as usize];
        if let Some(client) = connection.id {
            connection.events += 1;
            let number = connection.events;
            self.give(key, fresh(client, number, event), payload);
        }
    }

    /// Gives an event to the worker of a client that is still there.
    fn give(&mut self, key: Key, entry: Entry, payload: &[u8]) {
        let Some(entry) = self.hold_back(entry, payload) else {
            // Nothing more is read of it either, until that is decided.
            let connection = &mut self.connections[key as usize];
            connection.paused = Some(Pause::Full);
            connection.held_since = None;
            return;
        };
        self.give_now(key, entry, payload);
    }

    /// Gives an event to the worker of a client that is still there, whatever waits.
    pub(super) fn give_now(&mut self, key: Key, mut entry: Entry, payload: &[u8]) {
        let link = self.route(key);
        if self.is_lost(link) {
            // It is told nothing.
            self.end(key, Closed::NoWorker { retry_after: Duration::ZERO });
            self.warnings.no_worker();
            return;
        }
        let connection = &mut self.connections[key as usize];
        let worker = link.filter(|link| self.workers.open(*link).is_some());
        connection.held_since = match worker {
            Some(_) => None,
            None => connection.held_since.or_else(|| Some(clock::now())),
        };
        // PHP workers want to be told with every event.
        let language = worker.and_then(|worker| self.workers.open(worker));
        let language = language.map(|worker| worker.outlet.language());
        let introduced = language == Some(Language::Native) && connection.introduced;
        connection.introduced = worker.is_some();
        entry.edits = connection.edits;
        entry.context = (worker.is_some() && !introduced)
            .then(|| context(connection, self.directory.session(entry.client)));
        let is_introduced = entry.context.is_some() && language == Some(Language::Native);
        if is_introduced {
            self.assign_standbys(key, true);
        }
        let client = entry.client;
        if let Err(error) = self.post(worker, entry, payload) {
            self.suspects.abandon(client);
            // A worker of ours could have taken it, but a PHP worker would lose its link over it.
            tracing::debug!(client = %self.client_id(client), %error, "too large for this worker");
            let violation = Violation::TooLong { size: payload.len() as u64, limit: MAX_FRAME };
            self.end(key, Closed::Violation(violation));
            return;
        }
        if let Some(owner) = worker.filter(|_| is_introduced) {
            self.await_confirmation(key, owner);
        }
        self.share_out(key, payload.len());
    }

    /// Leaves the socket of a client that has sent an event unread, if its worker has enough of it or
    /// of everybody, or if there is none and enough waits for one.
    fn share_out(&mut self, key: Key, payload: usize) {
        let window = self.windows();
        let connection = &mut self.connections[key as usize];
        if connection.paused.is_some() {
            return;
        }
        let Some(worker) = connection.route.and_then(|link| self.workers.open(link)) else {
            connection.paused = (window.of_many < self.limbo.len()).then_some(Pause::Full);
            return;
        };
        if worker.is_lossy(&self.settings.ways) {
            return;
        }
        if let Some(wait) = connection.share.add(payload, &worker.outlet.progress(), window) {
            let is_turn = wait == Wait::Turn;
            connection.paused = Some(if is_turn { Pause::Turn } else { Pause::Full });
            worker.leave_unread(key, wait);
        }
    }

    /// Whether a client's worker has enough to do; without one, whether enough waits for one.
    pub(super) fn has_full_worker(&mut self, key: Key) -> bool {
        let window = self.window();
        let link = self.connections[key as usize].route;
        match link.and_then(|link| self.workers.open(link)) {
            Some(worker) if worker.is_lossy(&self.settings.ways) => false,
            Some(worker) => window < worker.outlet.len(),
            None => window < self.limbo.len(),
        }
    }

    /// How many bytes of a connection are read at a time.
    pub(super) fn most_to_read(&mut self, key: Key) -> usize {
        if matches!(self.connections[key as usize].phase, Phase::Request(_)) {
            // Small, so that what comes behind a request for a page costs no more than its turn.
            return HEAD;
        }
        // All that is read goes to the worker.
        match !self.connections[key as usize].is_amid_large() && self.has_busy_worker(key).is_some()
        {
            true => LIGHT,
            false => SCRATCH,
        }
    }

    /// The worker of a client, if more waits for it than keeps it busy.
    fn has_busy_worker(&mut self, key: Key) -> Option<&mut Linked> {
        let worker = self.workers.open(self.connections[key as usize].route?)?;
        let is_busy = worker.outlet.progress().is_busy() && !worker.is_lossy(&self.settings.ways);
        is_busy.then_some(worker)
    }

    /// Leaves a client that is in the midst of something large unread until it is its turn; `false` if
    /// its worker could do with more.
    pub(super) fn waits_for_worker(&mut self, key: Key) -> bool {
        let Some(worker) = self.has_busy_worker(key) else {
            return false;
        };
        worker.leave_unread(key, Wait::Turn);
        self.connections[key as usize].paused = Some(Pause::Turn);
        true
    }

    /// Leaves a client's socket unread until its worker has caught up, or is there.
    pub(super) fn pause(&mut self, key: Key) {
        let connection = &mut self.connections[key as usize];
        connection.paused = Some(Pause::Full);
        if let Some(worker) = connection.route.and_then(|link| self.workers.open(link)) {
            worker.leave_unread(key, Wait::Worker);
        }
    }

    /// Gives a client to a worker that is told of nothing but that.
    pub(super) fn adopt(&mut self, key: Key) {
        let Some(client) = self.connections[key as usize].id else {
            return;
        };
        let link = self.route(key);
        let language = link.and_then(|link| self.workers.open(link));
        // PHP workers are told everything with each event, and have no word for this.
        if language.is_some_and(|worker| worker.outlet.language() == Language::Native) {
            let number = self.connections[key as usize].events;
            let redelivered = self.is_doubtful(key);
            let entry = Entry { redelivered, ..fresh(client, number, Event::Adopt) };
            self.give_now(key, entry, &[]);
        }
    }

    /// Whether events that go to this worker, or to none, are dropped.
    pub(super) fn is_lost(&self, link: Option<LinkId>) -> bool {
        link.is_none() && self.settings.no_worker == NoWorker::Destroy
    }

    /// Adds an event to those that go to this worker, or to those that wait for one.
    fn post(
        &mut self,
        link: Option<LinkId>,
        mut entry: Entry,
        payload: &[u8],
    ) -> Result<(), TooLarge> {
        self.call();
        if self.is_lost(link) {
            self.tally.events_dropped += 1;
            self.suspects.abandon(entry.client);
            return Ok(());
        }
        if let Some(link) = link.filter(|_| !self.suspects.is_empty()) {
            let care = self.suspects.care(entry.client, entry.number, link);
            if entry.care == Care::No && !matches!(entry.event, Event::Adopt) {
                entry.care = care;
            }
        }
        let (window, ways) = (self.window(), &self.settings.ways);
        match link.and_then(|link| self.workers.open(link)) {
            Some(worker) if worker.is_lossy(ways) && window <= worker.outlet.len() => {
                self.tally.events_dropped += 1;
                self.suspects.abandon(entry.client);
                Ok(())
            }
            Some(worker) => {
                self.tally.events += 1;
                self.tally.redelivered += u64::from(entry.redelivered);
                worker.outlet.push(entry, payload)
            }
            None => self.limbo.push(entry, payload),
        }
    }

    /// Tells the worker that a client is gone, and forgets the client.
    pub(super) fn depart(&mut self, key: Key, reason: CloseReason) {
        let Some(id) = self.connections[key as usize].id else {
            return;
        };
        let redelivered = self.is_doubtful(key);
        let link = self.route(key);
        let session = self.directory.session(id);
        if self.directory.remove(id).is_none() {
            return;
        }
        let connection = &mut self.connections[key as usize];
        connection.id = None;
        connection.route = None;
        let standbys = std::mem::take(&mut connection.standbys);
        connection.events += 1;
        // A close brings all that a worker needs to know, since nobody can be asked afterwards.
        let context = context(connection, session);
        let (number, event) = (connection.events, Event::Close(reason));
        let edits = connection.edits;
        self.keep_standbys(id, standbys, &context, link);
        let context = Some(context);
        let entry = Entry { context, redelivered, edits, ..fresh(id, number, event) };
        // It is told once what is before it is.
        if let Some(entry) = self.hold_back(entry, &[])
            && let Err(error) = self.post(link, entry, &[])
            && let Some(suppressed) = self.warnings.too_large.admit(clock::now())
        {
            let client = self.client_id(id);
            tracing::error!(
                %client, %error, suppressed,
                "a worker cannot be told that a client is gone"
            );
        }
        if let Some(link) = link {
            self.workers.unbind(link);
        }
        self.host.metrics.clients.dec();
        self.host.metrics.count_closed(reason);
    }

    /// Whether a former worker of a client may have taken us for gone, and have closed it.
    fn is_doubtful(&self, key: Key) -> bool {
        let lost = self.connections[key as usize].lost;
        lost.is_some_and(|lost| self.host.sight.is_doubtful(lost))
    }

    /// The worker of a client: the one that it has, or a new one if that is gone.
    fn route(&mut self, key: Key) -> Option<LinkId> {
        let connection = &mut self.connections[key as usize];
        if let Some(link) = connection.route
            && self.workers.holds(link)
        {
            return Some(link);
        }
        let ip = connection.remote.ip();
        let link = self.workers.choose(self.settings.router, ip, self.room());
        let connection = &mut self.connections[key as usize];
        connection.route = link;
        connection.introduced = false;
        connection.edits = 0;
        connection.share = Share::default();
        link
    }

    /// Gives out again what a worker did not finish, or what there was no worker for.
    pub(super) fn give_again(&mut self, entries: Vec<Entry>) {
        self.give_again_by(FxHashMap::default(), entries);
    }

    /// The same, where clients that are gone have the workers of `routes`.
    pub(super) fn give_again_by(
        &mut self,
        mut routes: FxHashMap<ConnectionId, Option<LinkId>>,
        entries: Vec<Entry>,
    ) {
        // Of clients that are gone, what a worker must know is in their last event.
        let last = entries.iter().filter(|entry| matches!(entry.event, Event::Close(_)));
        let contexts = last.map(|entry| (entry.client, entry.context.clone()));
        let contexts: FxHashMap<_, _> = contexts.collect();
        let room = self.room();
        for mut entry in entries {
            if matches!(entry.event, Event::Adopt) {
                // Orphans are found by a sweep over the clients themselves.
                continue;
            }
            let payload = match &mut entry.event {
                Event::Message(message) => std::mem::take(&mut message.body),
                _ => Bytes::new(),
            };
            if let Some(key) = self.directory.get(entry.client).map(|client| client.handle) {
                match entry.care {
                    Care::No => self.give(key, entry, &payload),
                    // It has waited for that.
                    Care::Suspect | Care::Trial => self.give_now(key, entry, &payload),
                }
                continue;
            }
            if entry.care == Care::No {
                match self.hold_back(entry, &payload) {
                    Some(given) => entry = given,
                    None => continue,
                }
            }
            let context = contexts.get(&entry.client).cloned().flatten();
            let link = *routes.entry(entry.client).or_insert_with(|| {
                let ip = context.as_ref().map(|context| context.remote.ip());
                let ip = ip.unwrap_or_else(|| Ipv4Addr::UNSPECIFIED.into());
                let link = self.workers.choose(self.settings.router, ip, room)?;
                // It is the worker's for its last events only.
                self.workers.unbind(link);
                Some(link)
            });
            entry.context = context.or(entry.context);
            if matches!(entry.event, Event::Close(_)) {
                self.reassign_departed(entry.client, link);
                // As with clients that are still there, if whoever had it is lost.
                entry.redelivered |= self.host.sight.is_doubtful(clock::now());
            }
            let client = entry.client;
            let posted = self.post(link, entry, &payload);
            if posted.is_err() {
                self.suspects.abandon(client);
            }
            if let Err(error) = posted
                && let Some(suppressed) = self.warnings.too_large.admit(clock::now())
            {
                let client = self.client_id(client);
                tracing::error!(
                    %client, %error, suppressed,
                    "an event is too large for its new worker"
                );
            }
        }
    }

    /// Takes back all events that wait for a worker.
    pub(super) fn take_limbo(&mut self) -> Vec<Entry> {
        std::mem::replace(
            &mut self.limbo,
            Outlet::new(self.index, Language::Native, self.host.address),
        )
        .recall()
        .collect()
    }

    /// Has the connections read again that were left unread.
    pub(super) fn resume(&mut self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            if let Some(connection) = self.connections.get_mut(key as usize) {
                connection.paused = None;
                connection.share.waited();
                connection.wake();
            }
        }
    }
}

/// An event as it happens to a client.
fn fresh(client: ConnectionId, number: u64, event: Event) -> Entry {
    let (context, care, reached) = (None, Care::No, Reached::Nobody);
    Entry { client, number, event, context, redelivered: false, edits: 0, care, reached }
}

pub(super) fn context(connection: &Connection, session: protocol::Session) -> Box<Context> {
    let listener_port = connection.door.addr.port();
    Box::new(Context { remote: connection.remote, listener_port, session })
}
