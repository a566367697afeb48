//! The inner port: links of peers, in one order for all shards.
//!
//! One thread reads every link, so that commands reach the shards in the order in which they
//! reached this host, over all links, as they would with a single-threaded gateway. The hub looks
//! at no client: it passes on what concerns one to its shard and what concerns many to all, puts
//! their parts of an answer together, and writes events to workers.

mod allowance;
mod attendance;
mod ended;
mod gather;
mod link;
mod native;
mod peer;
mod php;
mod progress;
mod queries;
mod relay;
mod run;
mod strangers;

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
    time::Duration,
};

use protocol::{Command, ConnectionId, Instance, Secret, link::ToPeer};
use rustc_hash::FxHashMap;
use service::{Health, clock, rate_limit::Throttle};
use tokio::sync::Notify;

use self::{
    allowance::PER_LINK,
    attendance::Attendance,
    gather::Gathering,
    link::{Link, Native},
    progress::Progress,
    strangers::Strangers,
};
use crate::{
    exchange::{Host, Language, LinkEnd, LinkId, ToHub, ToShard, Token, Worker},
    settings::Settings,
};

pub(crate) use self::run::run;

/// How many bytes the hub may be ahead of a shard before it reads no more.
const AHEAD: usize = 16 * 1024 * 1024;

/// For how many of the intervals at which links are looked at a worker may read nothing, though
/// something waits for it. See [`Hub::cut_off_stalled`].
const STALLED: u32 = 6;

/// How many queries of a peer may be unanswered before nothing more is read from it.
const UNANSWERED: usize = 4096;

/// All links, and what is on its way between them and the shards.
#[derive(Debug)]
pub(crate) struct Hub {
    host: Arc<Host>,
    settings: Arc<Settings>,
    secret: Secret,
    health: Health,
    strangers: Strangers,
    links: FxHashMap<LinkId, Link>,
    /// The links of workers, by key.
    workers: HashMap<String, LinkId>,
    /// The links of native peers, by the life of the peer.
    natives: HashMap<Instance, LinkId>,
    /// What was taken by links that have ended.
    progress: Progress,
    gatherings: FxHashMap<Token, Gathering>,
    /// What each shard is told at the end of the turn.
    outgoing: Vec<Vec<ToShard>>,
    /// Links with something to write.
    dirty: Vec<LinkId>,
    /// Called when peers are to be told how many of their commands were taken.
    confirm: Rc<Notify>,
    /// What was counted since it was last added to the metrics.
    commands: u64,
    queries: u64,
    last: u64,
    called: bool,
    waker: Option<Waker>,
    /// Shards that are not drained yet, while the gateway is going down.
    undrained: Option<Vec<u16>>,
    /// Shards that clients make hold too much.
    pressed: Vec<u16>,
    /// What was logged of whether there are workers.
    attendance: Attendance,
    /// Warnings about queries of PHP peers that have no reply.
    no_reply_warnings: Throttle,
    /// Warnings about PHP peers of a gateway with an IPv6 address.
    ipv6_warnings: Throttle,
    /// Warnings about workers with one name and id.
    replaced_warnings: Throttle,
}

type Shared = Rc<RefCell<Hub>>;

impl Hub {
    pub(crate) fn new(
        host: Arc<Host>,
        settings: Arc<Settings>,
        secret: Secret,
        health: Health,
    ) -> Self {
        let outgoing = host.shards.iter().map(|_| Vec::new()).collect();
        health.set_not_ready("worker", "no worker is linked");
        let strangers = Strangers::new(host.descriptors.unauthenticated);
        Self {
            host,
            settings,
            secret,
            health,
            strangers,
            links: FxHashMap::default(),
            workers: HashMap::new(),
            natives: HashMap::new(),
            progress: Progress::default(),
            gatherings: FxHashMap::default(),
            outgoing,
            dirty: Vec::new(),
            confirm: Rc::default(),
            commands: 0,
            queries: 0,
            last: 0,
            called: false,
            waker: None,
            undrained: None,
            pressed: Vec::new(),
            attendance: Attendance::default(),
            no_reply_warnings: Throttle::per_second(),
            ipv6_warnings: Throttle::new(Duration::from_secs(60)),
            replaced_warnings: Throttle::per_second(),
        }
    }

