//! The workers that are linked, and the events on their way to each.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use protocol::{ConnectionId, Instance};
use rustc_hash::FxHashMap;
use service::{clock, dice};

use super::{
    Shard,
    connection::Key,
    outlet::{Finished, Outlet},
    routing::{self, Router},
    share::{Wait, Window},
    standby::{Feed, Standbys},
};
use crate::{
    exchange::{Language, LinkEnd, LinkId, Worker},
    settings::Ways,
};

/// How many times the window of a worker there may be with those who have little there.
const BESIDES: usize = 4;

/// How much a worker may have unfinished and still be given a new client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// In bytes of events.
    window: usize,
    ways: Ways,
}

/// The workers that are linked, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Workers {
    linked: FxHashMap<LinkId, Linked>,
    /// Those that may be given new clients, in the order in which they came.
    open: Vec<(LinkId, Arc<Worker>)>,
    /// How often a worker was chosen for a client.
    turn: usize,
    /// How often a standby was chosen.
    standby_turn: usize,
}

/// One worker.
#[derive(Debug)]
pub(super) struct Linked {
    worker: Arc<Worker>,
    pub(super) outlet: Outlet,
    unread: Unread,
    /// What it is to be told of other workers' clients, as a standby.
    feed: Feed,
    /// Clients that were reassigned to it, by the number of an event that it knows them by once that is
    /// done.
    unconfirmed: BTreeMap<u64, ConnectionId>,
    /// Whether it finishes what it has and takes nothing new.
    leaving: bool,
}

/// Connections that are left unread on a worker's account.
#[derive(Debug, Default)]
struct Unread {
    /// Until it has caught up.
    all: Vec<Key>,
    /// Until it has finished the event of this number, their last.
    own: BTreeMap<u64, Key>,
    /// Until it is their turn.
    queue: VecDeque<Key>,
    /// What the worker had begun with when it was somebody's turn.
    turned: u64,
}

impl Unread {
    fn everyone(self) -> impl Iterator<Item = Key> {
        self.all.into_iter().chain(self.own.into_values()).chain(self.queue)
    }
}

impl Linked {
    /// Leaves a connection unread.
    pub(super) fn leave_unread(&mut self, key: Key, until: Wait) {
        match until {
            Wait::Worker => self.unread.all.push(key),
            Wait::Own(last) => drop(self.unread.own.insert(last, key)),
            Wait::Turn => self.unread.queue.push_back(key),
        }
    }

    fn has_turns(&self) -> bool {
        !self.unread.queue.is_empty() && self.outlet.progress().has_turns(self.unread.turned)
    }

    /// Those that may be read again since the events `first..=last` are done.
    fn finished(&mut self, first: u64, last: u64, window: usize) -> Vec<Key> {
        let mut keys = Vec::new();
        if self.outlet.len() < window / 2 {
            keys = mem::take(&mut self.unread.all);
        }
        if !self.unread.own.is_empty() && first <= last {
            let own = self.unread.own.range(first..=last).map(|(last, _)| *last);
            let own = own.collect::<Vec<_>>().into_iter();
            keys.extend(own.filter_map(|last| self.unread.own.remove(&last)));
        }
        keys
    }

    /// The clients that it knows of since these events are done.
    fn confirmed(&mut self, first: u64, last: u64) -> Vec<ConnectionId> {
        if self.unconfirmed.is_empty() || last < first {
            return Vec::new();
        }
        let known = self.unconfirmed.range(first..=last).map(|(event, _)| *event);
        let known = known.collect::<Vec<_>>().into_iter();
        known.filter_map(|event| self.unconfirmed.remove(&event)).collect()
    }

    /// Whether events are dropped that it has no room for, or was not sent when its link ended.
    pub(super) fn is_lossy(&self, ways: &Ways) -> bool {
        !ways.keep_php_events && self.outlet.language() == Language::Php
    }
}

impl Workers {
    /// Whether a client that is bound to this worker stays with it: it is linked, or at least not
    /// done with what it has.
    pub(super) fn holds(&self, link: LinkId) -> bool {
        self.linked.get(&link).is_some_and(|linked| !linked.leaving || !linked.outlet.is_empty())
    }

