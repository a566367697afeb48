//! The run of one seed, from start to account.

mod faults;
mod processes;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use simulated::control::{self, Host};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    account::{Account, Balance, Leniency, open_ends},
    clients::{Phase, Progress},
    journal,
    known_gaps::History,
    observer,
    plan::{Plan, ProcessId},
    poison::{self, Fate},
    process::Process,
    settings::{self, Gauges},
};

/// The result of a seed.
#[derive(Debug)]
pub struct Outcome {
    /// The plan.
    pub plan: Rc<Plan>,
    /// Counts and violations.
    pub balance: Balance,
    /// Duration in simulated nanoseconds.
    pub took: u64,
    /// Number of processes started.
    pub lives: usize,
    /// Digest of the trace.
    pub digest: u64,
    /// The trace, if requested.
    pub trace: Vec<String>,
}

const SECOND: u64 = 1_000_000_000;

/// Processes run to multiples of this, the resolution of their timers.
const TICK: u64 = 1_000_000;

/// Maximum lag of an idle process behind the others.
const LAG: u64 = 10 * TICK;

/// Minimum downtime of a drained process.
const AWAY: u64 = 200 * TICK;

/// Timeout for any expected condition.
const PATIENCE: u64 = 90 * SECOND;

/// Timeout for the next close: longer than the grace period for a gateway and the takeover behind it.
const ENDS: u64 = 30 * SECOND;

/// The slot of a process.
struct ManagedProcess {
    id: ProcessId,
    process: Option<Process>,
    /// Its instance number.
    life: usize,
    stop: CancellationToken,
    /// Number of faults that pause it.
    paused: usize,
    /// Whether its host is powered off.
    off: bool,
    /// Earliest restart.
    away: u64,
    /// Whether it is draining.
    stopping: bool,
    gauges: Gauges,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Begin,
    End,
}

struct World {
    seed: u64,
    plan: Rc<Plan>,
    actors: Vec<ManagedProcess>,
    account: Account,
    history: History,
    lives: usize,
    /// By step, the paused instance.
    paused: BTreeMap<usize, usize>,
    phase: watch::Sender<Phase>,
    progress: Rc<Progress>,
    /// The outcome for the client with the poison message.
    fate: Rc<Fate>,
    closing: bool,
}

/// Runs a seed; `lines` keeps every step.
pub fn run(seed: u64, lines: bool) -> Outcome {
    control::begin(seed, lines);
    journal::take();
    poison::begin();
    let mut world = World::new(seed);
    world.play();
    let World { plan, lives, mut account, history, progress, actors, .. } = world;
    history.limits(&plan, &mut account);
    account.records(journal::take());
    for mut life in progress.lives.take() {
        history.cut_short(&plan, &mut life);
        account.life(life);
    }
    for panic in crate::panics::take() {
        account.blemish(panic);
    }
    let took = control::now();
    drop(actors);
    let balance = account.balance(Leniency { overtaken: true, in_time: None });
    let (digest, trace) = control::trace();
    Outcome { plan, balance, took, lives, digest, trace }
}

impl World {
    fn new(seed: u64) -> Self {
        let plan = Rc::new(Plan::of(seed));
        let actors = plan.servers().into_iter().chain([ProcessId::Clients]).map(|id| {
            let _ = control::add_host();
            ManagedProcess {
                id,
                process: None,
                life: 0,
                stop: CancellationToken::new(),
                paused: 0,
                off: false,
                away: 0,
                stopping: false,
                gauges: Gauges::default(),
            }
        });
        Self {
            seed,
            actors: actors.collect(),
            plan,
            account: Account::default(),
            history: History::default(),
            lives: 0,
            paused: BTreeMap::new(),
            phase: watch::Sender::new(Phase::Talk),
            progress: Rc::default(),
            fate: Rc::default(),
            closing: false,
        }
    }

    fn host(&self, id: ProcessId) -> Host {
        let (registers, gateways) = (self.plan.registers, self.plan.gateways.len());
        match id {
            ProcessId::Register(number) => number,
            ProcessId::Gateway(number) => registers + number,
            ProcessId::Worker(number) => registers + gateways + number,
            ProcessId::Clients => registers + gateways + self.plan.workers,
        }
    }

