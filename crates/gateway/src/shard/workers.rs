//! The linked workers and their delivery queues.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use protocol::{ConnectionId, InstanceId};
use runtime::{clock, random};
use rustc_hash::FxHashMap;

use super::{
    Shard,
    connection::SlotKey,
    delivery_queue::{DeliveryQueue, Finished},
    flow_control::{Blocked, Window},
    standby::{Feed, Standbys},
};
use crate::{
    routing::{self, Router},
    settings::CompatBehavior,
    thread_messages::{LinkEnd, LinkId, PeerProtocol, Worker},
};

/// The total window is this many times the window for clients that send much; the difference is for
/// clients with little in flight.
const TOTAL_FACTOR: usize = 4;

/// The limit of unacknowledged bytes up to which a worker gets new clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Bytes of events.
    window: usize,
    compat_behavior: CompatBehavior,
}

/// The linked workers, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Workers {
    linked: FxHashMap<LinkId, WorkerState>,
    /// Workers that accept new clients, in order of arrival.
    open: Vec<(LinkId, Arc<Worker>)>,
    /// Number of worker choices, for round robin.
    choices: usize,
    /// Number of standby choices, for round robin.
    standby_choices: usize,
}

/// One linked worker.
#[derive(Debug)]
pub(super) struct WorkerState {
    worker: Arc<Worker>,
    pub(super) delivery_queue: DeliveryQueue,
    paused_reads: PausedReads,
    /// Updates for it as a standby.
    feed: Feed,
    /// Clients reassigned to it, by the number of the event whose acknowledgement confirms them.
    unconfirmed: BTreeMap<u64, ConnectionId>,
    /// Whether it is draining: it finishes its events and gets no new ones.
    leaving: bool,
}

/// Connections with reads paused because of a worker.
#[derive(Debug, Default)]
struct PausedReads {
    /// Until the worker is below half its window.
    by_window: Vec<SlotKey>,
    /// Until the event of this number, the client's last, is acknowledged.
    by_quota: BTreeMap<u64, SlotKey>,
    /// Until the fair queue resumes them.
    fair_queue: VecDeque<SlotKey>,
    /// The worker's `started` watermark when the fair queue last resumed a connection.
    started_at_resume: u64,
}

impl PausedReads {
    fn into_keys(self) -> impl Iterator<Item = SlotKey> {
        self.by_window.into_iter().chain(self.by_quota.into_values()).chain(self.fair_queue)
    }
}

impl WorkerState {
    /// Pauses reads of a connection.
    pub(super) fn pause_reads(&mut self, key: SlotKey, blocked: Blocked) {
        match blocked {
            Blocked::WorkerWindow => self.paused_reads.by_window.push(key),
            Blocked::ClientQuota(last) => drop(self.paused_reads.by_quota.insert(last, key)),
            Blocked::FairQueue => self.paused_reads.fair_queue.push_back(key),
        }
    }

    fn has_resumable(&self) -> bool {
        !self.paused_reads.fair_queue.is_empty()
            && self.delivery_queue.progress().may_resume(self.paused_reads.started_at_resume)
    }

    /// Connections to resume now that the events `first..=last` are acknowledged.
    fn take_resumable(&mut self, first: u64, last: u64, window: usize) -> Vec<SlotKey> {
        let mut keys = Vec::new();
        if self.delivery_queue.len() < window / 2 {
            keys = mem::take(&mut self.paused_reads.by_window);
        }
        if !self.paused_reads.by_quota.is_empty() && first <= last {
            let unblocked = self.paused_reads.by_quota.range(first..=last).map(|(last, _)| *last);
            let unblocked = unblocked.collect::<Vec<_>>().into_iter();
            keys.extend(unblocked.filter_map(|last| self.paused_reads.by_quota.remove(&last)));
        }
        keys
    }

    /// The clients that the acknowledgement of these events confirms.
    fn confirmed(&mut self, first: u64, last: u64) -> Vec<ConnectionId> {
        if self.unconfirmed.is_empty() || last < first {
            return Vec::new();
        }
        let known = self.unconfirmed.range(first..=last).map(|(event, _)| *event);
        let known = known.collect::<Vec<_>>().into_iter();
        known.filter_map(|event| self.unconfirmed.remove(&event)).collect()
    }

