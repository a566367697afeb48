//! Attacks real processes with random hostile input and checks the effect on others.
//!
//! Each round starts a suite and attacks one gateway and the register. It compares the latencies of
//! clients of that gateway and of another one. All choices derive from the seed of the round.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "a command-line tool prints its report")]

mod attack;
mod clients;
mod http;
mod native;
mod php;
mod plan;
mod presence;
mod prober;
mod register;
mod rng;
mod round;
mod target;
mod watch;
mod wire;

use std::{process::ExitCode, time::Duration};

use clap::Parser;

use attack::Attack;
use plan::Plan;

#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// The seed of the first round
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Number of rounds
    #[arg(long, default_value_t = 8)]
    rounds: u64,

    /// Duration of the attacks of each round, in seconds
    #[arg(long, default_value_t = 4)]
    seconds: u64,

    /// Kinds of attackers in every round [default: random]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Attack>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // One thread for attacks and probes leaves the other cores to the processes.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut failed = Vec::new();
    for seed in args.seed..args.seed + args.rounds {
        let plan = Plan::new(seed, &args.only);
        println!("seed {seed}: {plan}");
        let violations = runtime.block_on(round::run(plan, Duration::from_secs(args.seconds)));
        for violation in &violations {
            println!("  VIOLATED: {violation}");
        }
        if !violations.is_empty() {
            failed.push(seed.to_string());
        }
    }
    println!(
        "{} rounds: {} passed, {} failed",
        args.rounds,
        args.rounds - failed.len() as u64,
        failed.len()
    );
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("to repeat: bash tests/attacks/run.sh --rounds 1 --seed {}", failed.join(" or "));
    ExitCode::FAILURE
}