    fn play(&mut self) {
        for host in 0..self.actors.len() {
            self.start(host);
        }
        let mut parts = BTreeMap::new();
        for (number, step) in self.plan.steps.iter().enumerate() {
            parts.insert((step.at.as_nanos() as u64, Part::Begin, number), step.fault);
            parts.insert((step.until.as_nanos() as u64, Part::End, number), step.fault);
        }
        for ((at, part, number), fault) in parts {
            self.until(at);
            match part {
                Part::Begin => self.begin(number, fault),
                Part::End => self.end(number, fault),
            }
        }
        let all_run = self.wait(PATIENCE, |world| {
            world.actors.iter().all(|actor| actor.process.is_some() && !actor.stopping)
        });
        self.expect(all_run, "not everybody came back");
        self.pause(3 * SECOND);
        self.phase.send_replace(Phase::Listen);
        self.pause(SECOND);
        let settled = self.wait(PATIENCE, |world| world.progress.staying == world.progress.settled);
        self.expect(settled, "not everybody had answers");
        self.look_at_poison();
        self.quiet(|world| world.progress.received.get());
        self.look();
        self.phase.send_replace(Phase::Leave);
        let clients = self.plan.clients as usize;
        let left = self.wait(PATIENCE, |world| world.progress.left.get() == clients);
        self.expect(left, "not everybody left");
        self.ends();
        self.agree(0);
        self.close();
    }

    /// Waits until workers have received all closes, or no more arrive.
    fn ends(&mut self) {
        let mut moved = (control::now(), 0);
        loop {
            let (known, ended) = journal::look(open_ends);
            if ended != moved.1 {
                moved = (control::now(), ended);
            }
            let patience = if known == ended { 2 * SECOND } else { ENDS };
            if moved.0 + patience < control::now() {
                return;
            }
            self.pause(SECOND / 10);
        }
    }

    /// Waits until a value stays the same for a while.
    fn quiet(&mut self, count: impl Fn(&Self) -> usize) {
        loop {
            let before = count(self);
            self.pause(2 * SECOND);
            if before == count(self) {
                return;
            }
        }
    }

    /// Drains every process.
    fn close(&mut self) {
        self.closing = true;
        for kind in [
            |id| matches!(id, ProcessId::Gateway(_)),
            |id| matches!(id, ProcessId::Worker(_)),
            |id| matches!(id, ProcessId::Register(_)),
        ] as [fn(ProcessId) -> bool; 3]
        {
            for actor in self.actors.iter_mut().filter(|actor| kind(actor.id)) {
                actor.stopping = true;
                actor.stop.cancel();
            }
            let ended = self.wait(PATIENCE, |world| {
                let mut these = world.actors.iter().filter(|actor| kind(actor.id));
                these.all(|actor| actor.process.is_none())
            });
            self.expect(ended, "some processes did not exit");
        }
    }

    fn expect(&mut self, holds: bool, what: &str) {
        if !holds {
            let missing: Vec<_> =
                self.actors.iter().map(|it| (it.id, it.process.is_some())).collect();
            self.account.blemish(format!(
                "{what}: {missing:?} {:?} {:?}",
                self.progress.staying, self.progress.settled
            ));
        }
    }

    /// Checks that the poison message was given up soon enough.
    fn look_at_poison(&mut self) {
        let Some((at, gateway)) = self.plan.poison else { return };
        // Clients of a powered-off host notice nothing.
        let died = |world: &Self| world.history.has_died_since(gateway, at.as_nanos() as u64);
        self.wait(PATIENCE, |world| world.fate.ended.get() || died(world));
        let ended_with_it = died(self);
        let Fate { sent, given_up, ended } = &*self.fate;
        let (sent, given_up, ended) = (sent.get(), given_up.get(), ended.get());
        // Among others, announced, in a group, alone; and once more for each fault that may have hidden a
        // start or a crash.
        let (crashes, most) = (poison::crashes(), 4 + self.plan.steps.len());
        if most < crashes || sent && !ended && !ended_with_it || crashes == 0 && given_up {
            let what = "a message that ends workers";
            self.account.blemish(format!(
                "{what}: {crashes} ended, sent {sent}, given up {given_up}, closed {ended}"
            ));
        }
    }

