//! What is written to standard error, and how.

use std::io::{self, IsTerminal};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

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

/// Starts logging to standard error. `RUST_LOG` says what is logged (`info` without it), as in
/// `RUST_LOG=info,gateway::worker=debug`.
///
/// # Errors
/// When `RUST_LOG` makes no sense, or logging was started before.
pub fn init(format: Format) -> anyhow::Result<()> {
    let rules = std::env::var("RUST_LOG").unwrap_or_default();
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(&rules)
        .with_context(|| format!("RUST_LOG is `{rules}`"))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(format == Format::Text && io::stderr().is_terminal())
        .with_writer(io::stderr);
    match format {
        Format::Text => lines.try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(anyhow::Error::from_boxed)
}
