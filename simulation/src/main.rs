//! Runs seeds and reports those that fail.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use clap::Parser;
use simulation::{
    panics,
    world::{self, Outcome},
};

/// Simulates the whole suite under faults, once for each seed.
#[derive(Debug, Parser)]
struct Args {
    /// Number of seeds
    #[arg(long, default_value_t = 200)]
    seeds: u64,

    /// First seed
    #[arg(long, default_value_t = 1)]
    first: u64,

    /// Run one seed and print its plan
    #[arg(long)]
    seed: Option<u64>,

    /// Print every step of that seed
    #[arg(long, requires = "seed")]
    trace: bool,

    /// Log filter for its processes, in the form of RUST_LOG
    #[arg(long, requires = "seed")]
    log: Option<String>,

    /// Threads
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Debug, Default)]
struct Total {
    counts: Vec<(&'static str, u64)>,
    faults: BTreeMap<&'static str, u64>,
    failed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    panics::note();
    match args.seed {
        Some(seed) => run_seed(seed, &args),
        None => run_seeds(&args),
    }
}

fn run_seed(seed: u64, args: &Args) -> ExitCode {
    if let Some(log) = &args.log {
        let filter = tracing_subscriber::EnvFilter::new(log);
        tracing_subscriber::fmt().with_env_filter(filter).with_timer(Clock).with_ansi(false).init();
    }
    let outcome = world::run(seed, args.trace);
    let plan = &outcome.plan;
    let (registers, workers, gateways) = (plan.registers, plan.workers, &plan.gateways);
    println!("{registers} registers, {workers} workers, gateways with {gateways:?} threads");
    plan.steps.iter().for_each(|step| println!("{step}"));
    for line in &outcome.trace {
        println!("{line}");
    }
    println!("{:?}", outcome.balance.counts);
    println!("{:?} {:?}", outcome.reports, outcome.handshakes);
    println!("seed {seed}: {} s, trace {:016x}", outcome.took / 1_000_000_000, outcome.digest);
    let broken = broken(&outcome);
    broken.iter().for_each(|line| println!("{line}"));
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Clock;

impl tracing_subscriber::fmt::time::FormatTime for Clock {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        let now = simulated::control::now();
        write!(w, "{}.{:06}", now / 1_000_000_000, now / 1_000 % 1_000_000)
    }
}

fn broken(outcome: &Outcome) -> Vec<String> {
    let rules = outcome.balance.broken.iter();
    rules
        .flat_map(|(rule, count, examples)| {
            let first = format!("  {count} {}", rule.text());
            let examples = examples.iter().map(|example| format!("    {example}"));
            std::iter::once(first).chain(examples).collect::<Vec<_>>()
        })
        .collect()
}

fn run_seeds(args: &Args) -> ExitCode {
    let began = Instant::now();
    let (next, end) = (AtomicU64::new(args.first), args.first + args.seeds);
    let total = Mutex::new(Total::default());
    let threads = args.threads.or_else(|| thread::available_parallelism().ok().map(Into::into));
    thread::scope(|scope| {
        for _ in 0..threads.unwrap_or(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if end <= seed {
                        return;
                    }
                    let outcome = world::run(seed, false);
                    total.lock().expect("no thread panics").add(seed, &outcome);
                }
            });
        }
    });
    let total = total.into_inner().expect("no thread panics");
    total.show(args.seeds, began.elapsed().as_secs_f64());
    if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Total {
    fn add(&mut self, seed: u64, outcome: &Outcome) {
        let (counts, reports) = (&outcome.balance.counts, outcome.reports);
        let handshakes = outcome.handshakes;
        let facts = [
            ("simulated seconds", outcome.took / 1_000_000_000),
            ("processes", outcome.instances as u64),
            ("connections", counts.connections),
            ("of them closed by the gateway", counts.closed),
            ("messages sent", counts.sent),
            ("of them lost with a gateway", counts.unhandled),
            ("events redelivered and handled again", counts.again),
            ("handled late by a partitioned worker", counts.overtaken),
            ("answers", counts.answers),
            ("forwarded to uids and groups", counts.forwarded),
            ("not forwarded (known gap)", counts.not_forwarded),
            ("reports on forwarded messages", reports.all),
            ("compared with the clients of a calm time", reports.exact),
            ("without the answer of a gateway", reports.incomplete),
            ("gateways named that had lost power", reports.silent),
            ("handshakes accepted by workers", handshakes.accepted),
            ("refused by workers", handshakes.refused),
            ("refused for lack of an answer", handshakes.unanswered),
            ("messages received compressed", outcome.compressed),
            ("closed for a newer one with their uid", outcome.replaced),
            ("snapshots and changes of members", outcome.members),
            ("onConnect", counts.connects),
            ("closes missing (known gap)", counts.closes_missing),
            ("closes twice without a mark (known gap)", counts.closes_twice),
        ];
        self.counts.resize(facts.len(), ("", 0));
        for ((name, sum), (what, count)) in self.counts.iter_mut().zip(facts) {
            *name = what;
            *sum += count;
        }
        for step in &outcome.plan.steps {
            *self.faults.entry(step.fault.kind()).or_default() += 1;
        }
        let broken = broken(outcome);
        if !broken.is_empty() {
            // At once, since a long run may be interrupted.
            println!("seed {seed}:");
            broken.iter().for_each(|line| println!("{line}"));
            self.failed += 1;
        }
    }

    fn show(&self, seeds: u64, seconds: f64) {
        for (name, count) in &self.counts {
            println!("{count:>12} {name}");
        }
        let faults = self.faults.iter().map(|(kind, count)| format!("{count} {kind}"));
        println!("faults: {}", faults.collect::<Vec<_>>().join(", "));
        let failed = self.failed;
        println!("{seeds} seeds in {seconds:.0} s: {} passed, {failed} failed", seeds - failed);
    }
}
