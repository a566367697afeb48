//! Gateways, workers, and the links between them.

mod faults;
mod links;
mod progress;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use protocol::{InstanceId, MemberId, PresenceAnswer, PresenceNotified, PresenceReport};
use rand::{RngExt as _, rngs::StdRng};

use super::{
    super::{Now, PresenceTable},
    Faults,
    shard::{Order, Shard, id},
};
use crate::presence::notice::NoticeKind;

const GRACE: Duration = Duration::from_secs(3);

#[derive(Debug)]
enum ToWorker {
    Report(PresenceNotified, PresenceReport),
    Lost(u16),
    /// `None` if the gateway has another owner.
    Answer(u64, Option<PresenceAnswer>),
}

#[derive(Debug)]
enum ToGateway {
    Watch(bool),
    Order(Option<u16>, Order),
    Query(u64, Option<Vec<MemberId>>),
}

/// A link, of which each end notices by itself that it has broken.
#[derive(Debug)]
struct Link {
    number: u64,
    is_broken: bool,
    is_watched: bool,
    to_worker: VecDeque<ToWorker>,
    to_gateway: VecDeque<ToGateway>,
}

#[derive(Debug)]
struct Gateway {
    instance: InstanceId,
    shards: Vec<Shard>,
    /// By worker, as the gateway sees them.
    links: BTreeMap<usize, u64>,
}

#[derive(Debug)]
struct Worker {
    instance: InstanceId,
    table: PresenceTable,
    /// By gateway instance, as the worker sees them.
    links: BTreeMap<InstanceId, u64>,
    watches: bool,
    /// Queries, by the gateways that have not answered, and whether all others did.
    asks: BTreeMap<u64, (BTreeSet<InstanceId>, bool)>,
    /// Gateways that were declared dead.
    dead: BTreeSet<InstanceId>,
    /// The number of the last notice.
    last_notice: u64,
}

#[derive(Debug, Default)]
struct Notices {
    is_occupied: bool,
    members: BTreeSet<MemberId>,
}

#[derive(Debug)]
pub(super) struct World {
    seed: u64,
    now: Instant,
    start: Instant,
    gateways: Vec<Gateway>,
    workers: Vec<Worker>,
    links: BTreeMap<u64, Link>,
    /// Pairs of a gateway and a worker that cannot be linked.
    cut: BTreeSet<(usize, usize)>,
    /// The notices to the application, by all owners.
    notices: Notices,
    /// All instances of gateways there were.
    ever: Vec<InstanceId>,
    last_client: u32,
    last_instance: u64,
    last_link: u64,
}

impl World {
    pub(super) fn new(seed: u64, gateways: usize, workers: usize) -> Self {
        let now = Instant::now();
        let (gateways_wanted, workers_wanted) = (gateways, workers);
        let mut world = Self {
            seed,
            now,
            start: now,
            gateways: Vec::new(),
            workers: Vec::new(),
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            notices: Notices::default(),
            ever: Vec::new(),
            last_client: 0,
            last_instance: seed * 1000,
            last_link: 0,
        };
        for _ in 0..gateways_wanted {
            let gateway = world.new_gateway();
            world.gateways.push(gateway);
        }
        for _ in 0..workers_wanted {
            let worker = world.new_worker();
            world.workers.push(worker);
        }
        world.link_all();
        world
    }

    fn time(&self) -> Now {
        let micros = (self.now - self.start).as_micros() as u64;
        Now { at: self.now, micros }
    }

    fn new_gateway(&mut self) -> Gateway {
        self.last_instance += 1;
        let instance = InstanceId::from_random(self.last_instance);
        self.ever.push(instance.clone());
        let shards = (0..1 + self.last_instance % 2).map(|index| Shard::new(index as u16));
        Gateway { instance, shards: shards.collect(), links: BTreeMap::new() }
    }

    fn new_worker(&mut self) -> Worker {
        self.last_instance += 1;
        Worker {
            instance: InstanceId::from_random(self.last_instance),
            table: PresenceTable::new(GRACE, 1 << 20, self.time()),
            links: BTreeMap::new(),
            watches: true,
            asks: BTreeMap::new(),
            dead: BTreeSet::new(),
            last_notice: 0,
        }
    }