    /// Whether events are dropped that exceed its window, or that were not sent when its link
    /// ended.
    pub(super) fn is_lossy(&self, compat_behavior: &CompatBehavior) -> bool {
        !compat_behavior.keep_php_events && self.delivery_queue.protocol() == PeerProtocol::Php
    }
}

impl Workers {
    /// Whether clients of this worker stay with it: it is linked, and not drained yet.
    pub(super) fn holds(&self, link: LinkId) -> bool {
        self.linked
            .get(&link)
            .is_some_and(|linked| !linked.leaving || !linked.delivery_queue.is_empty())
    }

    /// The worker, if it takes new events.
    pub(super) fn open(&mut self, link: LinkId) -> Option<&mut WorkerState> {
        self.linked.get_mut(&link).filter(|linked| !linked.leaving)
    }

    /// Chooses a worker for a client and counts the client for it. A worker whose total window is
    /// full is chosen only if all are, or if the client's address decides.
    pub(super) fn choose(&mut self, router: Router, client: IpAddr, room: Room) -> Option<LinkId> {
        let mut open: Vec<_> = self.open.iter().collect();
        if router != Router::HashIp && self.any_has_room(room) {
            open.retain(|(link, _)| self.has_room(*link, room));
        }
        let clients = open.iter().map(|(_, worker)| worker.clients.load(Ordering::Relaxed));
        self.choices = self.choices.wrapping_add(1);
        let chosen = routing::choose(
            router,
            clients,
            client,
            random::random::<u32>() as usize,
            self.choices,
        )?;
        let (link, worker) = open.get(chosen)?;
        worker.clients.fetch_add(1, Ordering::Relaxed);
        Some(*link)
    }

