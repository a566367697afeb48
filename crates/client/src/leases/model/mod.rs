//! A small world around [`Leases`]: gateways, workers and a register that crash, are cut off and come
//! back, in an order that follows from a seed. Afterwards everybody who was told of a client must
//! have been told of its end, and nobody twice without a mark.
//!
//! What decides is the real thing; the others do what ARCHITECTURE.md and `docs/guarantees.md` say,
//! as far as it matters here. `LEASES_SEEDS=100000 cargo test -p client model` is the long form, and
//! `LEASES_SEED=7` plays one seed again.

mod decisions;
mod faults;
mod gateways;
mod links;
mod sight;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::discovery;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;
use sight::Sight;

const GRACE: Duration = Duration::from_secs(10);
const GATEWAYS: usize = 3;
const WORKERS: usize = 3;
const STEPS: usize = 250;

/// How many standbys a client has.
const STANDBYS: usize = 2;

/// How long a worker may stand still until gateways give it up.
const PATIENCE: Duration = Duration::from_secs(3);

/// A client, named by the life of its gateway.
type Client = (u64, u32);

#[derive(Clone, Debug)]
enum ToWorker {
    /// A client's first event.
    Connect(Client, bool),
    Close(Client, bool),
    Adopt(Client, bool),
    /// The client, the lives of its holders, and whether the owner is known to know it.
    Standby(Client, Vec<u64>, bool),
    Release(Client),
    Pong,
}

#[derive(Clone, Debug)]
enum ToGateway {
    /// An event of this client is done; whether it was its last.
    Done(Client, bool),
    Ping,
    WrittenOff,
}

/// A link, as both ends see it: an end that has not noticed yet still holds its own.
#[derive(Debug)]
struct Link {
    gateway: usize,
    worker: usize,
    life: u64,
    owner: u64,
    down: VecDeque<ToWorker>,
    up: VecDeque<ToGateway>,
    gateway_end: bool,
    worker_end: bool,
    /// When the gateway's end was closed.
    closed: Option<Instant>,
    /// Whether the worker has told a gateway that is there that it is over.
    written_off: bool,
    // What the gateway holds of it.
    undone: Vec<(Client, bool)>,
    // What the worker holds of it.
    estate: Estate,
}

#[derive(Debug, Default)]
struct Estate {
    /// Whether each is in doubt: its latest event was marked.
    own: BTreeMap<Client, bool>,
    /// Clients that are stood by for: the lives of their holders, and whether the owner is known to know
    /// them.
    standby: BTreeMap<Client, (Vec<u64>, bool)>,
}

#[derive(Debug)]
struct Gateway {
    life: u64,
    alive: bool,
    /// Cut off from everybody.
    cut: bool,
    /// Cut off from the register, and from these workers.
    hidden: bool,
    apart: BTreeSet<usize>,
    sight: Sight,
    clients: BTreeMap<Client, Standing>,
    /// Clients that are gone, until a worker is done with that.
    departed: BTreeMap<Client, Departed>,
    held: Vec<(Client, bool, bool)>,
    next: u32,
    /// When one of its links was last cut without it.
    shaken: Instant,
}

/// The links of those who are told of the end of a client that is gone, or stand by.
#[derive(Clone, Debug)]
struct Departed {
    owner: Option<usize>,
    standbys: Vec<usize>,
    confirmed: bool,
}

/// The links of a client's owner and standbys.
#[derive(Clone, Debug, Default)]
struct Standing {
    owner: Option<usize>,
    /// The owner that standbys were told of.
    named: Option<usize>,
    standbys: Vec<usize>,
    /// Whether that owner may not know of the client yet.
    unconfirmed: bool,
    /// When the link of an owner before was lost.
    lost: Option<Instant>,
}

#[derive(Debug)]
struct Worker {
    life: u64,
    alive: bool,
    cut: bool,
    /// Since when it stands still.
    still: Option<Instant>,
    leases: Leases,
    estates: BTreeMap<u64, Estate>,
    jobs: Vec<Job>,
    /// What is to be handed over.
    handovers: Vec<HandOver>,
}

/// Clients that are being closed on behalf of a gateway.
#[derive(Debug)]
struct Job {
    left: Vec<(Client, bool)>,
    /// What to say then.
    done: Option<Done>,
}

#[derive(Debug)]
enum Done {
    Settled(Settled),
    TakenOver(Takeover),
}

