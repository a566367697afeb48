//! The inner port: links of peers, with one order of commands for all shards.
//!
//! One thread reads every link, so that commands reach the shards in the order in which they
//! reached this gateway, over all links, as they would with a single-threaded gateway. The hub
//! holds no client state: it routes messages about one client to its shard and all others to every
//! shard, merges partial answers, and writes events to workers.

mod allowance;
mod arrival_order;
mod command_watermarks;
mod commands;
mod link;
mod link_closed;
mod measured;
mod native;
mod operators;
mod peer;
mod php;
mod queries;
mod relay;
mod retained;
mod retaining;
mod run;
mod scatter_gather;
mod status;
mod streams;
mod tails;
mod traces;
mod uid_checks;
mod uid_limit;
mod unauthenticated;
mod watchers;
mod worker_presence;

use std::{
    cell::RefCell,
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::{Duration, Instant},
};

use protocol::{ConnectionId, InstanceId, Secret, link::ToPeer};
use runtime::{clock, rate_limit::Throttle};
use rustc_hash::FxHashMap;
use service::Health;
use tokio::sync::Notify;

use self::{
    allowance::PER_LINK,
    command_watermarks::CommandWatermarks,
    link::{Link, Native},
    measured::Measured,
    retained::RetainedMessages,
    scatter_gather::ScatterGather,
    traces::OpenTrace,
    uid_checks::UidChecks,
    uid_limit::Search,
    unauthenticated::UnauthenticatedPeers,
    watchers::Watchers,
    worker_presence::WorkerPresence,
};
use crate::{
    in_flight::InFlight,
    settings::{Listener, Settings},
    thread_messages::{GatewayState, LinkEnd, LinkId, PeerProtocol, ToHub, ToShard, Token, Worker},
};

pub(crate) use self::run::run;

/// Maximum bytes of unprocessed messages of a shard before the hub stops reading from links.
const AHEAD: usize = 16 * 1024 * 1024;

/// Number of consecutive checks without read progress after which the link of a worker is closed.
/// See [`Hub::close_stalled_links`].
const STALLED: u32 = 6;

/// Maximum number of unanswered queries of a peer before the hub stops reading from it.
const UNANSWERED: usize = 4096;

/// All links, and the messages in flight between them and the shards.
#[derive(Debug)]
pub(crate) struct Hub {
    gateway: Arc<GatewayState>,
    settings: Arc<Settings>,
    /// Where clients connect.
    listeners: Vec<Listener>,
    secret: Secret,
    health: Health,
    unauthenticated: UnauthenticatedPeers,
    links: FxHashMap<LinkId, Link>,
    /// The links of workers, by key.
    workers: HashMap<String, LinkId>,
    /// The links of native peers, by instance id.
    natives: HashMap<InstanceId, LinkId>,
    /// The last messages of groups.
    retained: RetainedMessages,
    /// The last acknowledged command of each peer whose link has ended.
    watermarks: CommandWatermarks,
    pending_queries: FxHashMap<Token, ScatterGather>,
    /// Set with `--max-connections-per-uid`.
    uid_checks: Option<Box<UidChecks>>,
    uid_search: Option<Search>,
    started: Instant,
    /// Messages to each shard, sent at the end of a run.
    outgoing: Vec<Vec<ToShard>>,
    /// Links with something to write.
    dirty: Vec<LinkId>,
    /// Notified when command acknowledgements are due.
    acks_due: Rc<Notify>,
    /// Workers that watch groups.
    watchers: Watchers,
    /// Peers that can be asked for messages of streams.
    stream_servers: Vec<LinkId>,
    /// Counts not yet added to the metrics.
    commands: u64,
    queries: u64,
    /// Commands whose delivery is measured.
    measured: Measured,
    /// Traces that are not answered.
    traces: Vec<OpenTrace>,
    /// The last assigned id, of a link or a query.
    last_id: u64,
    scheduled: bool,
    waker: Option<Waker>,
    /// Shards that are not drained yet, during shutdown.
    undrained: Option<Vec<u16>>,
    /// Shards whose memory budget is exceeded.
    pressed: Vec<u16>,
    /// Log state about linked workers.
    presence: WorkerPresence,
    /// Rate limit for warnings about queries of PHP peers without a reply.
    no_reply_warnings: Throttle,
    /// Rate limit for warnings about PHP peers of a gateway with an IPv6 address.
    ipv6_warnings: Throttle,
    /// Rate limit for warnings about workers with the same name and id.
    replaced_warnings: Throttle,
}