    /// Has [`turn`](Self::turn) called once everything that is there to do is done.
    fn call(&mut self) {
        if !self.called {
            self.called = true;
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Takes a peer in.
    fn insert(&mut self, link: Link) -> LinkId {
        self.last += 1;
        let id = LinkId(self.last);
        if let Some(native) = &link.native {
            self.natives.insert(native.instance.clone(), id);
        }
        self.links.insert(id, link);
        id
    }

    /// Makes a peer a worker. One whose key is in use already replaces the one that has it: that is
    /// the same worker come back before its old link was found dead.
    fn enlist(&mut self, id: LinkId, key: &str, instance: Option<Instance>) {
        self.dismiss(id, LinkEnd::Other);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let ip = link.remote.ip();
        let key = format!("{ip}:{key}");
        // Ours always say which life of theirs it is.
        let language = if instance.is_some() { Language::Native } else { Language::Php };
        let clients = AtomicUsize::new(0);
        let worker = Arc::new(Worker { language, instance, ip, key: key.clone(), clients });
        link.worker = Some(Arc::clone(&worker));
        let remote = link.remote;
        tracing::info!(worker = key, %remote, "worker linked");
        if let Some(old) = self.workers.insert(key.clone(), id) {
            self.replace(old, &key, remote);
        }
        self.tell(None, || ToShard::WorkerUp { link: id, worker: Arc::clone(&worker) });
        self.host.metrics.workers.inc();
        self.tell_health();
        self.call();
    }

    /// Ends the link of a worker whose key another one has now, and says so to both. Another link of the
    /// same life is ended before, so that this is another process: the worker has been started again, or
    /// two run with one name and id.
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
            link.say(&ToPeer::Replaced { by: newer.to_string() });
            link.flush();
        }
        self.remove(old);
    }

    /// Ends the link of a peer, and forgets the peer.
    fn remove(&mut self, id: LinkId) {
        self.forget(id, LinkEnd::Other);
    }

    /// Forgets a peer whose link has ended.
    fn forget(&mut self, id: LinkId, end: LinkEnd) {
        self.dismiss(id, end);
        if let Some(link) = self.links.remove(&id) {
            link.over.cancel();
            if let Some(Native { instance, through }) = link.native {
                // Its successor may be there already.
                if self.natives.get(&instance) == Some(&id) {
                    self.natives.remove(&instance);
                }
                self.progress.ended(instance, through, clock::now());
            }
        }
    }

    /// Makes a peer no worker any more; what it has not finished is given to the others.
    fn dismiss(&mut self, id: LinkId, end: LinkEnd) {
        let Some(worker) = self.links.get_mut(&id).and_then(|link| link.worker.take()) else {
            return;
        };
        tracing::info!(worker = worker.key, "worker gone");
        // Its successor may have its key by now.
        if self.workers.get(&worker.key) == Some(&id) {
            self.workers.remove(&worker.key);
        }
        self.tell(None, || ToShard::WorkerDown { link: id, end });
        self.host.metrics.workers.dec();
        self.tell_health();
        self.call();
    }

    /// How much was written to a peer that does not read its answers.
    fn unread(&self, id: LinkId) -> Option<u64> {
        let link = self.links.get(&id)?;
        (PER_LINK < link.queued_answers()).then(|| link.written())
    }

    /// Passes a command on, in the order of arrival over all links.
    fn command(&mut self, from: LinkId, command: Command) {
        self.commands += 1;
        let ordinal = self.host.ordinal();
        match command.client() {
            Some(client) => {
                let shard = self.host.shard_of(client);
                self.outgoing[shard].push(ToShard::Command { from, ordinal, command });
            }
            None => self.tell(None, || {
                let command = command.clone();
                ToShard::Command { from, ordinal, command }
            }),
        }
    }

