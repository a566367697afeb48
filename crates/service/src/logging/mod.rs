//! Logging: filter, format, and non-blocking output to standard error.
//!
//! Logging never blocks or ends a process. Threads append lines to a bounded queue (`lines`); a
//! dedicated thread writes them (`writer`). If the reader has closed the pipe or does not read, or
//! the disk is full, lines are dropped and counted: in the metric
//! `pushsuite_log_lines_dropped_total`, and in a log line once there is room for one. In the text format, control characters in fields are
//! escaped (`text`).

mod lines;
mod text;
mod writer;

use std::{
    env::VarError,
    fs::File,
    io::{self, IsTerminal as _},
    os::fd::AsFd as _,
    sync::OnceLock,
    time::Duration,
};

use anyhow::Context as _;
use clap::ValueEnum;
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use tracing::{Dispatch, level_filters::LevelFilter};
use tracing_subscriber::{
    filter::Targets, layer::SubscriberExt as _, registry, util::SubscriberInitExt as _,
};

use writer::Logs;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Human-readable.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// How long a process that ends waits for its last lines to be written.
pub const FLUSH: Duration = Duration::from_secs(1);

/// The logs of this process: it has one standard error and one subscriber.
static CURRENT: OnceLock<Logs> = OnceLock::new();

/// Starts logging to standard error. `RUST_LOG` is the filter (default `info`): levels of all
/// modules or of some, as in `RUST_LOG=info,gateway::shard=debug`.
///
/// The reader of standard error never blocks a thread that logs. Lines are dropped and counted
/// while 1 MiB of them is queued.
///
/// # Errors
/// When `RUST_LOG` is invalid, logging was started before, or the thread cannot be started.
pub fn init(format: Format) -> anyhow::Result<()> {
    let filter = filter()?;
    let is_terminal = io::stderr().is_terminal();
    // Not through the handle of the standard library: while a write blocks, its lock would block
    // every other thread that prints.
    let descriptor =
        io::stderr().as_fd().try_clone_to_owned().context("cannot duplicate standard error")?;
    let logs = Logs::start(File::from(descriptor), report_dropped);
    let logs = logs.context("cannot start the log thread")?;
    dispatch(format, filter, is_terminal, logs.clone()).try_init()?;
    // Unset until here, or the line above would have failed.
    let _ = CURRENT.set(logs);
    Ok(())
}

fn report_dropped(lines: u64) {
    tracing::warn!(lines, "log lines dropped");
}

/// Checks `RUST_LOG`.
///
/// # Errors
/// When it is not a valid filter.
pub(crate) fn check() -> anyhow::Result<()> {
    filter().map(drop)
}

fn filter() -> anyhow::Result<Targets> {
    match std::env::var("RUST_LOG") {
        Err(VarError::NotUnicode(_)) => anyhow::bail!("RUST_LOG is not UTF-8"),
        rules => parse(&rules.unwrap_or_default()),
    }
}

/// Parses `LEVEL` and `MODULE=LEVEL`, with commas between them.
fn parse(rules: &str) -> anyhow::Result<Targets> {
    let wrong = || format!("RUST_LOG is `{rules}`");
    let list: Vec<_> = rules.split(',').map(str::trim).filter(|rule| !rule.is_empty()).collect();
    if list.is_empty() {
        return Ok(Targets::new().with_default(LevelFilter::INFO));
    }
    // The lines of this suite are in no span, so such a rule would match nothing.
    anyhow::ensure!(!rules.contains('['), "{}: spans cannot be filtered", wrong());
    list.join(",").parse().with_context(wrong)
}

fn dispatch(format: Format, filter: Targets, is_terminal: bool, logs: Logs) -> Dispatch {
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(format == Format::Text && is_terminal)
        // Its internal errors would go to standard error, and panic if that is closed.
        .log_internal_errors(false)
        .with_writer(logs);
    match format {
        Format::Text => registry().with(lines.fmt_fields(text::Fields)).with(filter).into(),
        Format::Json => registry().with(lines.json().flatten_event(true)).with(filter).into(),
    }
}

/// Waits until all lines logged so far are written or dropped, for at most `within`. Returns
/// whether they are; without [`init`], always `true`.
pub fn flush(within: Duration) -> bool {
    CURRENT.get().is_none_or(|logs| logs.flush(within))
}

/// Ends the process once its log lines are written, which may take up to [`FLUSH`].
pub fn exit(code: i32) -> ! {
    flush(FLUSH);
    std::process::exit(code)
}

/// The number of lines dropped.
pub(crate) fn dropped() -> Counter {
    CURRENT.get().map(|logs| logs.dropped().clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
