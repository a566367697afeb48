//! Updates for standbys: registrations, sessions and releases, as far as they keep up.

use std::{collections::BTreeMap, mem};

use bytes::BytesMut;
use protocol::{ConnectionId, Context, codec::native, link::ToPeer, standby::StandbyClient};

use super::{
    ClosingClient, Feed, Standbys,
    feed::{MANY, Subject},
};
use crate::{
    settings::MAX_STANDBYS,
    shard::{Shard, connections::Connection, delivery::Workers, slot::SlotKey},
    thread_messages::{LinkId, ToHub},
};

/// Bytes of updates that may be in flight to a standby, over all shards: encoded, and not accepted
/// by its socket. Sessions use half of it, so that there is room for new clients. In addition, each
/// shard may have started one session or one batch of releases.
const AHEAD: u64 = 1024 * 1024;

/// Minimum per shard, however many shards there are.
const LEAST: u64 = 64 * 1024;

/// Connections checked per pass for a missing owner or standby.
const SWEEP_PER_PASS: usize = 1024;

/// Bytes of sessions sent per pass with reassigned clients.
const SESSION_BYTES_PER_PASS: usize = 1024 * 1024;

/// Registrations sent to a standby per pass.
const REGISTRATIONS_PER_PASS: usize = 4 * MANY;

impl Shard {
    /// Assigns the missing standbys of a client, and queues updates for all standbys if the workers
    /// that have it have changed. `urgent` if its owner is about to learn of the client.
    pub(in crate::shard) fn assign_standbys(&mut self, key: SlotKey, urgent: bool) {
        let connection = &mut self.connections[key];
        let Some(id) = connection.id.filter(|_| self.settings.standbys != 0) else {
            return;
        };
        let mut standbys = mem::take(&mut connection.standbys);
        let owner =
            connection.route.filter(|owner| self.delivery.workers.instance(*owner).is_some());
        let Some(owner) = owner else {
            // A PHP worker, or none.
            return self.release_standbys(id, &standbys);
        };
        let session = self.directory.get(id).is_some_and(|it| it.has_session());
        let added = self.complete(&mut standbys, id, Subject::Open(key), owner, urgent, session);
        for link in added.into_iter().filter(|_| session) {
            self.delivery.workers.feed(link, |feed| feed.sessions.push_back(key));
        }
        self.connections[key].standbys = standbys;
    }

    /// Adds the missing standbys, and queues registrations for all if anything has changed. Returns
    /// the new ones.
    fn complete(
        &mut self,
        standbys: &mut Standbys,
        id: ConnectionId,
        subject: Subject,
        owner: LinkId,
        urgent: bool,
        session: bool,
    ) -> Vec<LinkId> {
        let is_other = standbys.set_owner(owner);
        let (is_less, released) = standbys.retain(|link| self.delivery.workers.may_stand_by(link));
        let mut added = Vec::new();
        while standbys.count() < self.settings.standbys
            && let Some(link) = self.delivery.workers.choose_standby(owner, standbys)
        {
            standbys.add(link, session);
            added.push(link);
        }
        if is_other || is_less || !added.is_empty() {
            for link in standbys.register_all() {
                self.delivery.workers.feed(link, |feed| match urgent {
                    true => feed.urgent.push_back(subject),
                    false => feed.registrations.push_back(subject),
                });
            }
            self.schedule.request();
        }
        for link in released {
            self.delivery.workers.feed(link, |feed| feed.release(id));
        }
        added
    }

    /// Queues an update of a client's session.
    pub(in crate::shard) fn update_standbys(&mut self, key: SlotKey) {
        for link in self.connections[key].standbys.update_all() {
            self.delivery.workers.feed(link, |feed| feed.sessions.push_back(key));
        }
    }

