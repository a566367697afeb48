//! Attacks real processes in random ways, and checks what that costs others.
//!
//! In each round a suite is started of which one gateway and the register are attacked. Meanwhile clients of
//! that gateway and of another, which is not attacked, compare what they notice. All that is chosen comes
//! from the seed of the round.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "it reports to whoever has started it")]

mod attack;
mod clients;
mod dice;
mod native;
mod php;
mod plan;
mod prober;
mod register;
mod round;
mod strangers;
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

    /// How many rounds there are
    #[arg(long, default_value_t = 8)]
    rounds: u64,

    /// How many seconds each attack takes
    #[arg(long, default_value_t = 4)]
    seconds: u64,

    /// Kinds of attackers that there are in every round [default: random ones]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Attack>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // One thread attacks and probes: the processes get the rest of the machine.
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
    println!("again: bash tests/attacks/run.sh --rounds 1 --seed {}", failed.join(" or "));
    ExitCode::FAILURE
}