type Shared = Rc<RefCell<Hub>>;

impl Hub {
    pub(crate) fn new(
        gateway: Arc<GatewayState>,
        settings: Arc<Settings>,
        listeners: Vec<Listener>,
        secret: Secret,
        health: Health,
    ) -> Self {
        let outgoing = gateway.shards.iter().map(|_| Vec::new()).collect();
        health.set_not_ready("worker", "no worker is linked");
        let unauthenticated = UnauthenticatedPeers::new(gateway.descriptors.unauthenticated);
        let retained = RetainedMessages::new(settings.retained_bytes);
        let uid_checks = settings.uid_limit.map(|limit| Box::new(UidChecks::new(limit)));
        Self {
            gateway,
            settings,
            listeners,
            secret,
            health,
            unauthenticated,
            links: FxHashMap::default(),
            workers: HashMap::new(),
            natives: HashMap::new(),
            retained,
            watermarks: CommandWatermarks::default(),
            pending_queries: FxHashMap::default(),
            uid_checks,
            uid_search: None,
            started: clock::now(),
            outgoing,
            dirty: Vec::new(),
            acks_due: Rc::default(),
            watchers: Watchers::default(),
            stream_servers: Vec::new(),
            commands: 0,
            queries: 0,
            measured: Measured::default(),
            traces: Vec::new(),
            last_id: 0,
            scheduled: false,
            waker: None,
            undrained: None,
            pressed: Vec::new(),
            presence: WorkerPresence::default(),
            no_reply_warnings: Throttle::per_second(),
            ipv6_warnings: Throttle::new(Duration::from_secs(60)),
            replaced_warnings: Throttle::per_second(),
        }
    }