    /// Records that the owner of a client was sent an event of it just now: acknowledging it
    /// confirms that the owner has the client.
    pub(in crate::shard) fn await_confirmation(&mut self, key: SlotKey, owner: LinkId) {
        let connection = &self.connections[key];
        if !connection.standbys.is_confirmed()
            && connection.standbys.owner() == Some(owner)
            && let Some(client) = connection.id
        {
            self.delivery.workers.await_confirmation(owner, client);
        }
    }

    /// An owner has acknowledged events of these clients, which were reassigned to it.
    pub(in crate::shard) fn confirm(
        &mut self,
        owner: LinkId,
        clients: impl IntoIterator<Item = ConnectionId>,
    ) {
        for id in clients {
            let Some(key) = self.directory.get(id).map(|client| client.handle) else {
                continue;
            };
            let standbys = &mut self.connections[key].standbys;
            if standbys.owner() == Some(owner) && standbys.confirm() {
                for link in standbys.register_all() {
                    let subject = Subject::Open(key);
                    self.delivery.workers.feed(link, |feed| feed.registrations.push_back(subject));
                }
                self.schedule.request();
            }
        }
    }

    fn release_standbys(&mut self, id: ConnectionId, standbys: &Standbys) {
        for link in standbys.known() {
            self.delivery.workers.feed(link, |feed| feed.release(id));
            self.schedule.request();
        }
    }

    /// Keeps the standbys of a disconnected client until its close event, which goes to this
    /// worker, is acknowledged by it or another worker.
    pub(in crate::shard) fn keep_standbys(
        &mut self,
        id: ConnectionId,
        standbys: Standbys,
        of: &Context,
        owner: Option<LinkId>,
    ) {
        let Some(before) = standbys.owner() else {
            return;
        };
        let Context { remote, listener_port, .. } = *of;
        let client = StandbyClient { client: id, remote, listener_port };
        self.standby.closing.insert(id, ClosingClient { client, standbys });
        if owner != Some(before) {
            self.reassign_closing(id, owner);
        }
    }

    /// The close event of a disconnected client goes to another worker, or is unassigned.
    pub(in crate::shard) fn reassign_closing(&mut self, id: ConnectionId, owner: Option<LinkId>) {
        let Some(mut client) = self.standby.closing.remove(&id) else {
            return;
        };
        match owner.map(|owner| (owner, self.delivery.workers.instance(owner).is_some())) {
            Some((owner, true)) => {
                let (standbys, subject) = (&mut client.standbys, Subject::ClosingClient(id));
                self.complete(standbys, id, subject, owner, true, false);
                self.standby.closing.insert(id, client);
            }
            // Its registered standbys remain.
            None if !self.delivery.is_lost(None) => drop(self.standby.closing.insert(id, client)),
            Some((_, false)) | None => self.release_standbys(id, &client.standbys),
        }
    }

    /// A worker has acknowledged the close events of these clients. Their standbys are released in
    /// the next pass.
    pub(in crate::shard) fn release_closing(
        &mut self,
        clients: impl IntoIterator<Item = ConnectionId>,
    ) {
        for id in clients {
            if let Some(client) = self.standby.closing.remove(&id) {
                self.release_standbys(id, &client.standbys);
            }
        }
    }

    /// Assigns the missing standbys of disconnected clients.
    fn complete_closing(&mut self) {
        let (workers, most) = (&self.delivery.workers, self.settings.standbys);
        let closing = self.standby.closing.iter();
        let lacking = closing.filter(|(_, client)| lacks_standby(workers, &client.standbys, most));
        let lacking = lacking.map(|(id, client)| (*id, client.standbys.owner()));
        for (id, owner) in lacking.collect::<Vec<_>>() {
            if owner.is_some_and(|owner| self.delivery.workers.holds(owner)) {
                self.reassign_closing(id, owner);
            }
        }
    }

    /// Starts checking every client, a slice per pass, for a missing owner or standby.
    pub(in crate::shard) fn begin_standby_sweep(&mut self) {
        self.standby.sweep = Some(0);
        self.complete_closing();
        self.schedule.request();
    }

