//! Log lines: which there are, how they look, and how they get to standard error.
//!
//! No line can stop, block or end a process. Threads hand lines to a bounded queue (`lines`); one
//! thread of their own writes them (`writer`). A reader that has gone away, stands still, or a
//! full disk costs lines, which are counted: as the metric `log_lines_dropped_total`, and as a log
//! line once there is room for one. In the text format no field can write a control character
//! (`text`).

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
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt as _};

use writer::Logs;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How long the end of a process may wait for its last lines to be written.
pub const FLUSH: Duration = Duration::from_secs(1);

/// Those of this process, as there is one standard error and one subscriber.
static CURRENT: OnceLock<Logs> = OnceLock::new();

/// Starts logging to standard error. `RUST_LOG` says what is logged (`info` without it), as in
/// `RUST_LOG=info,gateway::worker=debug`.
///
/// Whatever logs is never blocked by the reader of standard error. Lines are dropped and counted
/// while 1 MiB of them waits to be written.
///
/// # Errors
/// When `RUST_LOG` makes no sense, logging was started before, or there is no thread to be had.
pub fn init(format: Format) -> anyhow::Result<()> {
    let filter = filter()?;
    let is_terminal = io::stderr().is_terminal();
    // Not through the handle of the standard library: while a write blocks, its lock would block
    // everybody else who prints.
    let descriptor = io::stderr().as_fd().try_clone_to_owned().context("standard error")?;
    let logs = Logs::start(File::from(descriptor), tell_dropped);
    let logs = logs.context("a thread for log lines")?;
    dispatch(format, filter, is_terminal, logs.clone()).try_init()?;
    // Unset until here, or the line above would have failed.
    let _ = CURRENT.set(logs);
    Ok(())
}

fn tell_dropped(lines: u64) {
    tracing::warn!(lines, "log lines dropped");
}

/// Looks whether `RUST_LOG` makes sense.
///
/// # Errors
/// When it does not.
pub(crate) fn check() -> anyhow::Result<()> {
    filter().map(drop)
}

fn filter() -> anyhow::Result<EnvFilter> {
    let rules = match std::env::var("RUST_LOG") {
        Err(VarError::NotUnicode(_)) => anyhow::bail!("RUST_LOG is not UTF-8"),
        rules => rules.unwrap_or_default(),
    };
    EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(&rules)
        .with_context(|| format!("RUST_LOG is `{rules}`"))
}

fn dispatch(format: Format, filter: EnvFilter, is_terminal: bool, logs: Logs) -> Dispatch {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(format == Format::Text && is_terminal)
        // Its own complaints would go to standard error, and panic if that is closed.
        .log_internal_errors(false)
        .with_writer(logs);
    match format {
        Format::Text => lines.fmt_fields(text::Fields).into(),
        Format::Json => lines.json().flatten_event(true).into(),
    }
}

/// Waits until all lines logged so far are written or dropped, for `within` at most. Says whether
/// they are; without [`init`] there are none.
pub fn flush(within: Duration) -> bool {
    CURRENT.get().is_none_or(|logs| logs.flush(within))
}

/// How many lines were dropped.
pub(crate) fn dropped() -> Counter {
    CURRENT.get().map(|logs| logs.dropped().clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