    /// The worker, if it takes events.
    pub(super) fn open(&mut self, link: LinkId) -> Option<&mut Linked> {
        self.linked.get_mut(&link).filter(|linked| !linked.leaving)
    }

    /// Chooses a worker for a client, which counts as the worker's from here on. One whose window for
    /// all clients is full is chosen only if every one is, or the client's address decides.
    pub(super) fn choose(&mut self, router: Router, client: IpAddr, room: Room) -> Option<LinkId> {
        let mut open: Vec<_> = self.open.iter().collect();
        if router != Router::HashIp && self.any_has_room(room) {
            open.retain(|(link, _)| self.has_room(*link, room));
        }
        let clients = open.iter().map(|(_, worker)| worker.clients.load(Ordering::Relaxed));
        self.turn = self.turn.wrapping_add(1);
        let chosen =
            routing::choose(router, clients, client, dice::random::<u32>() as usize, self.turn)?;
        let (link, worker) = open.get(chosen)?;
        worker.clients.fetch_add(1, Ordering::Relaxed);
        Some(*link)
    }

    /// Whether a worker that a new client of this address may be given has room for its first events.
    pub(super) fn have_room(&self, router: Router, client: IpAddr, room: Room) -> bool {
        if router == Router::HashIp {
            let chosen = routing::choose(router, self.open.iter().map(|_| 0), client, 0, 0);
            let link = chosen.and_then(|chosen| self.open.get(chosen));
            return link.is_some_and(|(link, _)| self.has_room(*link, room));
        }
        self.any_has_room(room)
    }

    /// Whether any worker has room for a new client.
    pub(super) fn any_has_room(&self, room: Room) -> bool {
        self.open.iter().any(|(link, _)| self.has_room(*link, room))
    }

    /// Whether this worker has room for the first events of a client.
    pub(super) fn has_room(&self, link: LinkId, room: Room) -> bool {
        let linked = self.linked.get(&link);
        linked.is_some_and(|it| it.outlet.len() <= room.window || it.is_lossy(&room.ways))
    }