    /// Checks that queries find every client that stays.
    fn look(&mut self) {
        let staying = self.progress.staying.get();
        self.agree(staying as i64);
        let registers = (0..self.plan.registers).map(|host| settings::register(host).to_string());
        let mut groups: BTreeMap<u32, u64> = BTreeMap::new();
        for client in 0..self.plan.clients {
            let token = crate::message::Token { client, life: 0 };
            *groups.entry(token.group_number()).or_default() += 1;
        }
        let names = groups.keys().map(|group| format!("g{group}")).collect();
        let seen = observer::Seen::default();
        let main = observer::run(registers.collect(), names, Rc::clone(&seen));
        let host = control::add_host();
        let Ok(process) = Process::start(host, main) else { return };
        self.actors.push(ManagedProcess {
            id: ProcessId::Clients,
            process: Some(process),
            life: 0,
            stop: CancellationToken::new(),
            paused: 0,
            off: false,
            away: u64::MAX,
            stopping: true,
            gauges: Gauges::default(),
        });
        let looked = self.wait(PATIENCE, |_| seen.borrow().is_some());
        self.expect(looked, "the query for connected clients had no answer");
        if let Some((all, members)) = seen.take() {
            let grouped: u64 = members.iter().sum();
            if all != staying as u64 || grouped != all {
                let what = format!("{staying} stay, gateways have {all}, groups {members:?}");
                self.account.blemish(what);
            }
        }
    }

    /// Checks that gateways hold these clients and nothing in flight.
    fn agree(&mut self, clients: i64) {
        let mut sum = BTreeMap::<String, i64>::new();
        for actor in &self.actors {
            for (name, value) in settings::read(&actor.gauges).unwrap_or_default() {
                *sum.entry(name).or_default() += value;
            }
        }
        for (name, expected) in [
            ("pushsuite_gateway_clients", clients),
            ("pushsuite_gateway_connections_open", clients),
            ("pushsuite_gateway_events_held_bytes", 0),
            ("pushsuite_gateway_events_in_flight_bytes", 0),
            ("pushsuite_gateway_client_bytes", 0),
        ] {
            let found = sum.get(name);
            if found != Some(&expected) {
                self.account.blemish(format!("{name} is {found:?}, not {expected}"));
            }
        }
    }

    // --- time ---------------------------------------------------------------------------------

    fn pause(&mut self, time: u64) {
        self.until(control::now() + time);
    }

    fn until(&mut self, end: u64) {
        while control::now() < end {
            self.step(end);
        }
    }

    /// Waits for a condition. `false` on timeout.
    fn wait(&mut self, patience: u64, holds: impl Fn(&Self) -> bool) -> bool {
        let end = control::now() + patience;
        while !holds(self) {
            if end <= control::now() {
                return false;
            }
            self.step(end);
        }
        true
    }

    /// Advances time to the next occurrence and runs the affected processes until then.
    fn step(&mut self, end: u64) {
        let now = control::now();
        let runs = |actor: &&ManagedProcess| actor.paused == 0 && actor.process.is_some();
        let lag = self.actors.iter().filter(runs).filter_map(|actor| actor.process.as_ref());
        let lag = lag.map(|process| process.now + LAG).min();
        let next = [control::next_arrival(), lag].into_iter().flatten().min().unwrap_or(end);
        let next = next.clamp(now + 1, end.max(now + 1)).div_ceil(TICK) * TICK;
        let touched: BTreeSet<_> = control::advance(next).into_iter().collect();
        for host in 0..self.actors.len() {
            let actor = &mut self.actors[host];
            let Some(process) = actor.process.as_mut().filter(|_| actor.paused == 0) else {
                if actor.process.is_none() && !self.closing && actor.away <= next {
                    if std::mem::take(&mut actor.off) {
                        control::switch_on(host);
                    }
                    self.start(host);
                }
                continue;
            };
            if !touched.contains(&host) && next < process.now + LAG {
                continue;
            }
            process.run(next);
            if poison::take_crashed(host) {
                self.kill(host, control::now() + AWAY);
                continue;
            }
            let Some(process) = &self.actors[host].process else { continue };
            if let Some(result) = process.ended() {
                self.ended(host, result);
            }
        }
    }
}
