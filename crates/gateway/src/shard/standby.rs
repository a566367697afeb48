//! Each client of a native worker has standbys: other workers that are told of the client, so that
//! one of them can close it if its owner and this gateway die.
//!
//! A standby is told of a client before the client's owner is, and forgets it only once the owner is
//! done with the client's end. That the client is there, and which workers hold it, is told at
//! once; sessions follow, each a few times a second at the most. What is told is bounded by what the
//! standby reads, see [`AHEAD`]: a client that connects while a standby is so far behind is told to its
//! owner first. See `docs/guarantees.md`.

mod feed;
mod set;

use std::{collections::BTreeMap, mem};

use bytes::BytesMut;
use protocol::{ConnectionId, Context, codec::native, link::ToPeer, standby::StandbyClient};

use super::{
    Shard,
    connection::{Connection, Key},
};
use crate::exchange::{LinkId, ToHub};

use self::feed::Subject;
pub(crate) use self::set::MAX_STANDBYS;

pub(super) use self::{feed::Feed, set::Standbys};

/// How many bytes may be on their way to a standby, over all shards: encoded, and not taken by its
/// socket. Sessions use half of it, so that there is room for new clients. Beside it, each shard may
/// have begun one session or one batch of releases.
const AHEAD: u64 = 1024 * 1024;

/// The least of it that a shard has, however many there are.
const LEAST: u64 = 64 * 1024;

/// How many clients are looked at in one turn for whether they lack an owner or a standby.
const SWEEP: usize = 1024;

/// How many bytes of sessions go out in one turn with clients that are reassigned.
const SESSIONS: usize = 1024 * 1024;

/// How many clients a standby is told of in one turn.
const REGISTRATIONS: usize = 4 * feed::MANY;

impl Shard {
    /// Gives a client the standbys that it lacks, and has them told whatever has changed of its
    /// holders. `urgent` if its owner is about to hear of it for the first time.
    pub(super) fn assign_standbys(&mut self, key: Key, urgent: bool) {
        let connection = &mut self.connections[key as usize];
        let Some(id) = connection.id.filter(|_| self.settings.standbys != 0) else {
            return;
        };
        let mut standbys = mem::take(&mut connection.standbys);
        let owner = connection.route.filter(|owner| self.workers.instance(*owner).is_some());
        let Some(owner) = owner else {
            // A worker that speaks the other language, or none.
            return self.release_standbys(id, &standbys);
        };
        let session = self.directory.get(id).is_some_and(|it| it.has_session());
        let added = self.complete(&mut standbys, id, Subject::Open(key), owner, urgent, session);
        for link in added.into_iter().filter(|_| session) {
            self.workers.feed(link, |feed| feed.sessions.push_back(key));
        }
        self.connections[key as usize].standbys = standbys;
    }