    /// The empty update queue of a newly linked worker.
    pub(in crate::shard) fn new_feed(&self) -> Feed {
        Feed::new((AHEAD / self.gateway.shards.len() as u64).max(LEAST))
    }

    /// Checks the next slice of clients. Returns whether another can be checked now.
    pub(in crate::shard) fn sweep_standbys(&mut self) -> bool {
        let Some(from) = self.standby.sweep.take() else {
            return false;
        };
        let to = self.connections.slots().min(from + SWEEP_PER_PASS);
        let mut sessions = 0;
        for at in from..to {
            if SESSION_BYTES_PER_PASS <= sessions {
                self.standby.sweep = Some(at);
                return true;
            }
            let Some(connection) = self.connections.get(at as SlotKey).filter(|it| it.id.is_some())
            else {
                continue;
            };
            let (workers, most) = (&self.delivery.workers, self.settings.standbys);
            let is_orphan = !connection.route.is_some_and(|owner| workers.holds(owner));
            if !is_orphan {
                if lacks_standby(workers, &connection.standbys, most) {
                    self.assign_standbys(at as SlotKey, false);
                }
            } else if !workers.is_empty() {
                if workers.are_full(self.windows().bulk) {
                    // Continues when a worker acknowledges something: sessions are being sent.
                    self.standby.sweep = Some(at);
                    return false;
                }
                // Not only with its next message: the owner is needed if this gateway dies.
                let session = connection.id.and_then(|id| self.directory.get(id));
                sessions += session.map_or(0, |client| client.session_len());
                self.reassign(at as SlotKey);
            }
        }
        let is_more = to < self.connections.slots();
        self.standby.sweep = is_more.then_some(to);
        is_more
    }

    /// Updates for a standby have been written up to here.
    pub(in crate::shard) fn standby_written(&mut self, link: LinkId, through: u64) {
        self.delivery.workers.feed(link, |feed| feed.written(through));
        self.schedule.request();
    }

    /// Makes changed sessions due. Called a few times a second: intermediate changes are skipped.
    pub(in crate::shard) fn tick_standbys(&mut self) {
        if self.delivery.workers.schedule_sessions() {
            self.schedule.request();
        }
    }

    /// Hands the hub the updates that are due, as far as standbys have read earlier ones. Returns
    /// whether there are more, and room for them.
    pub(in crate::shard) fn feed_standbys(&mut self) -> bool {
        let mut is_more = false;
        for link in self.delivery.workers.to_feed() {
            let Some(mut feed) = self.delivery.workers.take_feed(link) else { continue };
            let (connections, closing) = (&self.connections, &self.standby.closing);
            feed.compact(connections.len() + closing.len(), |subject| {
                let standbys = match subject {
                    Subject::Open(key) => connections.get(key).map(|it| &it.standbys),
                    Subject::ClosingClient(id) => closing.get(&id).map(|it| &it.standbys),
                };
                standbys.map_or((false, false), |standbys| standbys.wants(link))
            });
            is_more |= self.feed_standby(link, &mut feed);
            self.delivery.workers.put_feed(link, feed);
        }
        is_more
    }

    fn feed_standby(&mut self, link: LinkId, feed: &mut Feed) -> bool {
        let mut frames = BytesMut::new();
        if feed.has_room(0) {
            feed.write_releases(&mut frames);
            let mut clients = Registrations::default();
            for _ in 0..REGISTRATIONS_PER_PASS {
                if !feed.has_room(frames.len() + clients.bytes) {
                    break;
                }
                let Some(subject) = feed.next_registration() else { break };
                self.register(link, subject, &mut clients);
                if MANY <= clients.count {
                    self.write_registrations(&mut clients, &mut frames);
                }
            }
            self.write_registrations(&mut clients, &mut frames);
        }
        while feed.has_room_for_session(frames.len())
            && let Some(key) = feed.next_session()
        {
            if !self.write_session(link, key, &mut frames) {
                // After the client's registration.
                feed.sessions.push_back(key);
            }
        }
        let confirm = feed.encoded(frames.len());
        if !frames.is_empty() {
            let (shard, frames) = (self.index, frames.freeze());
            self.gateway.hub.push(ToHub::Standby { link, shard, frames, confirm });
        }
        feed.has_sendable()
    }