    /// Whether no worker takes new clients.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// A client is no longer this worker's.
    pub(super) fn unbind(&mut self, link: LinkId) {
        if let Some(linked) = self.linked.get(&link) {
            linked.worker.clients.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Which life of a native worker this is.
    pub(super) fn instance(&self, link: LinkId) -> Option<Instance> {
        self.linked.get(&link).and_then(|linked| linked.worker.instance.clone())
    }

    /// Whether a worker can be a standby: it speaks the native protocol, and stays.
    pub(super) fn may_stand_by(&self, link: LinkId) -> bool {
        let linked = self.linked.get(&link);
        linked.is_some_and(|linked| !linked.leaving && linked.worker.instance.is_some())
    }

    /// Whether there is one more standby for a client of this worker.
    pub(super) fn has_standby_besides(&self, owner: LinkId, standbys: &Standbys) -> bool {
        let is_such = |(link, worker): &(LinkId, Arc<Worker>)| {
            *link != owner && worker.instance.is_some() && !standbys.has(*link)
        };
        self.open.iter().any(is_such)
    }

    /// Chooses one more standby for a client of this worker: by preference one that reads what it is
    /// told, on a host that has none of the others, since a host takes all its processes with it.
    pub(super) fn choose_standby(&mut self, owner: LinkId, besides: &Standbys) -> Option<LinkId> {
        let ip = |link| self.linked.get(&link).map(|linked| linked.worker.ip);
        let (of_owner, of_others) = (ip(owner), || besides.links().filter_map(ip));
        self.standby_turn = self.standby_turn.wrapping_add(1);
        let mut best = None;
        for at in 0..self.open.len() {
            let (link, worker) = &self.open[(self.standby_turn.wrapping_add(at)) % self.open.len()];
            if *link == owner || worker.instance.is_none() || besides.has(*link) {
                continue;
            }
            let is_behind = self.linked.get(link).is_some_and(|it| !it.feed.has_room(0));
            let is_beside = of_owner == Some(worker.ip) || of_others().any(|ip| ip == worker.ip);
            let rank = (is_behind, is_beside);
            if best.is_none_or(|(known, _)| rank < known) {
                best = Some((rank, *link));
            }
            if rank == (false, false) {
                break;
            }
        }
        best.map(|(_, link)| link)
    }

    /// Changes what a standby is to be told.
    pub(super) fn feed(&mut self, link: LinkId, change: impl FnOnce(&mut Feed)) {
        if let Some(linked) = self.linked.get_mut(&link) {
            change(&mut linked.feed);
        }
    }

    /// Those that there is something to tell by now, as standbys.
    pub(super) fn to_feed(&self) -> Vec<LinkId> {
        let busy = self.linked.iter().filter(|(_, linked)| !linked.feed.is_idle());
        busy.map(|(link, _)| *link).collect()
    }

    /// Takes what a standby is to be told, for as long as it takes to tell it.
    pub(super) fn take_feed(&mut self, link: LinkId) -> Option<Feed> {
        self.linked.get_mut(&link).map(|linked| mem::take(&mut linked.feed))
    }

    pub(super) fn put_feed(&mut self, link: LinkId, feed: Feed) {
        if let Some(linked) = self.linked.get_mut(&link) {
            linked.feed = feed;
        }
    }

    /// Has all sessions told to standbys that have changed. Returns whether there are any.
    pub(super) fn open_sessions(&mut self) -> bool {
        self.linked.values_mut().for_each(|linked| linked.feed.open_sessions());
        self.linked.values().any(|linked| !linked.feed.is_idle())
    }

    /// How many updates wait for standbys.
    pub(super) fn standby_updates(&self) -> usize {
        self.linked.values().map(|linked| linked.feed.waiting()).sum()
    }

    /// The last event that a worker was given is the first of a client that was reassigned to it.
    pub(super) fn await_confirmation(&mut self, link: LinkId, client: ConnectionId) {
        if let Some(linked) = self.linked.get_mut(&link) {
            linked.unconfirmed.insert(linked.outlet.progress().last, client);
        }
    }

    /// Whether there is a worker that may be given clients.
    pub(super) fn is_any_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether workers that may be given clients have as much in hand as they should, on average.
    pub(super) fn are_full(&self, window: usize) -> bool {
        let open = self.open.iter().filter_map(|(link, _)| self.linked.get(link));
        let in_hand = open.map(|linked| linked.outlet.len()).sum::<usize>();
        window.saturating_mul(self.open.len()) <= in_hand
    }

    /// What must go out now, to whom.
    pub(super) fn take_batches(&mut self) -> impl Iterator<Item = (LinkId, u64, Bytes)> {
        self.linked.iter_mut().filter_map(|(link, linked)| {
            let (last, frames) = linked.outlet.take_batch()?;
            Some((*link, last, frames))
        })
    }

    /// Those whose turn it is: at most `most` of each worker's.
    pub(super) fn take_turns(&mut self, most: usize) -> Vec<Key> {
        let mut turns = Vec::new();
        for linked in self.linked.values_mut().filter(|linked| linked.has_turns()) {
            let unread = &mut linked.unread;
            unread.turned = linked.outlet.progress().begun;
            turns.extend(unread.queue.drain(..unread.queue.len().min(most)));
        }
        turns
    }

    /// Whether it would be somebody's turn.
    pub(super) fn has_turns(&self) -> bool {
        self.linked.values().any(Linked::has_turns)
    }

    /// Whether suspects can be tried: there are workers that take events, and one of ours among them.
    pub(super) fn can_try(&self) -> Option<bool> {
        let natives = self.open.iter().any(|(_, worker)| worker.instance.is_some());
        (!self.open.is_empty()).then_some(natives)
    }

    /// The client of an event on its way to a worker, and the event's number of its own, if it is a
    /// suspect.
    pub(super) fn suspect(&self, link: LinkId, seq: u64) -> Option<(ConnectionId, u64)> {
        self.linked.get(&link).and_then(|linked| linked.outlet.suspect(seq))
    }

    /// Bytes of events that workers are not done with.
    pub(super) fn in_flight(&self) -> usize {
        self.linked.values().map(|linked| linked.outlet.len()).sum()
    }
}

impl Shard {
    /// How many bytes of events a worker may have unfinished.
    pub(super) fn window(&self) -> usize {
        self.windows().of_many
    }

    pub(super) fn windows(&self) -> Window {
        let (window, workers) = (self.settings.worker_window, self.workers.linked.len());
        let of_many = self.budget.window(window, workers);
        let in_all = self.budget.window(window.saturating_mul(BESIDES), workers);
        Window { of_many, in_all }
    }

    /// What decides whether workers are given new clients.
    pub(super) fn room(&self) -> Room {
        Room { window: self.windows().in_all, ways: self.settings.ways }
    }

    pub(super) fn worker_up(&mut self, link: LinkId, worker: Arc<Worker>) {
        let outlet = Outlet::new(self.index, worker.language, self.host.address);
        let linked = Linked {
            worker: Arc::clone(&worker),
            outlet,
            unread: Unread::default(),
            feed: self.new_feed(),
            unconfirmed: BTreeMap::new(),
            leaving: false,
        };
        if let Some(life) = &worker.instance {
            self.suspects.is_back(life);
        }
        self.workers.linked.insert(link, linked);
        self.workers.open.push((link, worker));
        self.give_limbo();
        self.begin_standby_sweep();
    }

    /// The worker takes nothing new. Its clients' next events wait until it has finished their last
    /// ones, so that they stay in order, and then go elsewhere.
    pub(super) fn worker_leaving(&mut self, link: LinkId) {
        if let Some(linked) = self.workers.linked.get_mut(&link) {
            linked.leaving = true;
            self.workers.open.retain(|(open, _)| *open != link);
            self.begin_standby_sweep();
        }
    }

    pub(super) fn worker_down(&mut self, link: LinkId, end: LinkEnd) {
        let Some(linked) = self.workers.linked.remove(&link) else {
            return;
        };
        self.workers.open.retain(|(open, _)| *open != link);
        let lossy = linked.is_lossy(&self.settings.ways);
        if linked.worker.instance.is_some() {
            self.note_lost(link);
        }
        // What was held back behind the unfinished events comes after them.
        let life = linked.worker.instance.as_ref().filter(|_| !linked.leaving);
        let mut unfinished: Vec<_> = linked.outlet.recall().filter(|_| !lossy).collect();
        self.suspect(life, end, &unfinished);
        unfinished.extend(self.take_limbo());
        self.give_again(unfinished);
        self.resume(linked.unread.everyone());
        self.begin_standby_sweep();
    }

    pub(super) fn begun(&mut self, link: LinkId, through: u64) {
        if let Some(linked) = self.workers.linked.get_mut(&link) {
            linked.outlet.begun(through);
            // It may be somebody's turn.
            self.call();
        }
    }

    pub(super) fn done(&mut self, link: LinkId, first: u64, last: u64) {
        let window = self.window();
        let Some(linked) = self.workers.linked.get_mut(&link) else {
            return;
        };
        let Finished { ends, suspects } = linked.outlet.done(first, last);
        let confirmed = linked.confirmed(first, last);
        if linked.leaving && linked.outlet.is_empty() {
            self.give_limbo();
        } else {
            let keys = linked.finished(first, last, window);
            self.resume(keys);
        }
        self.release_departed(ends);
        self.release_suspects(suspects);
        self.confirm(link, confirmed);
        // So that what is in flight is counted, and more clients are reassigned.
        self.call();
    }

    /// A standby has been told so much.
    pub(super) fn standby_written(&mut self, link: LinkId, through: u64) {
        self.workers.feed(link, |feed| feed.written(through));
        self.call();
    }

    /// Notes which clients a worker had that speaks for us once it takes us for gone: it may live.
    fn note_lost(&mut self, link: LinkId) {
        let now = clock::now();
        for (_, connection) in self.connections.iter_mut().filter(|(_, it)| it.route == Some(link))
        {
            // An earlier worker that may have done so is not forgotten for a later one.
            let before = connection.lost.filter(|lost| self.host.sight.was_doubtful(*lost));
            connection.lost = before.or(Some(now));
        }
    }

    /// Gives out what waits for a worker, and has those read again who waited with it.
    fn give_limbo(&mut self) {
        let held = self.take_limbo();
        self.give_again(held);
        if self.limbo.len() < self.window() {
            let paused =
                self.connections.iter().filter(|(_, connection)| connection.paused.is_some());
            let paused: Vec<_> = paused.map(|(key, _)| key as Key).collect();
            self.resume(paused);
        }
    }
}
