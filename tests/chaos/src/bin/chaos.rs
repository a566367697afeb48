//! Runs scenarios one after the other and prints their reports.

use std::{env, future::pending, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use chaos::{
    network,
    run::{RunConfig, run},
    scenario::{Form, Scenario},
};
use clap::Parser;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

/// Kills, pauses and isolates the suite's processes under load, and accounts for every message
#[derive(Debug, Parser)]
struct Args {
    /// Scenarios to run [default: each once; `partitions` if namespaces can be created]
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,

    /// Length of each run
    #[arg(long, value_enum, default_value = "short")]
    form: Form,

    /// Seed of the faults, to reproduce a failed run [default: random]
    #[arg(long)]
    seed: Option<u64>,

    /// Number of faults, overriding the form
    #[arg(long)]
    faults: Option<u32>,

    /// Average time between two faults, overriding the form
    #[arg(long, value_name = "MILLISECONDS")]
    gap: Option<u64>,

    /// Number of clients, overriding the form
    #[arg(long)]
    clients: Option<u32>,

    /// Messages per second, overriding the form
    #[arg(long)]
    rate: Option<u32>,

    /// Folder of the binaries [default: that of this binary]
    #[arg(long)]
    bin: Option<PathBuf>,

    /// Keep logs and journals even if the account balances
    #[arg(long)]
    keep: bool,

    /// Run only the scenarios that need a network of their own, in this one
    #[arg(long, hide = true)]
    alone: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            code = all(args) => code,
            // Dropping a run ends all its processes.
            () = terminated() => Ok(ExitCode::FAILURE),
        }
    })
}

/// Waits for SIGTERM or SIGINT.
async fn terminated() {
    let Ok(mut term) = signal(SignalKind::terminate()) else { return pending().await };
    let Ok(mut int) = signal(SignalKind::interrupt()) else { return pending().await };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

#[expect(clippy::print_stdout, reason = "the result")]
async fn all(args: Args) -> anyhow::Result<ExitCode> {
    let own_folder = env::current_exe()?.parent().context("this binary is in a folder")?.to_owned();
    let bin = args.bin.clone().unwrap_or(own_folder);
    let every = [
        Scenario::Workers,
        Scenario::Register,
        Scenario::Gateways,
        Scenario::Drain,
        Scenario::Links,
        Scenario::All,
        Scenario::Partitions,
    ];
    let scenarios = if args.scenarios.is_empty() { &every } else { &args.scenarios[..] };
    let mut code = ExitCode::SUCCESS;
    for scenario in scenarios.iter().filter(|it| it.has_hosts() == args.alone) {
        let mut shape = scenario.shape(args.form);
        shape.faults = args.faults.unwrap_or(shape.faults);
        shape.gap = args.gap.map_or(shape.gap, Duration::from_millis);
        shape.clients = args.clients.unwrap_or(shape.clients);
        shape.rate = args.rate.unwrap_or(shape.rate);
        let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
        let mut folder = TempDir::with_prefix("push-suite-chaos.")?;
        folder.disable_cleanup(true);
        let config = RunConfig { scenario: *scenario, shape, seed, bin: bin.clone() };
        let result = run(&config, folder.path()).await;
        let balances = match result {
            Ok((report, balances)) => {
                println!("{report}");
                balances
            }
            Err(error) => {
                println!("{} --seed {seed}: {error:#}", scenario.name());
                false
            }
        };
        if balances && !args.keep {
            folder.disable_cleanup(false);
        } else {
            println!("  logs and journals: {}", folder.path().display());
        }
        if !balances {
            code = ExitCode::FAILURE;
        }
    }
    if !args.alone && scenarios.iter().any(|scenario| scenario.has_hosts()) {
        let requested = !args.scenarios.is_empty();
        match network::refusal() {
            None if network::rerun_isolated("--alone").await? => {}
            None => code = ExitCode::FAILURE,
            Some(why) if requested => {
                println!("partitions: cannot run here: {why}");
                code = ExitCode::FAILURE;
            }
            Some(why) => println!("SKIPPED: partitions, which cannot run here: {why}"),
        }
    }
    Ok(code)
}