    /// Whether a worker that a new client of this address may get has room for its first events.
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
        linked.is_some_and(|it| {
            it.delivery_queue.len() <= room.window || it.is_lossy(&room.compat_behavior)
        })
    }

    /// Whether no worker takes new clients.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Stops counting a client for this worker.
    pub(super) fn unbind(&mut self, link: LinkId) {
        if let Some(linked) = self.linked.get(&link) {
            linked.worker.clients.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The instance id of a native worker.
    pub(super) fn instance(&self, link: LinkId) -> Option<InstanceId> {
        self.linked.get(&link).and_then(|linked| linked.worker.instance.clone())
    }

    /// Whether a worker can be a standby: it uses the native protocol and is not draining.
    pub(super) fn may_stand_by(&self, link: LinkId) -> bool {
        let linked = self.linked.get(&link);
        linked.is_some_and(|linked| !linked.leaving && linked.worker.instance.is_some())
    }

    /// Whether one more worker can be a standby for a client of this owner.
    pub(super) fn has_standby_besides(&self, owner: LinkId, standbys: &Standbys) -> bool {
        let is_such = |(link, worker): &(LinkId, Arc<Worker>)| {
            *link != owner && worker.instance.is_some() && !standbys.has(*link)
        };
        self.open.iter().any(is_such)
    }

    /// Chooses one more standby for a client of this owner. Prefers a worker that keeps up with its
    /// updates, on a host without the owner or another standby, since a host failure terminates all
    /// processes on it.
    pub(super) fn choose_standby(&mut self, owner: LinkId, besides: &Standbys) -> Option<LinkId> {
        let ip = |link| self.linked.get(&link).map(|linked| linked.worker.ip);
        let (of_owner, of_others) = (ip(owner), || besides.links().filter_map(ip));
        self.standby_choices = self.standby_choices.wrapping_add(1);
        let mut best = None;
        for at in 0..self.open.len() {
            let (link, worker) =
                &self.open[(self.standby_choices.wrapping_add(at)) % self.open.len()];
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

    /// Changes the updates queued for a standby.
    pub(super) fn feed(&mut self, link: LinkId, change: impl FnOnce(&mut Feed)) {
        if let Some(linked) = self.linked.get_mut(&link) {
            change(&mut linked.feed);
        }
    }

    /// Standbys with updates that are due.
    pub(super) fn to_feed(&self) -> Vec<LinkId> {
        let busy = self.linked.iter().filter(|(_, linked)| !linked.feed.is_idle());
        busy.map(|(link, _)| *link).collect()
    }

    /// Takes the updates of a standby out while they are being encoded.
    pub(super) fn take_feed(&mut self, link: LinkId) -> Option<Feed> {
        self.linked.get_mut(&link).map(|linked| mem::take(&mut linked.feed))
    }

    pub(super) fn put_feed(&mut self, link: LinkId, feed: Feed) {
        if let Some(linked) = self.linked.get_mut(&link) {
            linked.feed = feed;
        }
    }

    /// Makes all changed sessions due. Returns whether any update is due.
    pub(super) fn schedule_sessions(&mut self) -> bool {
        self.linked.values_mut().for_each(|linked| linked.feed.schedule_sessions());
        self.linked.values().any(|linked| !linked.feed.is_idle())
    }

    /// Number of updates queued for standbys.
    pub(super) fn standby_updates(&self) -> usize {
        self.linked.values().map(|linked| linked.feed.waiting()).sum()
    }

    /// Records that the last event queued for a worker is the first of a client that was reassigned
    /// to it.
    pub(super) fn await_confirmation(&mut self, link: LinkId, client: ConnectionId) {
        if let Some(linked) = self.linked.get_mut(&link) {
            linked.unconfirmed.insert(linked.delivery_queue.progress().last, client);
        }
    }

    /// Whether the workers that accept clients have reached `window` on average.
    pub(super) fn are_full(&self, window: usize) -> bool {
        let open = self.open.iter().filter_map(|(link, _)| self.linked.get(link));
        let unacked = open.map(|linked| linked.delivery_queue.len()).sum::<usize>();
        window.saturating_mul(self.open.len()) <= unacked
    }

    /// The batches to send now.
    pub(super) fn take_batches(&mut self) -> impl Iterator<Item = (LinkId, u64, Bytes)> {
        self.linked.iter_mut().filter_map(|(link, linked)| {
            let (last, frames) = linked.delivery_queue.take_batch()?;
            Some((*link, last, frames))
        })
    }

    /// Connections that the fair queues resume now: at most `most` per worker.
    pub(super) fn resume_fair_queue(&mut self, most: usize) -> Vec<SlotKey> {
        let mut keys = Vec::new();
        for linked in self.linked.values_mut().filter(|linked| linked.has_resumable()) {
            let paused_reads = &mut linked.paused_reads;
            paused_reads.started_at_resume = linked.delivery_queue.progress().started;
            keys.extend(paused_reads.fair_queue.drain(..paused_reads.fair_queue.len().min(most)));
        }
        keys
    }

    /// Whether any fair queue would resume a connection.
    pub(super) fn has_resumable(&self) -> bool {
        self.linked.values().any(WorkerState::has_resumable)
    }

    /// `None` if no worker takes events, otherwise whether one of them uses the native protocol,
    /// which suspects need.
    pub(super) fn can_isolate(&self) -> Option<bool> {
        let natives = self.open.iter().any(|(_, worker)| worker.instance.is_some());
        (!self.open.is_empty()).then_some(natives)
    }

    /// The client and the client's event number of an event in flight, if it is a suspect.
    pub(super) fn suspect(&self, link: LinkId, seq: u64) -> Option<(ConnectionId, u64)> {
        self.linked.get(&link).and_then(|linked| linked.delivery_queue.suspect(seq))
    }

    /// Bytes of events that workers have not acknowledged.
    pub(super) fn in_flight(&self) -> usize {
        self.linked.values().map(|linked| linked.delivery_queue.len()).sum()
    }
}

impl Shard {
    /// Bytes of events that a worker may have unacknowledged, with those of clients that send much.
    pub(super) fn window(&self) -> usize {
        self.windows().bulk
    }

    pub(super) fn windows(&self) -> Window {
        let (window, workers) = (self.settings.worker_window, self.workers.linked.len());
        let bulk = self.budget.window(window, workers);
        let total = self.budget.window(window.saturating_mul(TOTAL_FACTOR), workers);
        Window { bulk, total }
    }

    /// The limit that decides whether workers get new clients.
    pub(super) fn room(&self) -> Room {
        Room { window: self.windows().total, compat_behavior: self.settings.compat_behavior }
    }

    pub(super) fn worker_up(&mut self, link: LinkId, worker: Arc<Worker>) {
        let delivery_queue = DeliveryQueue::new(self.index, worker.protocol, self.gateway.address);
        let linked = WorkerState {
            worker: Arc::clone(&worker),
            delivery_queue,
            paused_reads: PausedReads::default(),
            feed: self.new_feed(),
            unconfirmed: BTreeMap::new(),
            leaving: false,
        };
        if let Some(instance) = &worker.instance {
            self.suspects.reconnected(instance);
        }
        self.workers.linked.insert(link, linked);
        self.workers.open.push((link, worker));
        self.deliver_unassigned();
        self.begin_standby_sweep();
    }

    /// The worker drains. Events of its clients wait until it has acknowledged earlier ones, so
    /// that they stay in order, and then go to other workers.
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
        let lossy = linked.is_lossy(&self.settings.compat_behavior);
        if linked.worker.instance.is_some() {
            self.record_lost_owner(link);
        }
        // Unassigned events come after the unacknowledged ones.
        let instance = linked.worker.instance.as_ref().filter(|_| !linked.leaving);
        let mut unfinished: Vec<_> = linked.delivery_queue.recall().filter(|_| !lossy).collect();
        self.suspect(instance, end, &unfinished);
        unfinished.extend(self.take_unassigned());
        self.redeliver(unfinished);
        self.resume(linked.paused_reads.into_keys());
        self.resume_paused();
        self.begin_standby_sweep();
    }

    pub(super) fn event_started(&mut self, link: LinkId, through: u64) {
        if let Some(linked) = self.workers.linked.get_mut(&link) {
            linked.delivery_queue.started(through);
            // The fair queue may resume a connection.
            self.schedule_flush();
        }
    }

    pub(super) fn event_ack(&mut self, link: LinkId, first: u64, last: u64) {
        let window = self.window();
        let Some(linked) = self.workers.linked.get_mut(&link) else {
            return;
        };
        let Finished { closed, suspects } = linked.delivery_queue.ack(first, last);
        let confirmed = linked.confirmed(first, last);
        if linked.leaving && linked.delivery_queue.is_empty() {
            self.deliver_unassigned();
        } else {
            let keys = linked.take_resumable(first, last, window);
            self.resume(keys);
        }
        self.release_closing(closed);
        self.release_suspects(suspects);
        self.confirm(link, confirmed);
        // Publishes the bytes in flight, and continues reassigning clients.
        self.schedule_flush();
    }

    /// Updates for a standby have been written up to here.
    pub(super) fn standby_written(&mut self, link: LinkId, through: u64) {
        self.workers.feed(link, |feed| feed.written(through));
        self.schedule_flush();
    }

    /// Records the loss of the owner of these clients. The worker may be alive, and close them on
    /// behalf of this gateway once it declares it dead.
    fn record_lost_owner(&mut self, link: LinkId) {
        let now = clock::now();
        for (_, connection) in self.connections.iter_mut().filter(|(_, it)| it.route == Some(link))
        {
            // An earlier owner that may have done so is not replaced by a later one.
            let before = connection
                .lost
                .filter(|lost| self.gateway.register_outages.may_have_been_declared_dead(*lost));
            connection.lost = before.or(Some(now));
        }
    }

    /// Delivers unassigned events, and resumes reads that were paused with them.
    fn deliver_unassigned(&mut self) {
        let held = self.take_unassigned();
        self.redeliver(held);
        self.resume_paused();
    }

    /// Resumes all paused reads if the queue of unassigned events has room: some may be paused
    /// because it had none.
    fn resume_paused(&mut self) {
        if self.unassigned.len() < self.window() {
            let paused =
                self.connections.iter().filter(|(_, connection)| connection.paused.is_some());
            let paused: Vec<_> = paused.map(|(key, _)| key as SlotKey).collect();
            self.resume(paused);
        }
    }
}