    /// Adds a client's registration for a standby, unless it was sent meanwhile or is not needed.
    fn register(&mut self, link: LinkId, subject: Subject, to: &mut Registrations) {
        let (standbys, client) = match subject {
            Subject::Open(key) => {
                let connection = self.connections.get_mut(key);
                let Some((connection, client)) = connection.and_then(with_id) else {
                    return;
                };
                let listener_port = connection.listener.addr.port();
                let client = StandbyClient { client, remote: connection.remote, listener_port };
                (&mut connection.standbys, client)
            }
            Subject::ClosingClient(id) => {
                let Some(closing) = self.standby.closing.get_mut(&id) else {
                    return;
                };
                (&mut closing.standbys, closing.client)
            }
        };
        let (Some(owner), confirmed) = (standbys.owner(), standbys.is_confirmed()) else {
            return;
        };
        if standbys.register(link) {
            let mut holders: Holders = [None; 1 + MAX_STANDBYS];
            holders[0] = Some(owner);
            holders[1..].iter_mut().zip(standbys.links()).for_each(|(it, link)| *it = Some(link));
            to.add((holders, confirmed), client);
        }
    }

    fn write_registrations(&self, registrations: &mut Registrations, out: &mut BytesMut) {
        let Registrations { groups, .. } = mem::take(registrations);
        for ((holders, confirmed), clients) in groups {
            let instance = |link: &LinkId| self.delivery.workers.instance(*link);
            let holders = holders.iter().flatten().filter_map(instance).collect();
            let added = native::encode(&ToPeer::Standby { holders, confirmed, clients }, out);
            debug_assert!(added.is_ok());
        }
    }

    /// Writes the session of a client, unless the client is disconnected or the session was sent
    /// meanwhile. Returns `false` if the client is not registered at the standby yet.
    fn write_session(&mut self, link: LinkId, key: SlotKey, out: &mut BytesMut) -> bool {
        let Some((connection, client)) = self.connections.get_mut(key).and_then(with_id) else {
            return true;
        };
        match connection.standbys.update(link) {
            Some(true) => {}
            Some(false) => return true,
            None => return false,
        }
        let session = self.directory.session(client);
        // Limits on sessions keep it below the native frame limit.
        let added = native::encode(&ToPeer::StandbySession { client, session }, out);
        debug_assert!(added.is_ok());
        true
    }
}

/// Whether a client with these standbys is to get others: one of them cannot be a standby any more,
/// or there are fewer than `most` and another worker can be one.
fn lacks_standby(workers: &Workers, standbys: &Standbys, most: usize) -> bool {
    let is_lost = |link| !workers.may_stand_by(link);
    most != 0
        && (standbys.links().any(is_lost)
            || standbys.count() < most
                && standbys.owner().is_none_or(|it| workers.has_standby_besides(it, standbys)))
}

fn with_id(connection: &mut Connection) -> Option<(&mut Connection, ConnectionId)> {
    let id = connection.id?;
    Some((connection, id))
}

/// Registrations for the next messages to one standby.
#[derive(Debug, Default)]
struct Registrations {
    groups: BTreeMap<(Holders, bool), Vec<StandbyClient>>,
    count: usize,
    /// Approximate encoded size.
    bytes: usize,
}

/// The links of a client's owner and standbys, in order.
type Holders = [Option<LinkId>; 1 + MAX_STANDBYS];

impl Registrations {
    fn add(&mut self, of: (Holders, bool), client: StandbyClient) {
        self.groups.entry(of).or_default().push(client);
        self.count += 1;
        self.bytes += size_of::<StandbyClient>();
    }
}
