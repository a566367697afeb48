//! The built-in apps, and how one is chosen.

mod bench;
mod chat;
mod echo;

use anyhow::bail;
use business_worker::Config;
use clap::{Parser, ValueEnum};
use serde::Serialize;
use service::settings::{Common, Derived, Effective, Warning};

pub(crate) use bench::Bench;
pub(crate) use chat::Chat;
pub(crate) use echo::Echo;

/// Flags as typed: a worker's, and which app.
#[derive(Debug, Parser, Serialize)]
#[command(version, about)]
// The group would be called as that of the worker's own arguments.
#[group(skip)]
pub(crate) struct Args {
    /// What the worker does
    #[arg(long, value_enum, value_name = "APP", default_value = "chat")]
    app: Choice,

    #[command(flatten)]
    #[serde(flatten)]
    worker: business_worker::Args,
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        self.worker.as_ref()
    }
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Choice {
    /// The chat that the built-in page speaks to
    Chat,
    /// Sends every message back
    Echo,
    /// Does what a load generator asks for
    Bench,
    /// Hands events to an HTTP back end
    Webhook,
}

/// An app that there is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum App {
    Chat,
    Echo,
    Bench,
}

/// What the process runs on. Every value has been checked.
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
        let app = match args.app {
            Choice::Chat => App::Chat,
            Choice::Echo => App::Echo,
            Choice::Bench => App::Bench,
            Choice::Webhook => bail!("--app webhook is not part of this version"),
        };
        Ok(Self { app, config: args.worker.try_into()? })
    }
}