    /// Schedules [`run_once`](Self::run_once) after all tasks that are ready now.
    fn schedule_run(&mut self) {
        if !self.scheduled {
            self.scheduled = true;
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Adds a link.
    fn add_link(&mut self, link: Link) -> LinkId {
        self.last_id += 1;
        let id = LinkId(self.last_id);
        if let Some(native) = &link.native {
            self.natives.insert(native.instance.clone(), id);
        }
        self.links.insert(id, link);
        id
    }

    /// Registers a peer as a worker. A worker with a key that is in use replaces the older one:
    /// usually it is the same worker, reconnecting before the loss of its old link is detected.
    fn add_worker(&mut self, id: LinkId, key: &str, instance: Option<InstanceId>) {
        self.remove_worker(id, LinkEnd::Other);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let ip = link.remote.ip();
        let key = format!("{ip}:{key}");
        // Native workers always send their instance id.
        let protocol = if instance.is_some() { PeerProtocol::Native } else { PeerProtocol::Php };
        let (clients, in_flight) = (AtomicUsize::new(0), InFlight::default());
        let worker =
            Arc::new(Worker { protocol, instance, ip, key: key.clone(), clients, in_flight });
        link.worker = Some(Arc::clone(&worker));
        let remote = link.remote;
        tracing::info!(worker = key, %remote, "worker linked");
        if let Some(old) = self.workers.insert(key.clone(), id) {
            self.replace(old, &key, remote);
        }
        self.send_to_shards(None, || ToShard::WorkerUp { link: id, worker: Arc::clone(&worker) });
        self.gateway.metrics.workers.inc();
        self.gateway.metrics.linked_workers.add(id, Arc::clone(&worker));
        self.update_health();
        if worker.instance.is_some() {
            self.uid_checker_linked();
        }
        self.schedule_run();
    }

    /// Closes the link of a worker that another one with the same key replaces, and notifies it. An
    /// earlier link of the same instance is closed before, so this is another process: the worker
    /// was restarted, or two workers run with the same name and id.
    fn replace(&mut self, old: LinkId, key: &str, newer: SocketAddr) {
        let Some(link) = self.links.get_mut(&old) else {
            return;
        };
        let older = link.remote;
        if let Some(suppressed) = self.replaced_warnings.admit(clock::now()) {
            tracing::warn!(
                worker = key, %older, %newer, suppressed,
                "a newer worker replaces an older one with the same name and id; \
                 if both run, one needs another --name or --id"
            );
        }
        if link.native.is_some() {
            link.send(&ToPeer::Replaced { by: newer.to_string() });
            link.flush();
        }
        self.close_link(old);
    }

    /// Closes a peer's link from this side.
    fn close_link(&mut self, id: LinkId) {
        self.remove_link(id, LinkEnd::Other);
    }

    /// Removes a link that has ended.
    fn remove_link(&mut self, id: LinkId, end: LinkEnd) {
        self.remove_worker(id, end);
        if let Some(link) = self.links.remove(&id) {
            if !link.tails.is_empty() {
                self.end_tails(id);
            }
            link.over.cancel();
            self.serve_streams(id, false);
            if let Some(Native { instance, through }) = link.native {
                // A newer link of this instance may exist already.
                if self.natives.get(&instance) == Some(&id) {
                    self.natives.remove(&instance);
                }
                self.watermarks.ended(instance, through, clock::now());
            }
        }
    }

    /// Unregisters a worker. Its unacknowledged events are redelivered to other workers.
    fn remove_worker(&mut self, id: LinkId, end: LinkEnd) {
        let Some(worker) = self.links.get_mut(&id).and_then(|link| link.worker.take()) else {
            return;
        };
        tracing::info!(worker = worker.key, "worker disconnected");
        // Another worker may have taken over the key by now.
        if self.workers.get(&worker.key) == Some(&id) {
            self.workers.remove(&worker.key);
        }
        self.send_to_shards(None, || ToShard::WorkerDown { link: id, end });
        self.gateway.metrics.workers.dec();
        self.gateway.metrics.linked_workers.remove(id);
        self.update_health();
        self.watcher_closed(id);
        self.uid_checker_lost(id);
        self.schedule_run();
    }

    /// Bytes written so far to a peer whose unread answers exceed the limit; `None` for other
    /// peers.
    fn unread(&self, id: LinkId) -> Option<u64> {
        let link = self.links.get(&id)?;
        (PER_LINK < link.queued_answers()).then(|| link.written())
    }

    /// Queues a message for the shard of a client, or for all shards.
    fn send_to_shards(&mut self, client: Option<ConnectionId>, message: impl Fn() -> ToShard) {
        match client {
            Some(client) => {
                let shard = self.gateway.shard_of(client);
                self.outgoing[shard].push(message());
            }
            None => {
                for outgoing in &mut self.outgoing {
                    outgoing.push(message());
                }
            }
        }
    }

    /// Whether reading from a peer is paused.
    fn is_busy(&self, from: LinkId) -> bool {
        let link = self.links.get(&from);
        link.is_some_and(|link| self.awaits_answers(link))
            || self.gateway.ahead.iter().any(|ahead| AHEAD < ahead.load(Ordering::Relaxed))
    }

    fn send(&mut self, to: LinkId, message: &ToPeer) {
        if let Some(link) = self.links.get_mut(&to) {
            link.send(message);
            self.mark_dirty(to);
        }
    }

    /// Whether nothing is left to be sent to a peer.
    fn is_quiet(&self, id: LinkId) -> bool {
        self.links.get(&id).is_none_or(|link| {
            link.queued() == 0 && link.php.as_ref().is_none_or(php::State::is_idle)
        })
    }

    /// Schedules a flush of the link at the end of the run.
    fn mark_dirty(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id)
            && !link.dirty
        {
            link.dirty = true;
            self.dirty.push(id);
            self.schedule_run();
        }
    }

    /// Handles all messages from shards, sends queued messages to the shards, and flushes each
    /// dirty link once.
    fn run_once(&mut self, cx: &mut Context<'_>, messages: &mut Vec<ToHub>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        self.scheduled = true;
        let gateway = Arc::clone(&self.gateway);
        while gateway.hub.poll_take(cx, messages).is_ready() {
            for message in messages.drain(..) {
                self.handle(message);
            }
        }
        self.report_worker_presence(clock::now());
        for id in std::mem::take(&mut self.dirty) {
            if let Some(link) = self.links.get_mut(&id) {
                link.flush();
                while let Some((shard, through)) = link.standby_written() {
                    let written = ToShard::StandbyWritten { link: id, through };
                    self.outgoing[usize::from(shard)].push(written);
                }
                while let Some((shard, bytes)) = link.presence_written() {
                    let written = ToShard::PresenceWritten { link: id, bytes };
                    self.outgoing[usize::from(shard)].push(written);
                }
            }
            self.ack_written_php(id);
        }
        let arrived = self.measured.take();
        if !self.traces.is_empty() {
            self.dispatch_traces();
        }
        for (shard, outgoing) in self.outgoing.iter_mut().enumerate() {
            if let Some(arrived) = arrived.filter(|_| !outgoing.is_empty()) {
                outgoing.push(ToShard::Measure { arrived });
            }
            gateway.send_to_shard(shard, outgoing);
        }
        gateway.metrics.commands.inc_by(std::mem::take(&mut self.commands));
        gateway.metrics.queries.inc_by(std::mem::take(&mut self.queries));
        self.scheduled = false;
    }

    fn handle(&mut self, message: ToHub) {
        match message {
            ToHub::Events { link: id, shard, last, frames } => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.push_events(&frames);
                    let end = link.pushed();
                    if let Some(php) = &mut link.php {
                        php.sent(end, shard, last);
                    }
                    self.mark_dirty(id);
                }
            }
            ToHub::Standby { link: id, shard, frames, confirm } => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.push_standby(&frames, shard, confirm);
                    self.mark_dirty(id);
                }
            }
            ToHub::Presence { link, shard, frames } => self.presence_reported(link, shard, &frames),
            ToHub::StreamGaps { link, message } => self.ask_for_stream(link, &message),
            ToHub::SendRetained { client, group, message } => {
                self.send_retained(client, group, message);
            }
            ToHub::PartialAnswer { token, part } => self.add_partial_answer(token, part),
            ToHub::Tailed { link, tailed } => self.tailed(link, tailed),
            ToHub::Effects(effects) => self.report_effects(&effects),
            ToHub::Bound { uid } => self.uid_bound(uid),
            ToHub::Uids { uids, next } => self.uids_found(uids, next),
            ToHub::Pressed { shard, pressed } => {
                self.pressed.retain(|known| *known != shard);
                if pressed {
                    self.pressed.push(shard);
                }
                match self.pressed.is_empty() {
                    true => self.health.set_ready("memory"),
                    false => self.health.set_not_ready("memory", "budget exceeded"),
                }
            }
            ToHub::Drained { shard } => {
                if let Some(undrained) = &mut self.undrained {
                    undrained.retain(|waiting| *waiting != shard);
                }
            }
        }
    }

    /// Sends due command acknowledgements, unless another flush has carried them. Returns whether
    /// any commands arrived since the last call.
    fn send_acks(&mut self) -> bool {
        let mut any = false;
        let due = self.links.iter_mut().filter_map(|(id, link)| {
            let due = std::mem::take(&mut link.taken_due);
            any |= due;
            (due && link.taken.is_some()).then_some(*id)
        });
        for id in due.collect::<Vec<_>>() {
            self.mark_dirty(id);
        }
        any
    }

    /// Whether no shard has connections left, workers have acknowledged all events, and all write
    /// queues are empty.
    fn is_drained(&self) -> bool {
        self.undrained.as_ref().is_some_and(Vec::is_empty)
            && self.links.values().all(|link| link.queued() == 0)
    }
}
