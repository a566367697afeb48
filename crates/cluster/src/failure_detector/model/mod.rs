//! A small world around [`FailureDetector`]: gateways, workers and a register that crash, are
//! partitioned and recover, in an order derived from a seed. Afterwards every client known to a
//! worker must have been closed, and at most once without a mark.
//!
//! The failure detector is the real one; everything else follows ARCHITECTURE.md and
//! `docs/guarantees.md`, as far as it matters here.
//! `MODEL_SEEDS=100000 cargo test -p push-suite-cluster model` is the long form, and `MODEL_SEED=7`
//! replays one seed.

mod decisions;
mod faults;
mod gateways;
mod links;
mod register_outages;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::discovery;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;
use register_outages::RegisterOutages;

const GRACE: Duration = Duration::from_secs(10);
const GATEWAYS: usize = 3;
const WORKERS: usize = 3;
const STEPS: usize = 250;

/// The number of standbys of a client.
const STANDBYS: usize = 2;

/// How long a worker may stall until gateways close its links.
const PATIENCE: Duration = Duration::from_secs(3);

/// A client, named by the instance of its gateway.
type Client = (u64, u32);

#[derive(Clone, Debug)]
enum ToWorker {
    /// The first event of a client.
    Connect(Client, bool),
    Close(Client, bool),
    Reassigned(Client, bool),
    /// The client, the instances of its holders, and whether the owner has confirmed it.
    Standby(Client, Vec<u64>, bool),
    Release(Client),
    Pong,
}

#[derive(Clone, Debug)]
enum ToGateway {
    /// An event of this client is acknowledged; whether it was the last.
    EventAck(Client, bool),
    Ping,
    Fenced,
}

/// A link as seen by both ends: an end that has not noticed the close yet still holds its state.
#[derive(Debug)]
struct Link {
    gateway: usize,
    worker: usize,
    incarnation: u64,
    owner: u64,
    down: VecDeque<ToWorker>,
    up: VecDeque<ToGateway>,
    gateway_end: bool,
    worker_end: bool,
    /// When the gateway's end was closed.
    closed: Option<Instant>,
    /// Whether the worker has fenced a gateway that is alive.
    fenced: bool,
    // State of the gateway's end.
    undone: Vec<(Client, bool)>,
    // State of the worker's end.
    clients_known: KnownClients,
}

#[derive(Debug, Default)]
struct KnownClients {
    /// The worker's own clients, and whether each is in doubt: its latest event was marked.
    own: BTreeMap<Client, bool>,
    /// Standby records: the instances of the holders, and whether the owner has confirmed the
    /// client.
    standby: BTreeMap<Client, (Vec<u64>, bool)>,
}

#[derive(Debug)]
struct Gateway {
    incarnation: u64,
    alive: bool,
    /// Partitioned from all processes.
    cut: bool,
    /// Partitioned from the register, and from the workers in `apart`.
    hidden: bool,
    apart: BTreeSet<usize>,
    outages: RegisterOutages,
    clients: BTreeMap<Client, LinkState>,
    /// Closed clients, until a worker has acknowledged the close.
    closed_clients: BTreeMap<Client, ClosedClient>,
    unassigned: Vec<(Client, bool, bool)>,
    next: u32,
    /// When one of its links was last closed by its peer or the network.
    shaken: Instant,
}

/// The links to the owner and the standbys of a closed client.
#[derive(Clone, Debug)]
struct ClosedClient {
    owner: Option<usize>,
    standbys: Vec<usize>,
    confirmed: bool,
}

/// The links to a client's owner and standbys.
#[derive(Clone, Debug, Default)]
struct LinkState {
    owner: Option<usize>,
    /// The owner reported to the standbys.
    named: Option<usize>,
    standbys: Vec<usize>,
    /// Whether that owner may not know of the client yet.
    unconfirmed: bool,
    /// When the link to a previous owner was lost.
    lost: Option<Instant>,
}

#[derive(Debug)]
struct Worker {
    incarnation: u64,
    alive: bool,
    cut: bool,
    /// Since when it is stalled.
    stalled_since: Option<Instant>,
    detector: FailureDetector,
    known_clients: BTreeMap<u64, KnownClients>,
    jobs: Vec<Job>,
    /// Pending handovers.
    handovers: Vec<HandOver>,
}

/// Clients that are being closed on behalf of a gateway.
#[derive(Debug)]
struct Job {
    left: Vec<(Client, bool)>,
    /// The record to write on completion.
    done: Option<Done>,
}

#[derive(Debug)]
enum Done {
    CleanupRecord(CleanupRecord),
    TakenOver(Takeover),
}

