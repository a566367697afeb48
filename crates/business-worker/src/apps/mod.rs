//! The built-in apps, and the flag that selects one.

mod bench;
mod chat;
mod echo;

use clap::{Parser, ValueEnum};
use push_suite_worker::Config;
use serde::Serialize;
use service::settings::{Common, Derived, Effective, Warning};

pub(crate) use bench::Bench;
pub(crate) use chat::Chat;
pub(crate) use echo::Echo;

/// Flags as given: those of a worker, and the app.
#[derive(Debug, Parser, Serialize)]
#[command(version, about)]
#[group(skip)]
pub(crate) struct Args {
    /// Application to run
    #[arg(help_heading = "Application")]
    #[arg(long, value_enum, value_name = "APP", default_value = "chat")]
    app: App,

    #[command(flatten)]
    #[serde(flatten)]
    worker: push_suite_worker::Args,
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        self.worker.as_ref()
    }
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum App {
    /// Chat server for the built-in page
    Chat,
    /// Sends every message back to its sender
    Echo,
    /// Executes the commands of a load generator
    Bench,
}

/// Validated settings of the process.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) app: App,
    pub(crate) config: Config,
}

impl Effective for Settings {
    fn derived(&self) -> Vec<Derived> {
        self.config.derived()
    }

    fn warnings(&self) -> Vec<Warning> {
        self.config.warnings()
    }
}

impl TryFrom<Args> for Settings {
    type Error = anyhow::Error;

    fn try_from(args: Args) -> anyhow::Result<Self> {
        Ok(Self { app: args.app, config: args.worker.try_into()? })
    }
}