    /// Adds the standbys that are missing, and has all told if anything has changed. Returns those that
    /// are new.
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
            self.call();
        }
        for link in released {
            self.workers.feed(link, |feed| feed.release(id));
        }
        added
    }

    /// A client's session has changed.
    pub(super) fn update_standbys(&mut self, key: Key) {
        for link in self.connections[key as usize].standbys.update_all() {
            self.workers.feed(link, |feed| feed.sessions.push_back(key));
        }
    }

    /// The owner of a client was given an event of it just now: once that is done, it knows of the
    /// client.
    pub(super) fn await_confirmation(&mut self, key: Key, owner: LinkId) {
        let connection = &self.connections[key as usize];
        if !connection.standbys.is_confirmed()
            && connection.standbys.owner() == Some(owner)
            && let Some(client) = connection.id
        {
            self.workers.await_confirmation(owner, client);
        }
    }

    /// An owner is done with events of these clients, which were reassigned to it.
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
                self.call();
            }
        }
    }

    fn release_standbys(&mut self, id: ConnectionId, standbys: &Standbys) {
        for link in standbys.known() {
            self.workers.feed(link, |feed| feed.release(id));
            self.call();
        }
    }

    /// Takes the standbys of a client that is gone, whose end goes to this worker: they are kept until
    /// that, or another, is done with it.
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
        self.departed.insert(id, Departed { client, standbys });
        if owner != Some(before) {
            self.reassign_departed(id, owner);
        }
    }

    /// The end of a client that is gone goes to another worker, or waits for one.
    pub(super) fn reassign_departed(&mut self, id: ConnectionId, owner: Option<LinkId>) {
        let Some(mut departed) = self.departed.remove(&id) else {
            return;
        };
        match owner.map(|owner| (owner, self.workers.instance(owner).is_some())) {
            Some((owner, true)) => {
                let (standbys, subject) = (&mut departed.standbys, Subject::Departed(id));
                self.complete(standbys, id, subject, owner, true, false);
                self.departed.insert(id, departed);
            }
            // Those that know of it go on standing by.
            None if !self.is_lost(None) => drop(self.departed.insert(id, departed)),
            Some((_, false)) | None => self.release_standbys(id, &departed.standbys),
        }
    }

    /// A worker is done with the end of these clients. Their standbys are told with the next turn.
    pub(super) fn release_departed(&mut self, clients: impl IntoIterator<Item = ConnectionId>) {
        for client in clients {
            if let Some(departed) = self.departed.remove(&client) {
                self.release_standbys(client, &departed.standbys);
            }
        }
    }

    /// Gives clients that are gone the standbys that they lack.
    fn complete_departed(&mut self) {
        let lacks = |departed: &Departed| self.lacks_standby(&departed.standbys);
        let lacking = self.departed.iter().filter(|(_, departed)| lacks(departed));
        for id in lacking.map(|(id, _)| *id).collect::<Vec<_>>() {
            let owner = self.departed.get(&id).and_then(|departed| departed.standbys.owner());
            if owner.is_some_and(|owner| self.workers.holds(owner)) {
                self.reassign_departed(id, owner);
            }
        }
    }

    /// Has every client looked at, a part in each turn: whether it lacks an owner or a standby.
    pub(super) fn begin_standby_sweep(&mut self) {
        self.standby_sweep = Some(0);
        self.complete_departed();
        self.call();
    }

    /// What a worker that has just been linked is to be told as a standby: nothing yet.
    pub(super) fn new_feed(&self) -> Feed {
        Feed::new((AHEAD / self.host.shards.len() as u64).max(LEAST))
    }

    /// Looks at the next part of all clients. Returns whether there is another to look at now.
    pub(super) fn sweep_standbys(&mut self) -> bool {
        let Some(from) = self.standby_sweep.take() else {
            return false;
        };
        let to = self.connections.capacity().min(from + SWEEP);
        let mut sessions = 0;
        for at in from..to {
            if SESSIONS <= sessions {
                self.standby_sweep = Some(at);
                return true;
            }
            let Some(connection) = self.connections.get(at).filter(|it| it.id.is_some()) else {
                continue;
            };
            let is_orphan = !connection.route.is_some_and(|owner| self.workers.holds(owner));
            if !is_orphan {
                if self.lacks_standby(&connection.standbys) {
                    self.assign_standbys(at as Key, false);
                }
            } else if self.workers.is_any_open() {
                if self.workers.are_full(self.window()) {
                    // Goes on when one is done with something: their sessions are on their way.
                    self.standby_sweep = Some(at);
                    return false;
                }
                // Not only when it speaks next: a worker of it may be what is missing should this
                // gateway die.
                let session = connection.id.and_then(|id| self.directory.get(id));
                sessions += session.map_or(0, |client| client.session_len());
                self.adopt(at as Key);
            }
        }
        let is_more = to < self.connections.capacity();
        self.standby_sweep = is_more.then_some(to);
        is_more
    }

    fn lacks_standby(&self, standbys: &Standbys) -> bool {
        let most = self.settings.standbys;
        let gone = |link| !self.workers.may_stand_by(link);
        most != 0
            && (standbys.links().any(gone)
                || standbys.count() < most
                    && standbys
                        .owner()
                        .is_none_or(|it| self.workers.has_standby_besides(it, standbys)))
    }

    /// Has sessions told that have changed. Called a few times a second: what changes more often is
    /// told as it is then.
    pub(super) fn tick_standbys(&mut self) {
        if self.workers.open_sessions() {
            self.call();
        }
    }

    /// Hands the hub what standbys are to be told, as far as they have read what went before. Returns
    /// whether there is more for which there is room.
    pub(super) fn feed_standbys(&mut self) -> bool {
        let mut is_more = false;
        for link in self.workers.to_feed() {
            let Some(mut feed) = self.workers.take_feed(link) else { continue };
            let (connections, departed) = (&self.connections, &self.departed);
            feed.compact(connections.len() + departed.len(), |subject| {
                let standbys = match subject {
                    Subject::Open(key) => connections.get(key as usize).map(|it| &it.standbys),
                    Subject::Departed(id) => departed.get(&id).map(|it| &it.standbys),
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
            for _ in 0..REGISTRATIONS {
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
                // Once it has heard of the client.
                feed.sessions.push_back(key);
            }
        }
        let confirm = feed.encoded(frames.len());
        if !frames.is_empty() {
            let (shard, frames) = (self.index, frames.freeze());
            self.host.hub.push(ToHub::Standby { link, shard, frames, confirm });
        }
        feed.may_go_on()
    }

    /// Adds a client to those that a standby is told of, unless it was told since, or need not be.
    fn register(&mut self, link: LinkId, subject: Subject, to: &mut Registrations) {
        let (standbys, client) = match subject {
            Subject::Open(key) => {
                let connection = self.connections.get_mut(key as usize);
                let Some((connection, client)) = connection.and_then(with_id) else {
                    return;
                };
                let listener_port = connection.door.addr.port();
                let client = StandbyClient { client, remote: connection.remote, listener_port };
                (&mut connection.standbys, client)
            }
            Subject::Departed(id) => {
                let Some(departed) = self.departed.get_mut(&id) else {
                    return;
                };
                (&mut departed.standbys, departed.client)
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

    /// Writes the session of a client, unless it is gone or was told since. Returns `false` if the
    /// standby does not know the client yet.
    fn write_session(&mut self, link: LinkId, key: Key, out: &mut BytesMut) -> bool {
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
        // Limits on sessions keep it below our own frames' limit.
        let added = native::encode(&ToPeer::StandbySession { client, session }, out);
        debug_assert!(added.is_ok());
        true
    }
}

/// A client that is gone, whose end no worker is done with yet.
#[derive(Debug)]
pub(super) struct Departed {
    client: StandbyClient,
    standbys: Standbys,
}

fn with_id(connection: &mut Connection) -> Option<(&mut Connection, ConnectionId)> {
    let id = connection.id?;
    Some((connection, id))
}

/// Clients that one standby is told of with the next messages.
#[derive(Debug, Default)]
struct Registrations {
    groups: BTreeMap<(Holders, bool), Vec<StandbyClient>>,
    count: usize,
    /// About how many bytes they will be.
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