#[derive(Debug, Default)]
struct Register {
    alive: bool,
    gateways: BTreeSet<(usize, u64)>,
    workers: BTreeSet<(usize, u64)>,
    settled: Vec<Settled>,
    takeovers: Vec<Takeover>,
}

#[derive(Debug, Default)]
struct Told {
    connects: u32,
    closes: u32,
    marked: u32,
    /// How many workers that were there knew of it when its gateway died.
    holders: Option<usize>,
    /// Nobody who knew of it was left.
    forgotten: bool,
    /// Those who did have forgotten it, and live.
    dropped: bool,
}

struct Universe {
    dice: StdRng,
    now: Instant,
    lives: u64,
    gateways: Vec<Gateway>,
    workers: Vec<Worker>,
    register: Register,
    /// By number, which names a link for good.
    links: BTreeMap<usize, Link>,
    last_link: usize,
    told: BTreeMap<Client, Told>,
    /// Clients that a standby was to be told something of which was lost with their gateway.
    unheard: BTreeSet<Client>,
    /// Lives that somebody took for over.
    over: BTreeSet<u64>,
}

fn instance(life: u64) -> Instance {
    Instance::from_dice(life)
}

fn address(gateway: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, gateway as u8], 2900))
}

impl Universe {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let mut universe = Self {
            dice: StdRng::seed_from_u64(seed),
            now,
            lives: 0,
            gateways: Vec::new(),
            workers: Vec::new(),
            register: Register { alive: true, ..Register::default() },
            links: BTreeMap::new(),
            last_link: 0,
            told: BTreeMap::new(),
            unheard: BTreeSet::new(),
            over: BTreeSet::new(),
        };
        for _ in 0..GATEWAYS {
            let life = universe.live();
            universe.gateways.push(Gateway::new(life, now));
        }
        for _ in 0..WORKERS {
            let life = universe.live();
            universe.workers.push(Worker::new(life));
        }
        universe
    }

    fn live(&mut self) -> u64 {
        self.lives += 1;
        self.lives
    }

    fn below(&mut self, bound: usize) -> usize {
        self.dice.random_range(0..bound)
    }

    fn step(&mut self) {
        let (gateway, worker) = (self.below(GATEWAYS), self.below(WORKERS));
        match self.dice.random_range(0..125) {
            0..8 => self.connect(gateway),
            8..12 => self.leave(gateway),
            12..48 => self.deliver_some(),
            48..56 => (0..WORKERS).for_each(|worker| self.link(gateway, worker)),
            56..62 => self.notice(),
            62..68 => self.announce(),
            68..76 => self.hear(worker),
            76..80 => self.say(worker),
            80..86 => self.close_one(worker),
            86..93 => self.pass(),
            93..94 => self.cut_link(),
            94 => self.kill_gateway(gateway),
            95 => self.kill_worker(worker),
            96 => self.kill_register(),
            97 => self.cut_off(gateway, worker),
            98 => self.hide(gateway),
            99 => self.stand_still(worker),
            100..110 => (0..WORKERS).for_each(|worker| {
                self.decide(worker);
                self.hand_over(worker);
            }),
            _ => self.come_back(),
        }
    }

    /// Everything that is cut off comes back, and time passes until nothing moves any more.
    fn settle(&mut self) {
        for worker in 0..WORKERS {
            self.workers[worker].cut = false;
            self.wake(worker);
        }
        if self.workers.iter().all(|worker| !worker.alive) {
            let life = self.live();
            self.workers[0] = Worker::new(life);
        }
        self.register.alive = true;
        self.announce_all();
        for gateway in 0..GATEWAYS {
            self.heal(gateway);
            let Gateway { cut, hidden, .. } = self.gateways[gateway];
            assert!(!cut && !hidden, "nobody is cut off any more");
        }
        for _ in 0..12 {
            for id in self.links.keys().copied().collect::<Vec<_>>() {
                self.notice_at(id);
            }
            self.announce_all();
            for worker in 0..WORKERS {
                self.say(worker);
                self.hear(worker);
                for at in 0..GATEWAYS {
                    self.link(at, worker);
                }
            }
            for id in self.links.keys().copied().collect::<Vec<_>>() {
                while self.deliver_up(id) | self.deliver_down(id) {}
            }
            // A worker that decides too late has stood still.
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

    /// What is wrong with what clients' workers were told.
    fn defects(&self) -> Vec<String> {
        let mut defects = Vec::new();
        for (client, told) in &self.told {
            let of = |it: &Gateway| it.alive && it.life == client.0;
            let at = self.gateways.iter().position(of);
            let at = at.filter(|at| self.gateways[*at].clients.contains_key(client));
            let open = at.is_some();
            let ends = told.closes + told.marked;
            if 1 < told.connects || 1 < told.closes {
                defects.push(format!("{client:?} twice without a mark: {told:?}"));
            }
            // Whoever has closed it may be gone before it could say so; then its end is marked.
            if ends != 0 && at.is_some_and(|at| !self.is_doubtful(at, *client)) {
                defects.push(format!("{client:?} is there and was closed: {told:?}"));
            }
            if told.dropped && !self.unheard.contains(client)
                || !open && ends == 0 && !told.forgotten
            {
                defects.push(format!("{client:?} was never closed: {told:?}"));
            }
        }
        defects
    }
}

impl Gateway {
    fn new(life: u64, shaken: Instant) -> Self {
        Self {
            life,
            alive: true,
            cut: false,
            hidden: false,
            apart: BTreeSet::new(),
            sight: Sight::default(),
            clients: BTreeMap::new(),
            departed: BTreeMap::new(),
            held: Vec::new(),
            next: 0,
            shaken,
        }
    }
}

impl Worker {
    fn new(life: u64) -> Self {
        Self {
            life,
            alive: true,
            cut: false,
            still: None,
            leases: Leases::new(GRACE, instance(life)),
            estates: BTreeMap::new(),
            jobs: Vec::new(),
            handovers: Vec::new(),
        }
    }

    /// Whether it does anything.
    const fn runs(&self) -> bool {
        self.alive && self.still.is_none()
    }

    /// The clients on a gateway that have these holders, and whether their owner knows them.
    fn orphans(&self, gateway: u64, holders: &[Instance]) -> Vec<(Client, bool)> {
        let Some(estate) = self.estates.get(&gateway) else { return Vec::new() };
        let is_such =
            |lives: &[u64]| lives.iter().map(|life| instance(*life)).eq(holders.iter().cloned());
        let such = estate.standby.iter().filter(|(_, (lives, _))| is_such(lives));
        such.map(|(client, (_, confirmed))| (*client, *confirmed)).collect()
    }

    fn forget(&mut self, gateway: u64, clients: &[(Client, bool)]) {
        if let Some(estate) = self.estates.get_mut(&gateway) {
            clients.iter().for_each(|(client, _)| drop(estate.standby.remove(client)));
        }
    }
}

impl Estate {
    /// The holders of the clients that are stood by for, each list once.
    fn groups(&self) -> Vec<Vec<Instance>> {
        let lists: BTreeSet<_> = self.standby.values().map(|(holders, _)| holders).collect();
        lists.into_iter().map(|list| list.iter().map(|life| instance(*life)).collect()).collect()
    }
}

fn life_of(name: &Instance) -> u64 {
    u64::from_str_radix(name.as_str(), 16).expect("ours")
}

#[test]
fn whoever_was_told_of_a_client_is_told_of_its_end() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("LEASES_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LEASES_SEEDS").unwrap_or(500),
    };
    // All clients, and those that were forgotten, by how many knew of them when their gateway died.
    let (mut clients, mut forgotten) = ([0; WORKERS + 1], [0; WORKERS + 1]);
    for seed in seeds {
        let mut universe = Universe::new(seed);
        for _ in 0..STEPS {
            universe.step();
        }
        universe.settle();
        let defects = universe.defects();
        assert!(defects.is_empty(), "LEASES_SEED={seed}: {defects:#?}");
        for told in universe.told.values() {
            let holders = told.holders.unwrap_or_default();
            clients[holders] += 1;
            forgotten[holders] += u32::from(told.forgotten);
        }
    }
    // Several must die at nearly the same time for that, and the more the more knew of it.
    let share = |of: &[u32], more: usize| of[more..].iter().sum::<u32>();
    for (more, most) in [(0, 20), (2, 8), (3, 20)] {
        let (few, all) = (share(&forgotten, more), share(&clients, more));
        assert!(few * most <= all, "{few} of {all} that {more} knew of were forgotten");
    }
}