    /// Tells the shard of this client, or all.
    fn tell(&mut self, client: Option<ConnectionId>, message: impl Fn() -> ToShard) {
        match client {
            Some(client) => {
                let shard = self.host.shard_of(client);
                self.outgoing[shard].push(message());
            }
            None => {
                for outgoing in &mut self.outgoing {
                    outgoing.push(message());
                }
            }
        }
    }

    /// Whether nothing more should be read from a peer for now.
    fn is_busy(&self, from: LinkId) -> bool {
        let link = self.links.get(&from);
        link.is_some_and(|link| self.awaits_answers(link))
            || self.host.ahead.iter().any(|ahead| AHEAD < ahead.load(Ordering::Relaxed))
    }

    fn say(&mut self, to: LinkId, message: &ToPeer) {
        if let Some(link) = self.links.get_mut(&to) {
            link.say(message);
            self.touch(to);
        }
    }

    /// Whether nothing is on its way to a peer any more.
    fn is_quiet(&self, id: LinkId) -> bool {
        self.links.get(&id).is_none_or(|link| {
            link.queued() == 0 && link.php.as_ref().is_none_or(php::State::is_idle)
        })
    }

    /// Has the link written to at the end of the turn.
    fn touch(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id)
            && !link.dirty
        {
            link.dirty = true;
            self.dirty.push(id);
            self.call();
        }
    }

    /// Takes all that the shards say, tells them all that peers said, and writes once to each link
    /// that there is something for.
    fn turn(&mut self, cx: &mut Context<'_>, told: &mut Vec<ToHub>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        self.called = true;
        let host = Arc::clone(&self.host);
        while host.hub.poll_take(cx, told).is_ready() {
            for message in told.drain(..) {
                self.hear(message);
            }
        }
        self.note_attendance(clock::now());
        for id in std::mem::take(&mut self.dirty) {
            if let Some(link) = self.links.get_mut(&id) {
                link.flush();
                while let Some((shard, through)) = link.standby_written() {
                    let told = ToShard::StandbyWritten { link: id, through };
                    self.outgoing[usize::from(shard)].push(told);
                }
            }
            self.settle_php(id);
        }
        for (shard, outgoing) in self.outgoing.iter_mut().enumerate() {
            host.tell(shard, outgoing);
        }
        host.metrics.commands.inc_by(std::mem::take(&mut self.commands));
        host.metrics.queries.inc_by(std::mem::take(&mut self.queries));
        self.called = false;
    }

    fn hear(&mut self, message: ToHub) {
        match message {
            ToHub::Events { link: id, shard, last, frames } => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.push_events(&frames);
                    let end = link.pushed();
                    if let Some(php) = &mut link.php {
                        php.sent(end, shard, last);
                    }
                    self.touch(id);
                }
            }
            ToHub::Standby { link: id, shard, frames, confirm } => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.push_standby(&frames, shard, confirm);
                    self.touch(id);
                }
            }
            ToHub::Part { token, part } => self.gather(token, part),
            ToHub::Pressed { shard, pressed } => {
                self.pressed.retain(|known| *known != shard);
                if pressed {
                    self.pressed.push(shard);
                }
                match self.pressed.is_empty() {
                    true => self.health.set_ready("memory"),
                    false => self.health.set_not_ready("memory", "clients hold too much of it"),
                }
            }
            ToHub::Drained { shard } => {
                if let Some(undrained) = &mut self.undrained {
                    undrained.retain(|waiting| *waiting != shard);
                }
            }
        }
    }

    /// Tells peers how many of their commands were taken, unless something else went out meanwhile
    /// that said so too. Whether any were since it was called last.
    fn confirm(&mut self) -> bool {
        let mut any = false;
        let due = self.links.iter_mut().filter_map(|(id, link)| {
            let due = std::mem::take(&mut link.taken_due);
            any |= due;
            (due && link.taken.is_some()).then_some(*id)
        });
        for id in due.collect::<Vec<_>>() {
            self.touch(id);
        }
        any
    }

    /// Whether every shard has no connections any more, workers are done with all events, and
    /// everything is written.
    fn is_drained(&self) -> bool {
        self.undrained.as_ref().is_some_and(Vec::is_empty)
            && self.links.values().all(|link| link.queued() == 0)
    }
}
