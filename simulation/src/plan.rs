//! The processes and faults of a run, derived from a seed alone.

use std::{fmt, time::Duration};

use rand::{
    RngExt as _, SeedableRng as _,
    rngs::StdRng,
    seq::{IndexedRandom as _, SliceRandom as _},
};

/// A process, by its number among its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProcessId {
    /// Announces gateways to workers.
    Register(usize),
    /// Holds clients.
    Gateway(usize),
    /// Handles events.
    Worker(usize),
    /// All clients.
    Clients,
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The process is killed; its kernel closes its connections.
    Kill(ProcessId),
    /// The host loses power: its connections just fall silent.
    Vanish(ProcessId),
    /// The process receives SIGTERM.
    Drain(ProcessId),
    /// The process is stopped; its kernel is not.
    Pause(ProcessId),
    /// Packets from one to the other are dropped.
    Block(ProcessId, ProcessId),
    /// All its packets are dropped.
    Isolate(ProcessId),
    /// Packets from one to the other are delayed by that much.
    SlowDown(ProcessId, ProcessId, Duration),
    /// Connections between the two break, at one end or at both.
    Cut(ProcessId, ProcessId, [bool; 2]),
}

/// A fault and its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Start, since the beginning of the run.
    pub at: Duration,
    /// End: terminated processes restart, blocked packets pass.
    pub until: Duration,
    /// The fault.
    pub fault: Fault,
}

/// The plan of a seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Number of registers.
    pub registers: usize,
    /// Number of threads of each gateway.
    pub gateways: Vec<usize>,
    /// Number of workers.
    pub workers: usize,
    /// Number of clients.
    pub clients: u32,
    /// The time between two messages of a client.
    pub every: Duration,
    /// Grace period of workers for an unreachable gateway, in seconds.
    pub grace: u64,
    /// When, and on which gateway, a client sends a poison message; for some seeds.
    pub poison: Option<(Duration, usize)>,
    /// Messages that gateways read from a client in a second; for some seeds. More than it sends, and
    /// fewer than it has to send again after a fault.
    pub message_rate: Option<u32>,
    /// Whether workers ask for reports on some of the messages that they forward; for some seeds.
    pub reports: bool,
    /// Whether workers decide about handshakes; for some seeds.
    pub handshakes: bool,
    /// Which messages gateways compress for the clients that negotiate it; for some seeds.
    pub compression: Option<&'static str>,
    /// Number of connections that a uid may have; for some seeds, in which a crowd has one uid.
    pub uid_limit: Option<u64>,
    /// Whether workers watch a group, which clients join as members; for some seeds.
    pub members: bool,
    /// In order of their start.
    pub steps: Vec<Step>,
}

/// Earliest start of a fault: all processes are linked by then.
const QUIET: Duration = Duration::from_secs(4);

/// Grace period of workers for an unreachable gateway, in seconds.
pub const GRACE: u64 = 3;

/// Time after the last fault until every worker is linked to every gateway.
const CALM: Duration = Duration::from_secs(15);

/// Time between the deaths of two workers.
const TURN: Duration = Duration::from_millis(1_900);

