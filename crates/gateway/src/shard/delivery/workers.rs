//! The linked workers, their delivery queues, and the choice of one for a client.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use bytes::Bytes;
use protocol::{ConnectionId, InstanceId};
use runtime::random;
use rustc_hash::FxHashMap;

use super::delivery_queue::{DeliveryQueue, Entry};
use crate::{
    in_flight::Part,
    inspection::WorkerLoad,
    routing::{self, Router},
    settings::CompatBehavior,
    shard::{
        close_codes::CodesId,
        connections::Blocked,
        slot::SlotKey,
        standby::{Feed, Standbys},
    },
    thread_messages::{LinkId, PeerProtocol, Worker},
};

/// The limit of unacknowledged bytes up to which a worker gets new clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Bytes of events.
    pub(super) window: usize,
    pub(super) compat_behavior: CompatBehavior,
}

/// The linked workers, in order of arrival.
#[derive(Debug, Default)]
pub(in crate::shard) struct Workers {
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
pub(in crate::shard) struct WorkerState {
    worker: Arc<Worker>,
    pub(in crate::shard) delivery_queue: DeliveryQueue,
    paused_reads: PausedReads,
    /// Updates for it as a standby.
    feed: Feed,
    /// The close codes that it has declared.
    pub(in crate::shard) close_codes: CodesId,
    /// Clients reassigned to it, by the number of the event whose acknowledgement confirms them.
    unconfirmed: BTreeMap<u64, ConnectionId>,
    /// Whether it is draining: it finishes its events and gets no new ones.
    leaving: bool,
    /// The last acknowledged event at the last check, and since when it has been that while others
    /// are in flight.
    unmoved: (u64, Option<Instant>),
    /// Its events in flight as last published.
    published: Part,
}

/// The events and paused reads of a worker whose link has ended.
#[derive(Debug)]
pub(in crate::shard) struct RemovedWorker {
    /// The instance id of a native worker.
    pub(in crate::shard) instance: Option<InstanceId>,
    /// Whether it was draining.
    pub(in crate::shard) was_leaving: bool,
    /// Its unacknowledged events, except those that are dropped.
    pub(in crate::shard) events: Vec<Entry>,
    /// Connections with reads paused because of it.
    pub(in crate::shard) paused: Vec<SlotKey>,
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
    fn into_keys(self) -> Vec<SlotKey> {
        let Self { mut by_window, by_quota, fair_queue, .. } = self;
        by_window.extend(by_quota.into_values().chain(fair_queue));
        by_window
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
    pub(super) fn take_resumable(&mut self, first: u64, last: u64, window: usize) -> Vec<SlotKey> {
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
    pub(super) fn confirmed(&mut self, first: u64, last: u64) -> Vec<ConnectionId> {
        if self.unconfirmed.is_empty() || last < first {
            return Vec::new();
        }
        let known = self.unconfirmed.range(first..=last).map(|(event, _)| *event);
        let known = known.collect::<Vec<_>>().into_iter();
        known.filter_map(|event| self.unconfirmed.remove(&event)).collect()
    }

    /// Whether it is draining and has acknowledged every event.
    pub(super) fn is_drained(&self) -> bool {
        self.leaving && self.delivery_queue.is_empty()
    }

    /// Whether events are dropped that exceed its window, or that were not sent when its link
    /// ended.
    pub(super) fn is_lossy(&self, compat_behavior: &CompatBehavior) -> bool {
        !compat_behavior.keep_php_events && self.delivery_queue.protocol() == PeerProtocol::Php
    }
}

/// Links.
impl Workers {
    /// Number of linked workers.
    pub(super) fn len(&self) -> usize {
        self.linked.len()
    }

    /// A linked worker, whether it takes new events or not.
    pub(in crate::shard) fn get_mut(&mut self, link: LinkId) -> Option<&mut WorkerState> {
        self.linked.get_mut(&link)
    }

    /// The close codes of each linked worker.
    pub(in crate::shard) fn close_codes(&self) -> impl Iterator<Item = CodesId> {
        self.linked.values().map(|linked| linked.close_codes)
    }

    /// Adds a worker, which takes new events and clients.
    pub(super) fn insert(
        &mut self,
        link: LinkId,
        worker: Arc<Worker>,
        delivery_queue: DeliveryQueue,
        feed: Feed,
    ) {
        let state = WorkerState {
            worker: Arc::clone(&worker),
            delivery_queue,
            paused_reads: PausedReads::default(),
            feed,
            close_codes: CodesId::NONE,
            unconfirmed: BTreeMap::new(),
            leaving: false,
            unmoved: (0, None),
            published: Part::default(),
        };
        self.linked.insert(link, state);
        self.open.push((link, worker));
    }

    /// A worker drains: it gets no new events. Returns whether it is linked.
    pub(in crate::shard) fn leave(&mut self, link: LinkId) -> bool {
        let Some(linked) = self.linked.get_mut(&link) else {
            return false;
        };
        linked.leaving = true;
        self.open.retain(|(open, _)| *open != link);
        true
    }

    /// Removes a worker.
    pub(super) fn remove(
        &mut self,
        link: LinkId,
        compat_behavior: &CompatBehavior,
    ) -> Option<RemovedWorker> {
        let linked = self.linked.remove(&link)?;
        self.open.retain(|(open, _)| *open != link);
        let is_lossy = linked.is_lossy(compat_behavior);
        Some(RemovedWorker {
            instance: linked.worker.instance.clone(),
            was_leaving: linked.leaving,
            events: linked.delivery_queue.recall().filter(|_| !is_lossy).collect(),
            paused: linked.paused_reads.into_keys(),
        })
    }
}

impl Workers {
    /// Whether clients of this worker stay with it: it is linked, and not drained yet.
    pub(in crate::shard) fn holds(&self, link: LinkId) -> bool {
        self.linked.get(&link).is_some_and(|linked| !linked.is_drained())
    }

    /// The worker, if it takes new events.
    pub(in crate::shard) fn open(&mut self, link: LinkId) -> Option<&mut WorkerState> {
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
    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// A linked worker.
    pub(in crate::shard) fn worker(&self, link: LinkId) -> Option<&Worker> {
        self.linked.get(&link).map(|linked| &*linked.worker)
    }

    /// The key of a linked worker, `ip:name:id`.
    pub(in crate::shard) fn key(&self, link: LinkId) -> Option<&str> {
        self.worker(link).map(|worker| worker.key.as_str())
    }

    /// Checks which workers acknowledge events. To be called a few times a second.
    pub(in crate::shard) fn check_progress(&mut self, now: Instant) {
        for linked in self.linked.values_mut() {
            let progress = linked.delivery_queue.progress();
            let (before, since) = linked.unmoved;
            let is_idle = progress.last == progress.finished;
            let since = if before == progress.finished { since.or(Some(now)) } else { Some(now) };
            linked.unmoved = (progress.finished, since.filter(|_| !is_idle));
        }
    }

    /// The events in flight to each worker.
    pub(in crate::shard) fn loads(&self) -> Vec<WorkerLoad> {
        let load = |(link, linked): (&LinkId, &WorkerState)| {
            let progress = linked.delivery_queue.progress();
            WorkerLoad {
                link: *link,
                in_flight: progress.last - progress.finished,
                bytes: progress.unfinished,
                unmoved_since: linked.unmoved.1,
                leaving: linked.leaving,
            }
        };
        self.linked.iter().map(load).collect()
    }

    /// Stops counting a client for this worker.
    pub(in crate::shard) fn unbind(&mut self, link: LinkId) {
        if let Some(linked) = self.linked.get(&link) {
            linked.worker.clients.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The instance id of a native worker.
    pub(in crate::shard) fn instance(&self, link: LinkId) -> Option<InstanceId> {
        self.linked.get(&link).and_then(|linked| linked.worker.instance.clone())
    }

    /// Whether a worker can be a standby: it uses the native protocol and is not draining.
    pub(in crate::shard) fn may_stand_by(&self, link: LinkId) -> bool {
        let linked = self.linked.get(&link);
        linked.is_some_and(|linked| !linked.leaving && linked.worker.instance.is_some())
    }

    /// Whether one more worker can be a standby for a client of this owner.
    pub(in crate::shard) fn has_standby_besides(&self, owner: LinkId, standbys: &Standbys) -> bool {
        let is_such = |(link, worker): &(LinkId, Arc<Worker>)| {
            *link != owner && worker.instance.is_some() && !standbys.has(*link)
        };
        self.open.iter().any(is_such)
    }

    /// Chooses one more standby for a client of this owner. Prefers a worker that keeps up with its
    /// updates, on a host without the owner or another standby, since a host failure terminates all
    /// processes on it.
    pub(in crate::shard) fn choose_standby(
        &mut self,
        owner: LinkId,
        besides: &Standbys,
    ) -> Option<LinkId> {
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
    pub(in crate::shard) fn feed(&mut self, link: LinkId, change: impl FnOnce(&mut Feed)) {
        if let Some(linked) = self.linked.get_mut(&link) {
            change(&mut linked.feed);
        }
    }

    /// Standbys with updates that are due.
    pub(in crate::shard) fn to_feed(&self) -> Vec<LinkId> {
        let busy = self.linked.iter().filter(|(_, linked)| !linked.feed.is_idle());
        busy.map(|(link, _)| *link).collect()
    }

    /// Takes the updates of a standby out while they are being encoded.
    pub(in crate::shard) fn take_feed(&mut self, link: LinkId) -> Option<Feed> {
        self.linked.get_mut(&link).map(|linked| mem::take(&mut linked.feed))
    }

    pub(in crate::shard) fn put_feed(&mut self, link: LinkId, feed: Feed) {
        if let Some(linked) = self.linked.get_mut(&link) {
            linked.feed = feed;
        }
    }

    /// Makes all changed sessions due. Returns whether any update is due.
    pub(in crate::shard) fn schedule_sessions(&mut self) -> bool {
        self.linked.values_mut().for_each(|linked| linked.feed.schedule_sessions());
        self.linked.values().any(|linked| !linked.feed.is_idle())
    }

    /// Number of updates queued for standbys.
    pub(in crate::shard) fn standby_updates(&self) -> usize {
        self.linked.values().map(|linked| linked.feed.waiting()).sum()
    }

    /// Records that the last event queued for a worker is the first of a client that was reassigned
    /// to it.
    pub(in crate::shard) fn await_confirmation(&mut self, link: LinkId, client: ConnectionId) {
        if let Some(linked) = self.linked.get_mut(&link) {
            linked.unconfirmed.insert(linked.delivery_queue.progress().last, client);
        }
    }

    /// Whether the workers that accept clients have reached `window` on average.
    pub(in crate::shard) fn are_full(&self, window: usize) -> bool {
        let open = self.open.iter().filter_map(|(link, _)| self.linked.get(link));
        let unacked = open.map(|linked| linked.delivery_queue.len()).sum::<usize>();
        window.saturating_mul(self.open.len()) <= unacked
    }

    /// The batches to send now.
    pub(in crate::shard) fn take_batches(&mut self) -> impl Iterator<Item = (LinkId, u64, Bytes)> {
        self.linked.iter_mut().filter_map(|(link, linked)| {
            let (last, frames) = linked.delivery_queue.take_batch()?;
            Some((*link, last, frames))
        })
    }

    /// Connections that the fair queues resume now: at most `most` per worker.
    pub(in crate::shard) fn resume_fair_queue(&mut self, most: usize) -> Vec<SlotKey> {
        let mut keys = Vec::new();
        for linked in self.linked.values_mut().filter(|linked| linked.has_resumable()) {
            let paused_reads = &mut linked.paused_reads;
            paused_reads.started_at_resume = linked.delivery_queue.progress().started;
            keys.extend(paused_reads.fair_queue.drain(..paused_reads.fair_queue.len().min(most)));
        }
        keys
    }

    /// Whether any fair queue would resume a connection.
    pub(in crate::shard) fn has_resumable(&self) -> bool {
        self.linked.values().any(WorkerState::has_resumable)
    }

    /// `None` if no worker takes events, otherwise whether one of them uses the native protocol,
    /// which suspects need.
    pub(in crate::shard) fn can_isolate(&self) -> Option<bool> {
        let natives = self.open.iter().any(|(_, worker)| worker.instance.is_some());
        (!self.open.is_empty()).then_some(natives)
    }

    /// The client and the client's event number of an event in flight, if it is a suspect.
    pub(super) fn suspect(&self, link: LinkId, seq: u64) -> Option<(ConnectionId, u64)> {
        self.linked.get(&link).and_then(|linked| linked.delivery_queue.suspect(seq))
    }

    /// Publishes the events in flight of each worker.
    pub(in crate::shard) fn publish(&mut self) {
        for linked in self.linked.values_mut() {
            let (progress, bytes) = (linked.delivery_queue.progress(), linked.delivery_queue.len());
            let events = usize::try_from(progress.last - progress.finished).unwrap_or(usize::MAX);
            let now = Part { events, bytes };
            linked.worker.in_flight.replace(mem::replace(&mut linked.published, now), now);
        }
    }

    /// Bytes of events that workers have not acknowledged.
    pub(in crate::shard) fn in_flight(&self) -> usize {
        self.linked.values().map(|linked| linked.delivery_queue.len()).sum()
    }
}
