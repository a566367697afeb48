//! Each client of a native worker has standbys: other workers that are informed of the client, so
//! that one of them can emit its close event if its owner and this gateway die.
//!
//! A standby learns of a client before the client's owner does, and is released only once the owner
//! has acknowledged the close event. Registrations, and changes of the workers that have the
//! client, are sent immediately; sessions follow, each a few times a second at most. The updates in
//! flight are limited, see [`AHEAD`]: a client that connects while a standby is at that limit is
//! sent to its owner first. See `docs/guarantees.md`.

mod feed;
mod set;

use std::{collections::BTreeMap, mem};

use bytes::BytesMut;
use protocol::{ConnectionId, Context, codec::native, link::ToPeer, standby::StandbyClient};

use super::{
    Shard,
    connection::{Connection, SlotKey},
};
use crate::{
    settings::MAX_STANDBYS,
    thread_messages::{LinkId, ToHub},
};

use self::feed::Subject;

pub(super) use self::{feed::Feed, set::Standbys};

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
const REGISTRATIONS_PER_PASS: usize = 4 * feed::MANY;

impl Shard {
    /// Assigns the missing standbys of a client, and queues updates for all standbys if the workers
    /// that have it have changed. `urgent` if its owner is about to learn of the client.
    pub(super) fn assign_standbys(&mut self, key: SlotKey, urgent: bool) {
        let connection = &mut self.connections[key as usize];
        let Some(id) = connection.id.filter(|_| self.settings.standbys != 0) else {
            return;
        };
        let mut standbys = mem::take(&mut connection.standbys);
        let owner = connection.route.filter(|owner| self.workers.instance(*owner).is_some());
        let Some(owner) = owner else {
            // A PHP worker, or none.
            return self.release_standbys(id, &standbys);
        };
        let session = self.directory.get(id).is_some_and(|it| it.has_session());
        let added = self.complete(&mut standbys, id, Subject::Open(key), owner, urgent, session);
        for link in added.into_iter().filter(|_| session) {
            self.workers.feed(link, |feed| feed.sessions.push_back(key));
        }
        self.connections[key as usize].standbys = standbys;
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
        let (is_less, released) = standbys.retain(|link| self.workers.may_stand_by(link));
        let mut added = Vec::new();
        while standbys.count() < self.settings.standbys
            && let Some(link) = self.workers.choose_standby(owner, standbys)
        {
            standbys.add(link, session);
            added.push(link);
        }
        if is_other || is_less || !added.is_empty() {
            for link in standbys.register_all() {
                self.workers.feed(link, |feed| match urgent {
                    true => feed.urgent.push_back(subject),
                    false => feed.registrations.push_back(subject),
                });
            }
            self.schedule_flush();
        }
        for link in released {
            self.workers.feed(link, |feed| feed.release(id));
        }
        added
    }

    /// Queues an update of a client's session.
    pub(super) fn update_standbys(&mut self, key: SlotKey) {
        for link in self.connections[key as usize].standbys.update_all() {
            self.workers.feed(link, |feed| feed.sessions.push_back(key));
        }
    }

    /// Records that the owner of a client was sent an event of it just now: acknowledging it
    /// confirms that the owner has the client.
    pub(super) fn await_confirmation(&mut self, key: SlotKey, owner: LinkId) {
        let connection = &self.connections[key as usize];
        if !connection.standbys.is_confirmed()
            && connection.standbys.owner() == Some(owner)
            && let Some(client) = connection.id
        {
            self.workers.await_confirmation(owner, client);
        }
    }

    /// An owner has acknowledged events of these clients, which were reassigned to it.
    pub(super) fn confirm(
        &mut self,
        owner: LinkId,
        clients: impl IntoIterator<Item = ConnectionId>,
    ) {
        for id in clients {
            let Some(key) = self.directory.get(id).map(|client| client.handle) else {
                continue;
            };
            let standbys = &mut self.connections[key as usize].standbys;
            if standbys.owner() == Some(owner) && standbys.confirm() {
                for link in standbys.register_all() {
                    let subject = Subject::Open(key);
                    self.workers.feed(link, |feed| feed.registrations.push_back(subject));
                }
                self.schedule_flush();
            }
        }
    }

    fn release_standbys(&mut self, id: ConnectionId, standbys: &Standbys) {
        for link in standbys.known() {
            self.workers.feed(link, |feed| feed.release(id));
            self.schedule_flush();
        }
    }

    /// Keeps the standbys of a disconnected client until its close event, which goes to this
    /// worker, is acknowledged by it or another worker.
    pub(super) fn keep_standbys(
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
        self.closing_standbys.insert(id, ClosingClient { client, standbys });
        if owner != Some(before) {
            self.reassign_closing(id, owner);
        }
    }

    /// The close event of a disconnected client goes to another worker, or is unassigned.
    pub(super) fn reassign_closing(&mut self, id: ConnectionId, owner: Option<LinkId>) {
        let Some(mut closing_standbys) = self.closing_standbys.remove(&id) else {
            return;
        };
        match owner.map(|owner| (owner, self.workers.instance(owner).is_some())) {
            Some((owner, true)) => {
                let (standbys, subject) =
                    (&mut closing_standbys.standbys, Subject::ClosingClient(id));
                self.complete(standbys, id, subject, owner, true, false);
                self.closing_standbys.insert(id, closing_standbys);
            }
            // Its registered standbys remain.
            None if !self.is_lost(None) => drop(self.closing_standbys.insert(id, closing_standbys)),
            Some((_, false)) | None => self.release_standbys(id, &closing_standbys.standbys),
        }
    }