    /// Something happens.
    pub(super) fn step(&mut self, random: &mut StdRng, faults: Faults) {
        let (gateway, worker) = (self.pick_gateway(random), self.pick_worker(random));
        match random.random_range(0..if faults == Faults::None { 70 } else { 100 }) {
            0..14 => self.join(gateway, random),
            14..24 => self.leave(gateway, random),
            24..60 => self.deliver(random),
            60..64 => self.pass_time(random.random_range(1..400)),
            64..66 => self.pass_time(random.random_range(400..4000)),
            66..70 => self.deliver_all(random),
            70..76 => self.break_link(random),
            76..83 => self.notice_broken(random),
            83..85 if faults == Faults::GatewaysToo => self.kill_gateway(gateway),
            85..87 => self.kill_worker(worker),
            87..90 => self.declare_dead(worker),
            90..92 => drop(self.cut.insert((gateway, worker))),
            92..94 => self.cut.clear(),
            94..98 => self.link_all(),
            98 => self.withdraw(worker),
            99 if random.random() => self.resynchronise(worker),
            99 => self.restart(worker, random),
            _ => {}
        }
        self.settle_turns();
    }

    fn pick_gateway(&self, random: &mut StdRng) -> usize {
        random.random_range(0..self.gateways.len())
    }

    fn pick_worker(&self, random: &mut StdRng) -> usize {
        random.random_range(0..self.workers.len())
    }

    fn join(&mut self, gateway: usize, random: &mut StdRng) {
        self.last_client += 1;
        let member = (random.random_range(0..12) != 0).then(|| id(random.random_range(0..4)));
        let shards = &mut self.gateways[gateway].shards;
        let shard = random.random_range(0..shards.len());
        shards[shard].join(self.last_client, member);
    }

    fn leave(&mut self, gateway: usize, random: &mut StdRng) {
        let shards = &mut self.gateways[gateway].shards;
        let shard = random.random_range(0..shards.len());
        let clients: Vec<_> = shards[shard].clients.keys().copied().collect();
        if !clients.is_empty() {
            let client = clients[random.random_range(0..clients.len())];
            shards[shard].leave(client);
        }
    }
}

impl Notices {
    fn add(&mut self, kind: &NoticeKind) {
        match kind {
            NoticeKind::Occupied => self.is_occupied = true,
            NoticeKind::Vacated => self.is_occupied = false,
            NoticeKind::MemberAdded(member) => drop(self.members.insert(member.id().clone())),
            NoticeKind::MemberRemoved(id) => drop(self.members.remove(id)),
            NoticeKind::Clients(_) => {}
        }
    }
}

/// The end.
impl World {
    pub(super) fn check_truth(&self, faults: Faults) {
        let seed = self.seed;
        let shards = || self.gateways.iter().flat_map(|it| &it.shards);
        let truth: BTreeSet<_> = shards().flat_map(|shard| shard.counts().into_keys()).collect();
        for shard in shards() {
            for (client, state) in shard.clients.iter().filter(|(_, it)| !it.is_plain()) {
                assert!(state.has_joined_as_member(), "seed {seed}: client {client} still waits");
                assert_eq!(state.told, truth, "seed {seed}: client {client} at {shard:#?}");
            }
        }
        let is_occupied = shards().any(|shard| !shard.clients.is_empty());
        // With a gateway and the owner, all knowledge of the members there may be gone.
        if faults != Faults::GatewaysToo {
            assert_eq!(self.notices.is_occupied, is_occupied, "seed {seed}");
            assert_eq!(self.notices.members, truth, "seed {seed}");
        }
    }

    pub(super) fn check_nothing_is_left(&self) {
        let seed = self.seed;
        for shard in self.gateways.iter().flat_map(|it| &it.shards) {
            assert!(shard.is_empty(), "seed {seed}: not settled: {shard:#?}");
        }
        for worker in &self.workers {
            let table = &worker.table;
            let rest = (table.len(), table.members(), table.weight(), table.next());
            assert_eq!(rest, (0, 0, 0, None), "seed {seed}: {table:#?}");
            assert!(worker.asks.is_empty(), "seed {seed}");
        }
    }
}
