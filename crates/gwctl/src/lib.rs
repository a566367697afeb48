//! Shows and controls a running cluster, for operators: a peer of the gateways with the cluster's
//! secret, that connects as a back end does. It needs no port of its own at any process.
//!
//! A command is a file of `commands`; it returns a view, a value that `output` shows as a table or
//! as JSON.

mod args;
mod commands;
mod confirm;
mod dashboard;
mod environment;
mod failure;
mod health;
mod names;
mod output;
mod reference;
mod session;
mod terminal;

use std::{env, io::Write as _, process::ExitCode};

use clap::{Command, CommandFactory as _};
use service::{
    logging,
    settings::{self, Loaded},
};

pub use args::Args;
use failure::Failure;

/// Runs the command of this process, and returns its exit code: 0 done, 1 failed or incomplete, 2
/// invalid usage; that of `gwctl check` is the state of the cluster, as monitoring systems expect
/// it: 0 ok, 1 warning, 2 critical, 3 unknown.
pub fn main() -> ExitCode {
    let variable = |name: &str| environment::variable(name);
    let loaded = match settings::load_from::<Args>(env::args_os(), variable) {
        Ok(loaded) => loaded,
        Err(refused) => return refused.report(),
    };
    match run(loaded) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let _ = write!(std::io::stderr(), "{failure}");
            ExitCode::from(failure.code)
        }
    }
}

/// All commands and flags, for documentation, completions and manual pages.
pub fn command() -> Command {
    Args::command()
}

fn run(loaded: Loaded<Args>) -> Result<u8, Failure> {
    // The links' own logs would stand between the lines of a table: only on request.
    if env::var_os("RUST_LOG").is_some() {
        let started = logging::init(logging::Format::Text, "");
        started.map_err(|error| Failure::usage(format!("{error:#}")))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("no runtime: {error}")))?;
    let done = runtime.block_on(commands::run(loaded));
    // A question to a terminal that is not answered keeps its thread.
    runtime.shutdown_background();
    logging::flush(logging::FLUSH);
    done
}