    /// A worker has acknowledged the close events of these clients. Their standbys are released in
    /// the next pass.
    pub(super) fn release_closing(&mut self, clients: impl IntoIterator<Item = ConnectionId>) {
        for client in clients {
            if let Some(closing_standbys) = self.closing_standbys.remove(&client) {
                self.release_standbys(client, &closing_standbys.standbys);
            }
        }
    }

    /// Assigns the missing standbys of disconnected clients.
    fn complete_closing(&mut self) {
        let lacks =
            |closing_standbys: &ClosingClient| self.lacks_standby(&closing_standbys.standbys);
        let lacking =
            self.closing_standbys.iter().filter(|(_, closing_standbys)| lacks(closing_standbys));
        for id in lacking.map(|(id, _)| *id).collect::<Vec<_>>() {
            let owner = self
                .closing_standbys
                .get(&id)
                .and_then(|closing_standbys| closing_standbys.standbys.owner());
            if owner.is_some_and(|owner| self.workers.holds(owner)) {
                self.reassign_closing(id, owner);
            }
        }
    }

    /// Starts checking every client, a slice per pass, for a missing owner or standby.
    pub(super) fn begin_standby_sweep(&mut self) {
        self.standby_sweep = Some(0);
        self.complete_closing();
        self.schedule_flush();
    }

    /// The empty update queue of a newly linked worker.
    pub(super) fn new_feed(&self) -> Feed {
        Feed::new((AHEAD / self.gateway.shards.len() as u64).max(LEAST))
    }

    /// Checks the next slice of clients. Returns whether another can be checked now.
    pub(super) fn sweep_standbys(&mut self) -> bool {
        let Some(from) = self.standby_sweep.take() else {
            return false;
        };
        let to = self.connections.capacity().min(from + SWEEP_PER_PASS);
        let mut sessions = 0;
        for at in from..to {
            if SESSION_BYTES_PER_PASS <= sessions {
                self.standby_sweep = Some(at);
                return true;
            }
            let Some(connection) = self.connections.get(at).filter(|it| it.id.is_some()) else {
                continue;
            };
            let is_orphan = !connection.route.is_some_and(|owner| self.workers.holds(owner));
            if !is_orphan {
                if self.lacks_standby(&connection.standbys) {
                    self.assign_standbys(at as SlotKey, false);
                }
            } else if !self.workers.is_empty() {
                if self.workers.are_full(self.window()) {
                    // Continues when a worker acknowledges something: sessions are being sent.
                    self.standby_sweep = Some(at);
                    return false;
                }
                // Not only with its next message: the owner is needed if this gateway dies.
                let session = connection.id.and_then(|id| self.directory.get(id));
                sessions += session.map_or(0, |client| client.session_len());
                self.reassign(at as SlotKey);
            }
        }
        let is_more = to < self.connections.capacity();
        self.standby_sweep = is_more.then_some(to);
        is_more
    }

    fn lacks_standby(&self, standbys: &Standbys) -> bool {
        let most = self.settings.standbys;
        let is_lost = |link| !self.workers.may_stand_by(link);
        most != 0
            && (standbys.links().any(is_lost)
                || standbys.count() < most
                    && standbys
                        .owner()
                        .is_none_or(|it| self.workers.has_standby_besides(it, standbys)))
    }

    /// Makes changed sessions due. Called a few times a second: intermediate changes are skipped.
    pub(super) fn tick_standbys(&mut self) {
        if self.workers.schedule_sessions() {
            self.schedule_flush();
        }
    }

    /// Hands the hub the updates that are due, as far as standbys have read earlier ones. Returns
    /// whether there are more, and room for them.
    pub(super) fn feed_standbys(&mut self) -> bool {
        let mut is_more = false;
        for link in self.workers.to_feed() {
            let Some(mut feed) = self.workers.take_feed(link) else { continue };
            let (connections, closing_standbys) = (&self.connections, &self.closing_standbys);
            feed.compact(connections.len() + closing_standbys.len(), |subject| {
                let standbys = match subject {
                    Subject::Open(key) => connections.get(key as usize).map(|it| &it.standbys),
                    Subject::ClosingClient(id) => closing_standbys.get(&id).map(|it| &it.standbys),
                };
                standbys.map_or((false, false), |standbys| standbys.wants(link))
            });
            is_more |= self.feed_standby(link, &mut feed);
            self.workers.put_feed(link, feed);
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
                if feed::MANY <= clients.count {
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
                let connection = self.connections.get_mut(key as usize);
                let Some((connection, client)) = connection.and_then(with_id) else {
                    return;
                };
                let listener_port = connection.listener.addr.port();
                let client = StandbyClient { client, remote: connection.remote, listener_port };
                (&mut connection.standbys, client)
            }
            Subject::ClosingClient(id) => {
                let Some(closing_standbys) = self.closing_standbys.get_mut(&id) else {
                    return;
                };
                (&mut closing_standbys.standbys, closing_standbys.client)
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
            let instance = |link: &LinkId| self.workers.instance(*link);
            let holders = holders.iter().flatten().filter_map(instance).collect();
            let added = native::encode(&ToPeer::Standby { holders, confirmed, clients }, out);
            debug_assert!(added.is_ok());
        }
    }

    /// Writes the session of a client, unless the client is disconnected or the session was sent
    /// meanwhile. Returns `false` if the client is not registered at the standby yet.
    fn write_session(&mut self, link: LinkId, key: SlotKey, out: &mut BytesMut) -> bool {
        let Some((connection, client)) = self.connections.get_mut(key as usize).and_then(with_id)
        else {
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

/// A disconnected client whose close event is not acknowledged yet.
#[derive(Debug)]
pub(super) struct ClosingClient {
    client: StandbyClient,
    standbys: Standbys,
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
