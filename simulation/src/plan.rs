//! Who there is, and what is done to them and when: follows from a seed alone.

use std::{fmt, time::Duration};

use rand::{
    RngExt as _, SeedableRng as _,
    rngs::StdRng,
    seq::{IndexedRandom as _, SliceRandom as _},
};

/// A process, by its number among its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Tells workers where gateways are.
    Register(usize),
    /// Holds clients.
    Gateway(usize),
    /// Handles events.
    Worker(usize),
    /// All clients.
    Crowd,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// It is gone from one moment to the next; its kernel closes its connections.
    Kill(Who),
    /// Its host loses power: nobody hears anything of it.
    Vanish(Who),
    /// It is asked to end.
    Drain(Who),
    /// It stands still; its kernel does not.
    Pause(Who),
    /// Nothing gets from the one to the other.
    Block(Who, Who),
    /// Nothing gets to it, nor from it.
    Isolate(Who),
    /// What gets from the one to the other takes that much longer.
    SlowDown(Who, Who, Duration),
    /// Connections between the two break, for the end at the one, at the other, or at both.
    Cut(Who, Who, [bool; 2]),
}

/// When what is done, and for how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Since the beginning.
    pub at: Duration,
    /// When it is over: who was ended is started again, what was blocked gets through.
    pub until: Duration,
    /// What.
    pub fault: Fault,
}

/// What a seed brings.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How many registers.
    pub registers: usize,
    /// How many threads each gateway has.
    pub gateways: Vec<usize>,
    /// How many workers.
    pub workers: usize,
    /// How many clients.
    pub clients: u32,
    /// The time between two messages of a client.
    pub every: Duration,
    /// How long workers believe that a gateway out of reach will be back, in seconds.
    pub grace: u64,
    /// When, and on which gateway, a client comes whose message ends whoever handles it; for some seeds.
    pub poison: Option<(Duration, usize)>,
    /// In the order in which they come.
    pub steps: Vec<Step>,
}

/// When the first fault may happen: everybody has found everybody by then.
const QUIET: Duration = Duration::from_secs(4);

/// How long workers believe that a gateway out of reach will be back, in seconds.
pub const GRACE: u64 = 3;

/// How long it takes, after the last fault, until every worker is linked to every gateway.
const CALM: Duration = Duration::from_secs(15);

/// The time from the death of one worker to that of the next.
const TURN: Duration = Duration::from_millis(1_900);

/// The longest that a fault lasts: longer than anybody believes in a silent peer and, after that,
/// in a gateway that no register names.
const LONG: f64 = 14.0;

impl Plan {
    /// That of a seed.
    pub fn of(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let gateways = (0..dice.random_range(2..=3)).map(|_| dice.random_range(1..=2)).collect();
        let mut plan = Self {
            registers: dice.random_range(1..=2),
            gateways,
            workers: dice.random_range(2..=3),
            clients: dice.random_range(3..=6) * 4,
            every: Duration::from_millis(dice.random_range(100..400)),
            grace: GRACE,
            poison: None,
            steps: Vec::new(),
        };
        // Dice of its own, so that it changes nothing else of a seed.
        let mut other = StdRng::seed_from_u64(seed ^ 0x706f_6973_6f6e);
        if other.random_bool(0.4) {
            let at = Duration::from_secs_f64(other.random_range(4.0..20.0));
            plan.poison = Some((at, other.random_range(0..plan.gateways.len())));
        }
        let faults = dice.random_range(3..=9);
        let mut at = QUIET;
        for _ in 0..faults {
            // Some come together, or nearly so.
            at += Duration::from_secs_f64(match dice.random_range(0..10) {
                0..3 => 0.0,
                3..6 => dice.random_range(0.0..0.5),
                _ => dice.random_range(0.5..6.0),
            });
            let lasts = match dice.random_range(0..10) {
                0..4 => dice.random_range(0.05..1.0),
                4..8 => dice.random_range(1.0..5.0),
                _ => dice.random_range(5.0..LONG),
            };
            let fault = plan.fault(&mut dice);
            plan.steps.push(Step { at, until: at + Duration::from_secs_f64(lasts), fault });
        }
        if plan.workers == 3 && dice.random_bool(0.5) {
            plan.succession(&mut dice);
        }
        plan
    }

    /// When every worker is linked to every gateway again, a gateway dies, and before workers have decided that it
    /// has, one after the other of those that knew its clients: each is started again at once, and two are
    /// there at any time.
    fn succession(&mut self, dice: &mut StdRng) {
        self.grace = 2 * GRACE;
        let last = self.steps.iter().map(|step| step.until).max().unwrap_or(QUIET);
        let mut at = last + CALM;
        let gateway = Who::Gateway(dice.random_range(0..self.gateways.len()));
        let until = at + Duration::from_secs_f64(dice.random_range(8.0..LONG));
        self.steps.push(Step { at, until, fault: Fault::Kill(gateway) });
        let mut workers: Vec<_> = (0..self.workers).map(Who::Worker).collect();
        workers.shuffle(dice);
        for worker in workers {
            at += Duration::from_secs_f64(dice.random_range(0.0..0.3));
            let until = at + Duration::from_secs_f64(dice.random_range(0.05..0.4));
            self.steps.push(Step { at, until, fault: Fault::Kill(worker) });
            at += TURN;
        }
    }

    fn fault(&self, dice: &mut StdRng) -> Fault {
        let all = self.servers();
        let pick = |dice: &mut StdRng| *all.choose(dice).expect("there is a register");
        let who = pick(dice);
        let other = loop {
            let other = pick(dice);
            if other != who {
                break other;
            }
        };
        let register = matches!(who, Who::Register(_));
        match dice.random_range(0..20) {
            0..5 => Fault::Kill(who),
            5..7 => Fault::Vanish(who),
            7..9 if !register => Fault::Drain(who),
            7..12 => Fault::Pause(who),
            12..15 => Fault::Block(who, other),
            15 => Fault::Isolate(who),
            16 => {
                Fault::SlowDown(Who::Crowd, who, Duration::from_millis(dice.random_range(1..300)))
            }
            17 => Fault::SlowDown(who, other, Duration::from_millis(dice.random_range(1..900))),
            _ => Fault::Cut(
                who,
                other,
                *[[true, true], [true, false], [false, true]]
                    .choose(dice)
                    .expect("three are written here"),
            ),
        }
    }

    /// Every process but the clients.
    pub fn servers(&self) -> Vec<Who> {
        let registers = (0..self.registers).map(Who::Register);
        let gateways = (0..self.gateways.len()).map(Who::Gateway);
        let workers = (0..self.workers).map(Who::Worker);
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

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(number) => write!(f, "register-{number}"),
            Self::Gateway(number) => write!(f, "gateway-{number}"),
            Self::Worker(number) => write!(f, "worker-{number}"),
            Self::Crowd => f.write_str("clients"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, until, kind) = (self.at, self.until, self.fault.kind());
        write!(f, "{at:>8.3?} to {until:>8.3?} {kind}: ")?;
        match self.fault {
            Fault::Kill(who)
            | Fault::Vanish(who)
            | Fault::Drain(who)
            | Fault::Pause(who)
            | Fault::Isolate(who) => write!(f, "{who}"),
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