#[derive(Debug, Default)]
struct Register {
    alive: bool,
    gateways: BTreeSet<(usize, u64)>,
    workers: BTreeSet<(usize, u64)>,
    settled: Vec<CleanupRecord>,
    takeovers: Vec<Takeover>,
}

#[derive(Debug, Default)]
struct Deliveries {
    connects: u32,
    closes: u32,
    marked: u32,
    /// The number of workers that knew of it when its gateway died.
    holders: Option<usize>,
    /// No worker that knew of it was left.
    forgotten: bool,
    /// The workers that knew of it have dropped it, and are alive.
    dropped: bool,
}

struct Universe {
    rng: StdRng,
    now: Instant,
    incarnations: u64,
    gateways: Vec<Gateway>,
    workers: Vec<Worker>,
    register: Register,
    /// By number, which is never reused.
    links: BTreeMap<usize, Link>,
    last_link: usize,
    deliveries: BTreeMap<Client, Deliveries>,
    /// Clients with updates for a standby that were lost with their gateway.
    undelivered: BTreeSet<Client>,
    /// Instances that were declared dead.
    declared_dead: BTreeSet<u64>,
}

fn instance(incarnation: u64) -> InstanceId {
    InstanceId::from_random(incarnation)
}

fn address(gateway: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, gateway as u8], 2900))
}

impl Universe {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let mut universe = Self {
            rng: StdRng::seed_from_u64(seed),
            now,
            incarnations: 0,
            gateways: Vec::new(),
            workers: Vec::new(),
            register: Register { alive: true, ..Register::default() },
            links: BTreeMap::new(),
            last_link: 0,
            deliveries: BTreeMap::new(),
            undelivered: BTreeSet::new(),
            declared_dead: BTreeSet::new(),
        };
        for _ in 0..GATEWAYS {
            let incarnation = universe.live();
            universe.gateways.push(Gateway::new(incarnation, now));
        }
        for _ in 0..WORKERS {
            let incarnation = universe.live();
            universe.workers.push(Worker::new(incarnation));
        }
        universe
    }

    fn live(&mut self) -> u64 {
        self.incarnations += 1;
        self.incarnations
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.random_range(0..bound)
    }

    fn step(&mut self) {
        let (gateway, worker) = (self.below(GATEWAYS), self.below(WORKERS));
        match self.rng.random_range(0..125) {
            0..8 => self.connect(gateway),
            8..12 => self.leave(gateway),
            12..48 => self.deliver_some(),
            48..56 => (0..WORKERS).for_each(|worker| self.link(gateway, worker)),
            56..62 => self.notice(),
            62..68 => self.announce(),
            68..76 => self.receive_view(worker),
            76..80 => self.report_cleanups(worker),
            80..86 => self.close_one(worker),
            86..93 => self.pass(),
            93..94 => self.cut_link(),
            94 => self.kill_gateway(gateway),
            95 => self.kill_worker(worker),
            96 => self.kill_register(),
            97 => self.cut_off(gateway, worker),
            98 => self.hide(gateway),
            99 => self.stall(worker),
            100..110 => (0..WORKERS).for_each(|worker| {
                self.decide(worker);
                self.hand_over(worker);
            }),
            _ => self.come_back(),
        }
    }

    /// Ends all partitions, and lets time pass until nothing changes any more.
    fn settle(&mut self) {
        for worker in 0..WORKERS {
            self.workers[worker].cut = false;
            self.wake(worker);
        }
        if self.workers.iter().all(|worker| !worker.alive) {
            let incarnation = self.live();
            self.workers[0] = Worker::new(incarnation);
        }
        self.register.alive = true;
        self.announce_all();
        for gateway in 0..GATEWAYS {
            self.heal(gateway);
            let Gateway { cut, hidden, .. } = self.gateways[gateway];
            assert!(!cut && !hidden, "no gateway is partitioned any more");
        }
        for _ in 0..12 {
            for id in self.links.keys().copied().collect::<Vec<_>>() {
                self.notice_at(id);
            }
            self.announce_all();
            for worker in 0..WORKERS {
                self.report_cleanups(worker);
                self.receive_view(worker);
                for at in 0..GATEWAYS {
                    self.link(at, worker);
                }
            }
            for id in self.links.keys().copied().collect::<Vec<_>>() {
                while self.deliver_up(id) | self.deliver_down(id) {}
            }
            // A longer step would count as a stall.
            for _ in 0..5 {
                self.now += PROMPT / 2;
                for worker in 0..WORKERS {
                    self.decide(worker);
                    self.hand_over(worker);
                    while !self.workers[worker].jobs.is_empty() && self.workers[worker].alive {
                        self.close_one(worker);
                    }
                }
            }
        }
    }

    /// Violations of the guarantees for the close of clients.
    fn defects(&self) -> Vec<String> {
        let mut defects = Vec::new();
        for (client, deliveries) in &self.deliveries {
            let of = |it: &Gateway| it.alive && it.incarnation == client.0;
            let at = self.gateways.iter().position(of);
            let at = at.filter(|at| self.gateways[*at].clients.contains_key(client));
            let open = at.is_some();
            let ends = deliveries.closes + deliveries.marked;
            if 1 < deliveries.connects || 1 < deliveries.closes {
                defects.push(format!("{client:?} closed twice without a mark: {deliveries:?}"));
            }
            // A worker may terminate after closing a client and before recording it; the close is
            // repeated with a mark then.
            if ends != 0 && at.is_some_and(|at| !self.may_be_presumed_dead(at, *client)) {
                defects.push(format!("{client:?} is connected and was closed: {deliveries:?}"));
            }
            if deliveries.dropped && !self.undelivered.contains(client)
                || !open && ends == 0 && !deliveries.forgotten
            {
                defects.push(format!("{client:?} was never closed: {deliveries:?}"));
            }
        }
        defects
    }
}

