//! Logging: filter, format, and non-blocking output to standard error.
//!
//! Logging never blocks or ends a process. Threads append lines to a bounded queue (`lines`); a
//! dedicated thread writes them (`writer`). If the reader has closed the pipe or does not read, or
//! the disk is full, lines are dropped and counted: in the metric
//! `pushsuite_log_lines_dropped_total`, and in a log line once there is room for one. In the text format, control characters in fields are
//! escaped (`text`).

mod level;
mod lines;
mod text;
mod writer;

use std::{
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
use tracing::Dispatch;
use tracing_subscriber::{
    Registry, filter::Targets, layer::SubscriberExt as _, registry, reload,
    util::SubscriberInitExt as _,
};

pub use level::LogLevel;
pub(crate) use level::{check, overridden, parse};

use level::Filter;
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
static CURRENT: OnceLock<(Logs, Filter)> = OnceLock::new();

/// Starts logging to standard error. `level` is the filter: levels of all modules or of some, as in
/// `info,gateway::shard=debug`. The variable `RUST_LOG` takes precedence over it.
///
/// The reader of standard error never blocks a thread that logs. Lines are dropped and counted
/// while 1 MiB of them is queued.
///
/// # Errors
/// When the filter is invalid, logging was started before, or the thread cannot be started.
pub fn init(format: Format, level: &str) -> anyhow::Result<()> {
    let rules = level::in_effect(level)?;
    let (filter, handle) = reload::Layer::new(parse(&rules)?);
    let is_terminal = io::stderr().is_terminal();
    // Not through the handle of the standard library: while a write blocks, its lock would block
    // every other thread that prints.
    let descriptor =
        io::stderr().as_fd().try_clone_to_owned().context("cannot duplicate standard error")?;
    let logs = Logs::start(File::from(descriptor), report_dropped);
    let logs = logs.context("cannot start the log thread")?;
    dispatch(format, filter, is_terminal, logs.clone()).try_init()?;
    // Unset until here, or the line above would have failed.
    let _ = CURRENT.set((logs, Filter::new(handle, rules)));
    Ok(())
}

/// The filter in effect; empty without [`init`].
#[must_use]
pub fn filter() -> String {
    CURRENT.get().map(|(_, filter)| filter.rules()).unwrap_or_default()
}

/// Replaces the filter of this process at once. Returns the previous one.
///
/// # Errors
/// When it is invalid, or logging was not started: nothing changes.
pub fn set_filter(rules: &str) -> anyhow::Result<String> {
    let (_, filter) = CURRENT.get().context("logging was not started")?;
    filter.set(rules)
}

fn report_dropped(lines: u64) {
    tracing::warn!(lines, "log lines dropped");
}

fn dispatch(
    format: Format,
    filter: reload::Layer<Targets, Registry>,
    is_terminal: bool,
    logs: Logs,
) -> Dispatch {
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(format == Format::Text && is_terminal)
        // Its internal errors would go to standard error, and panic if that is closed.
        .log_internal_errors(false)
        .with_writer(logs);
    match format {
        Format::Text => registry().with(filter).with(lines.fmt_fields(text::Fields)).into(),
        Format::Json => registry().with(filter).with(lines.json().flatten_event(true)).into(),
    }
}

/// Waits until all lines logged so far are written or dropped, for at most `within`. Returns
/// whether they are; without [`init`], always `true`.
pub fn flush(within: Duration) -> bool {
    CURRENT.get().is_none_or(|(logs, _)| logs.flush(within))
}

/// Ends the process once its log lines are written, which may take up to [`FLUSH`].
pub fn exit(code: i32) -> ! {
    flush(FLUSH);
    std::process::exit(code)
}

/// The number of lines dropped.
pub(crate) fn dropped() -> Counter {
    CURRENT.get().map(|(logs, _)| logs.dropped().clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
