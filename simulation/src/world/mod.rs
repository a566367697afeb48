//! The run of one seed, from start to account.

mod faults;
mod processes;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use simulated::control::{self, Host};
use test_support::{
    account::{Account, Balance, Leniency, count_closed_clients},
    clients::{Phase, Progress},
    message::Token,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    crowd::Crowd,
    handshakes, journal,
    known_gaps::History,
    members::Members,
    observer,
    plan::{Plan, ProcessId},
    poison::{self, PoisonOutcome},
    process::Process,
    reports::{self, Comparison},
    settings::{self, Metrics},
    websocket,
};

/// The result of a seed.
#[derive(Debug)]
pub struct Outcome {
    /// The plan.
    pub plan: Rc<Plan>,
    /// Counts and violations.
    pub balance: Balance,
    /// Counts of reports on forwarded messages.
    pub reports: reports::Counts,
    /// Counts of handshakes that workers decide about.
    pub handshakes: handshakes::Counts,
    /// Number of compressed messages that clients received.
    pub compressed: u64,
    /// Number of clients that were closed for a newer one with their uid.
    pub replaced: u64,
    /// Number of snapshots and changes of members that clients received.
    pub members: u64,
    /// Duration in simulated nanoseconds.
    pub took: u64,
    /// Number of processes started.
    pub instances: usize,
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
const CLOSE_TIMEOUT: u64 = 30 * SECOND;

/// The slot of a process.
struct ManagedProcess {
    id: ProcessId,
    process: Option<Process>,
    /// Its instance number.
    instance: usize,
    stop: CancellationToken,
    /// Number of faults that pause it.
    paused: usize,
    /// Whether its host is powered off.
    off: bool,
    /// Earliest restart.
    away: u64,
    /// Whether it is draining.
    stopping: bool,
    metrics: Metrics,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Begin,
    End,
}

struct World {
    seed: u64,
    plan: Rc<Plan>,
    processes: Vec<ManagedProcess>,
    account: Account,
    history: History,
    instances: usize,
    /// By step, the paused instance.
    paused: BTreeMap<usize, usize>,
    phase: watch::Sender<Phase>,
    progress: Arc<Progress>,
    /// The outcome for the client with the poison message.
    poison_outcome: Rc<PoisonOutcome>,
    /// The clients that have the same uid.
    crowd: Rc<Crowd>,
    /// The clients that are members of a watched group.
    members: Rc<Members>,
    closing: bool,
}

/// Runs a seed; `lines` keeps every step.
pub fn run(seed: u64, lines: bool) -> Outcome {
    control::begin(seed, lines);
    journal::take();
    reports::take();
    handshakes::take();
    websocket::take_compressed();
    poison::begin();
    let mut world = World::new(seed);
    world.run();
    let World {
        plan, instances, mut account, history, progress, processes, crowd, members, ..
    } = world;
    members.take_failures().into_iter().for_each(|failure| account.failure(failure));
    history.add_gaps(&plan, &mut account);
    let mut logs = progress.take_logs();
    logs.iter_mut().for_each(|log| history.cut_short(&plan, log));
    let disconnections = history.disconnections(&plan);
    let comparison =
        Comparison { plan: &plan, history: &history, logs: &logs, disconnections: &disconnections };
    let reports = comparison.check(&reports::take(), |what| account.failure(what));
    let records = journal::take();
    let answers = handshakes::take();
    let handshakes = match plan.handshakes {
        true => handshakes::check(&answers, &logs, &records, |what| account.failure(what)),
        false => handshakes::Counts::default(),
    };
    account.records(records);
    logs.into_iter().for_each(|log| account.connection(log));
    for panic in crate::panics::take() {
        account.failure(panic);
    }
    let compressed = websocket::take_compressed();
    let replaced = crowd.replaced.get();
    let took = control::now();
    drop(processes);
    let balance = account.balance(Leniency { overtaken: true, in_time: None });
    let (digest, trace) = control::trace();
    Outcome {
        plan,
        balance,
        reports,
        handshakes,
        compressed,
        replaced,
        members: members.seen.get(),
        took,
        instances,
        digest,
        trace,
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let plan = Rc::new(Plan::of(seed));
        let processes = plan.servers().into_iter().chain([ProcessId::Clients]).map(|id| {
            let _ = control::add_host();
            ManagedProcess {
                id,
                process: None,
                instance: 0,
                stop: CancellationToken::new(),
                paused: 0,
                off: false,
                away: 0,
                stopping: false,
                metrics: Metrics::default(),
            }
        });
        Self {
            seed,
            processes: processes.collect(),
            plan,
            account: Account::default(),
            history: History::default(),
            instances: 0,
            paused: BTreeMap::new(),
            phase: watch::Sender::new(Phase::Talk),
            progress: Arc::default(),
            poison_outcome: Rc::default(),
            crowd: Rc::default(),
            members: Rc::default(),
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

    fn run(&mut self) {
        for host in 0..self.processes.len() {
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
            world.processes.iter().all(|managed| managed.process.is_some() && !managed.stopping)
        });
        self.expect(all_run, "some processes did not restart");
        self.pause(3 * SECOND);
        self.phase.send_replace(Phase::Listen);
        self.pause(SECOND);
        let settled = self.wait(PATIENCE, |world| {
            count(&world.progress.staying) == count(&world.progress.settled)
        });
        self.expect(settled, "some clients lack answers");
        self.check_poison_outcome();
        self.quiet(|world| count(&world.progress.received));
        self.check_queries();
        self.phase.send_replace(Phase::Leave);
        let clients = u64::from(self.plan.clients);
        let left = self.wait(PATIENCE, |world| count(&world.progress.ended) == clients);
        self.expect(left, "some clients did not disconnect");
        self.wait_for_closes();
        let settled = self.wait(PATIENCE, |world| {
            world.sum_of("pushsuite_gateway_presence_groups") == 0
                && world.sum_of("pushsuite_gateway_presence_bytes") == 0
        });
        self.expect(settled, "some departures of members are not settled");
        self.check_gauges(0);
        self.close();
    }

    /// Waits until workers have received all closes, or no more arrive.
    fn wait_for_closes(&mut self) {
        let mut moved = (control::now(), 0);
        loop {
            let (known, ended) = journal::with_records(count_closed_clients);
            if ended != moved.1 {
                moved = (control::now(), ended);
            }
            let patience = if known == ended { 2 * SECOND } else { CLOSE_TIMEOUT };
            if moved.0 + patience < control::now() {
                return;
            }
            self.pause(SECOND / 10);
        }
    }

    /// Waits until a value stays the same for a while.
    fn quiet(&mut self, value: impl Fn(&Self) -> u64) {
        loop {
            let before = value(self);
            self.pause(2 * SECOND);
            if before == value(self) {
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
            for managed in self.processes.iter_mut().filter(|managed| kind(managed.id)) {
                managed.stopping = true;
                managed.stop.cancel();
            }
            let ended = self.wait(PATIENCE, |world| {
                let mut these = world.processes.iter().filter(|managed| kind(managed.id));
                these.all(|managed| managed.process.is_none())
            });
            self.expect(ended, "some processes did not exit");
        }
    }

    fn expect(&mut self, holds: bool, what: &str) {
        if !holds {
            let missing: Vec<_> =
                self.processes.iter().map(|it| (it.id, it.process.is_some())).collect();
            self.account.failure(format!(
                "{what}: {missing:?} {:?} {:?}",
                self.progress.staying, self.progress.settled
            ));
        }
    }

    /// Checks that the poison message was given up soon enough.
    fn check_poison_outcome(&mut self) {
        let Some((at, gateway)) = self.plan.poison else { return };
        // Clients of a powered-off host notice nothing.
        let died = |world: &Self| world.history.has_died_since(gateway, at.as_nanos() as u64);
        self.wait(PATIENCE, |world| world.poison_outcome.ended.get() || died(world));
        let ended_with_it = died(self);
        let PoisonOutcome { sent, given_up, ended } = &*self.poison_outcome;
        let (sent, given_up, ended) = (sent.get(), given_up.get(), ended.get());
        // Among others, announced, in a group, alone; and once more for each fault that may have hidden a
        // start or a crash.
        let (crashes, most) = (poison::crashes(), 4 + self.plan.steps.len());
        if most < crashes || sent && !ended && !ended_with_it || crashes == 0 && given_up {
            let what = "a message that ends workers";
            self.account.failure(format!(
                "{what}: {crashes} ended, sent {sent}, given up {given_up}, closed {ended}"
            ));
        }
    }

    /// Checks that queries find every client that stays.
    fn check_queries(&mut self) {
        let staying = count(&self.progress.staying);
        let limit = self.plan.uid_limit.unwrap_or_default();
        let within = self.wait(PATIENCE, |world| world.crowd.open.get() <= limit);
        self.expect(within, "a uid has too many connections");
        let any = self.plan.uid_limit.is_none() || 0 < self.crowd.open.get();
        self.expect(any, "a uid has lost its last connection");
        let agree = self.wait(PATIENCE, |world| !world.plan.members || world.members.agree());
        if !agree {
            self.account.failure(format!("members differ: {}", self.members.describe()));
        }
        self.pause(SECOND);
        // The clients that are not in the account.
        let crowd = self.crowd.open.get();
        let others = crowd + self.members.open();
        self.check_gauges((staying + others) as i64);
        let registers = (0..self.plan.registers).map(|host| settings::register(host).to_string());
        let mut groups: BTreeMap<u32, u64> = BTreeMap::new();
        for client in 0..self.plan.clients {
            let token = Token { client, attempt: 0 };
            *groups.entry(token.group_number()).or_default() += 1;
        }
        let names = groups.keys().map(|group| format!("g{group}")).collect();
        let seen = observer::Seen::default();
        let main = observer::run(registers.collect(), names, Rc::clone(&seen));
        let host = control::add_host();
        let Ok(process) = Process::start(host, main) else { return };
        self.processes.push(ManagedProcess {
            id: ProcessId::Clients,
            process: Some(process),
            instance: 0,
            stop: CancellationToken::new(),
            paused: 0,
            off: false,
            away: u64::MAX,
            stopping: true,
            metrics: Metrics::default(),
        });
        let answered = self.wait(PATIENCE, |_| seen.borrow().is_some());
        self.expect(answered, "the query for connected clients had no answer");
        if let Some((all, members, together)) = seen.take() {
            let grouped: u64 = members.iter().sum();
            if all != staying + others || grouped != staying || together != crowd {
                let what = format!(
                    "{staying} stay and {others}, gateways have {all}, groups {members:?}, one uid \
                     {together}"
                );
                self.account.failure(what);
            }
        }
    }

    /// A metric, over all gateways.
    fn sum_of(&self, name: &str) -> i64 {
        let metrics =
            self.processes.iter().flat_map(|it| settings::read(&it.metrics).unwrap_or_default());
        metrics.filter(|(found, _)| found == name).map(|(_, value)| value).sum()
    }

    /// Checks that gateways hold these clients and nothing in flight.
    fn check_gauges(&mut self, clients: i64) {
        let mut sum = BTreeMap::<String, i64>::new();
        for managed in &self.processes {
            for (name, value) in settings::read(&managed.metrics).unwrap_or_default() {
                *sum.entry(name).or_default() += value;
            }
        }
        for (name, expected) in [
            ("pushsuite_gateway_clients", clients),
            ("pushsuite_gateway_connections_open", clients),
            ("pushsuite_gateway_handshakes_undecided", 0),
            ("pushsuite_gateway_events_held_bytes", 0),
            ("pushsuite_gateway_events_in_flight_bytes", 0),
            ("pushsuite_gateway_client_bytes", 0),
            ("pushsuite_gateway_presence_waiting", 0),
        ] {
            let found = sum.get(name);
            if found != Some(&expected) {
                self.account.failure(format!("{name} is {found:?}, not {expected}"));
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
        let runs = |managed: &&ManagedProcess| managed.paused == 0 && managed.process.is_some();
        let lag = self.processes.iter().filter(runs).filter_map(|managed| managed.process.as_ref());
        let lag = lag.map(|process| process.now + LAG).min();
        let next = [control::next_arrival(), lag].into_iter().flatten().min().unwrap_or(end);
        let next = next.clamp(now + 1, end.max(now + 1)).div_ceil(TICK) * TICK;
        let touched: BTreeSet<_> = control::advance(next).into_iter().collect();
        for host in 0..self.processes.len() {
            let managed = &mut self.processes[host];
            let Some(process) = managed.process.as_mut().filter(|_| managed.paused == 0) else {
                if managed.process.is_none() && !self.closing && managed.away <= next {
                    if std::mem::take(&mut managed.off) {
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
            let Some(process) = &self.processes[host].process else { continue };
            if let Some(result) = process.ended() {
                self.ended(host, result);
            }
        }
    }
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