impl Gateway {
    fn new(incarnation: u64, shaken: Instant) -> Self {
        Self {
            incarnation,
            alive: true,
            cut: false,
            hidden: false,
            apart: BTreeSet::new(),
            outages: RegisterOutages::default(),
            clients: BTreeMap::new(),
            closed_clients: BTreeMap::new(),
            unassigned: Vec::new(),
            next: 0,
            shaken,
        }
    }
}

impl Worker {
    fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            alive: true,
            cut: false,
            stalled_since: None,
            detector: FailureDetector::new(GRACE, instance(incarnation)),
            known_clients: BTreeMap::new(),
            jobs: Vec::new(),
            handovers: Vec::new(),
        }
    }

    /// Whether it is running.
    const fn runs(&self) -> bool {
        self.alive && self.stalled_since.is_none()
    }

    /// The clients on a gateway that have these holders, and whether their owner has confirmed
    /// them.
    fn orphans(&self, gateway: u64, holders: &[InstanceId]) -> Vec<(Client, bool)> {
        let Some(clients_known) = self.known_clients.get(&gateway) else { return Vec::new() };
        let is_such = |incarnations: &[u64]| {
            incarnations
                .iter()
                .map(|incarnation| instance(*incarnation))
                .eq(holders.iter().cloned())
        };
        let such =
            clients_known.standby.iter().filter(|(_, (incarnations, _))| is_such(incarnations));
        such.map(|(client, (_, confirmed))| (*client, *confirmed)).collect()
    }

    fn forget(&mut self, gateway: u64, clients: &[(Client, bool)]) {
        if let Some(clients_known) = self.known_clients.get_mut(&gateway) {
            clients.iter().for_each(|(client, _)| drop(clients_known.standby.remove(client)));
        }
    }
}

impl KnownClients {
    /// The holders of the standby clients, each list once.
    fn groups(&self) -> Vec<Vec<InstanceId>> {
        let lists: BTreeSet<_> = self.standby.values().map(|(holders, _)| holders).collect();
        lists
            .into_iter()
            .map(|list| list.iter().map(|incarnation| instance(*incarnation)).collect())
            .collect()
    }
}

fn incarnation_of(name: &InstanceId) -> u64 {
    u64::from_str_radix(name.as_str(), 16).expect("an instance of the model")
}

#[test]
fn client_known_to_a_worker_is_closed_exactly_once_without_a_mark() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MODEL_SEEDS").unwrap_or(500),
    };
    // All clients, and the forgotten ones, by how many workers knew of them when their gateway
    // died.
    let (mut clients, mut forgotten) = ([0; WORKERS + 1], [0; WORKERS + 1]);
    for seed in seeds {
        let mut universe = Universe::new(seed);
        for _ in 0..STEPS {
            universe.step();
        }
        universe.settle();
        let defects = universe.defects();
        assert!(defects.is_empty(), "MODEL_SEED={seed}: {defects:#?}");
        for deliveries in universe.deliveries.values() {
            let holders = deliveries.holders.unwrap_or_default();
            clients[holders] += 1;
            forgotten[holders] += u32::from(deliveries.forgotten);
        }
    }
    // That requires several nearly simultaneous failures, and the more the more workers knew of it.
    let share = |of: &[u32], more: usize| of[more..].iter().sum::<u32>();
    for (more, most) in [(0, 20), (2, 8), (3, 20)] {
        let (few, all) = (share(&forgotten, more), share(&clients, more));
        assert!(
            few * most <= all,
            "{few} of {all} that {more} or more workers knew of were forgotten"
        );
    }
}