/// Maximum duration of a fault: longer than the peer timeout and the grace period together.
const LONG: f64 = 14.0;

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let gateways = (0..rng.random_range(2..=3)).map(|_| rng.random_range(1..=2)).collect();
        let mut plan = Self {
            registers: rng.random_range(1..=2),
            gateways,
            workers: rng.random_range(2..=3),
            clients: rng.random_range(3..=6) * 4,
            every: Duration::from_millis(rng.random_range(100..400)),
            grace: GRACE,
            poison: None,
            message_rate: None,
            reports: false,
            handshakes: false,
            compression: None,
            uid_limit: None,
            members: false,
            steps: Vec::new(),
        };
        // A generator of its own, so that the rest of a seed's plan stays the same.
        let mut other = StdRng::seed_from_u64(seed ^ 0x706f_6973_6f6e);
        if other.random_bool(0.4) {
            let at = Duration::from_secs_f64(other.random_range(4.0..20.0));
            plan.poison = Some((at, other.random_range(0..plan.gateways.len())));
        }
        let mut other = StdRng::seed_from_u64(seed ^ 0x7261_7465);
        plan.message_rate = other.random_bool(0.3).then(|| other.random_range(12..40));
        let mut other = StdRng::seed_from_u64(seed ^ 0x7265_706f_7274);
        plan.reports = other.random_bool(0.5);
        let mut other = StdRng::seed_from_u64(seed ^ 0x0068_616e_6473);
        plan.handshakes = other.random_bool(0.3);
        let mut other = StdRng::seed_from_u64(seed ^ 0x6465_666c_6174);
        plan.compression = ["all", "fan-out"].get(other.random_range(0..5)).copied();
        let mut other = StdRng::seed_from_u64(seed ^ 0x0063_726f_7764);
        plan.uid_limit = other.random_bool(0.3).then(|| other.random_range(2..=3));
        let mut other = StdRng::seed_from_u64(seed ^ 0x6d65_6d62_6572);
        plan.members = other.random_bool(0.4);
        let faults = rng.random_range(3..=9);
        let mut at = QUIET;
        for _ in 0..faults {
            // Some faults coincide, or nearly.
            at += Duration::from_secs_f64(match rng.random_range(0..10) {
                0..3 => 0.0,
                3..6 => rng.random_range(0.0..0.5),
                _ => rng.random_range(0.5..6.0),
            });
            let lasts = match rng.random_range(0..10) {
                0..4 => rng.random_range(0.05..1.0),
                4..8 => rng.random_range(1.0..5.0),
                _ => rng.random_range(5.0..LONG),
            };
            let fault = plan.fault(&mut rng);
            plan.steps.push(Step { at, until: at + Duration::from_secs_f64(lasts), fault });
        }
        if plan.workers == 3 && rng.random_bool(0.5) {
            plan.succession(&mut rng);
        }
        plan
    }

    /// Once every worker is linked to every gateway again, a gateway dies; before workers declare it dead, those
    /// that know its clients die one after the other. Each restarts at once, so two run at any time.
    fn succession(&mut self, rng: &mut StdRng) {
        self.grace = 2 * GRACE;
        let last = self.steps.iter().map(|step| step.until).max().unwrap_or(QUIET);
        let mut at = last + CALM;
        let gateway = ProcessId::Gateway(rng.random_range(0..self.gateways.len()));
        let until = at + Duration::from_secs_f64(rng.random_range(8.0..LONG));
        self.steps.push(Step { at, until, fault: Fault::Kill(gateway) });
        let mut workers: Vec<_> = (0..self.workers).map(ProcessId::Worker).collect();
        workers.shuffle(rng);
        for worker in workers {
            at += Duration::from_secs_f64(rng.random_range(0.0..0.3));
            let until = at + Duration::from_secs_f64(rng.random_range(0.05..0.4));
            self.steps.push(Step { at, until, fault: Fault::Kill(worker) });
            at += TURN;
        }
    }

    fn fault(&self, rng: &mut StdRng) -> Fault {
        let all = self.servers();
        let pick = |rng: &mut StdRng| *all.choose(rng).expect("there is a register");
        let id = pick(rng);
        let other = loop {
            let other = pick(rng);
            if other != id {
                break other;
            }
        };
        let register = matches!(id, ProcessId::Register(_));
        match rng.random_range(0..20) {
            0..5 => Fault::Kill(id),
            5..7 => Fault::Vanish(id),
            7..9 if !register => Fault::Drain(id),
            7..12 => Fault::Pause(id),
            12..15 => Fault::Block(id, other),
            15 => Fault::Isolate(id),
            16 => Fault::SlowDown(
                ProcessId::Clients,
                id,
                Duration::from_millis(rng.random_range(1..300)),
            ),
            17 => Fault::SlowDown(id, other, Duration::from_millis(rng.random_range(1..900))),
            _ => Fault::Cut(
                id,
                other,
                *[[true, true], [true, false], [false, true]]
                    .choose(rng)
                    .expect("three are written here"),
            ),
        }
    }

    /// All processes except the clients.
    pub fn servers(&self) -> Vec<ProcessId> {
        let registers = (0..self.registers).map(ProcessId::Register);
        let gateways = (0..self.gateways.len()).map(ProcessId::Gateway);
        let workers = (0..self.workers).map(ProcessId::Worker);
        registers.chain(gateways).chain(workers).collect()
    }
}

impl Fault {
    /// Its kind, for a summary.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Kill(_) => "killed",
            Self::Vanish(_) => "vanished",
            Self::Drain(_) => "drained",
            Self::Pause(_) => "paused",
            Self::Block(..) => "blocked",
            Self::Isolate(_) => "isolated",
            Self::SlowDown(..) => "slowed down",
            Self::Cut(..) => "cut",
        }
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(number) => write!(f, "register-{number}"),
            Self::Gateway(number) => write!(f, "gateway-{number}"),
            Self::Worker(number) => write!(f, "worker-{number}"),
            Self::Clients => f.write_str("clients"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, until, kind) = (self.at, self.until, self.fault.kind());
        write!(f, "{at:>8.3?} to {until:>8.3?} {kind}: ")?;
        match self.fault {
            Fault::Kill(id)
            | Fault::Vanish(id)
            | Fault::Drain(id)
            | Fault::Pause(id)
            | Fault::Isolate(id) => write!(f, "{id}"),
            Fault::Block(from, to) => write!(f, "{from} to {to}"),
            Fault::SlowDown(from, to, by) => write!(f, "{from} to {to} by {by:?}"),
            Fault::Cut(one, other, [near, far]) => {
                let ends = if near && far {
                    "both ends"
                } else if near {
                    "first end"
                } else {
                    "second end"
                };
                write!(f, "{one} and {other}, {ends}")
            }
        }
    }
}
