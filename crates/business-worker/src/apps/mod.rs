//! The built-in apps, and the flag that selects one.

mod bench;
mod chat;
mod echo;

use anyhow::ensure;
use clap::{Parser, ValueEnum};
use push_suite_worker::Config;
use serde::Serialize;
use service::settings::{Common, Derived, Effective, Reloadable, Warning};

use crate::{
    Tables,
    http_settings::{Http, HttpFlags},
};

pub use bench::Bench;
pub use chat::Chat;
pub use echo::Echo;

/// Flags as given: those of a worker, and the app.
#[derive(Debug, Parser, Serialize)]
#[command(version, about)]
#[group(skip)]
pub struct Args {
    /// Application to run
    #[arg(help_heading = "Application")]
    #[arg(long, value_enum, value_name = "APP", default_value = "chat")]
    app: App,

    #[command(flatten)]
    #[serde(flatten)]
    http: HttpFlags,

    #[command(flatten)]
    #[serde(flatten)]
    worker: push_suite_worker::Args,
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        self.worker.as_ref()
    }
}

/// The least `--handler-retries` of `--app webhook`.
const LEAST_RETRIES: u32 = 3;

/// A built-in app.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum App {
    /// Chat server for the built-in page
    Chat,
    /// Sends every message back to its sender
    Echo,
    /// Executes the commands of a load generator
    Bench,
    /// The Pusher Channels protocol, for the apps of the settings file
    Pusher,
    /// Sends events as HTTP requests to the `[[webhook]]` of the settings file
    Webhook,
    /// No worker: only the push API of --http-listen
    None,
}

impl App {
    /// Checks that the tables have what the app cannot do without, at the start and at SIGHUP: without
    /// an entry, clients would be accepted and their messages lost.
    fn check(self, tables: &Tables) -> anyhow::Result<()> {
        match self {
            Self::Pusher => ensure!(
                !tables.pusher.is_empty(),
                "--app pusher: the settings file (--config) has no [[pusher.app]]"
            ),
            Self::Webhook => ensure!(
                !tables.webhooks.is_empty(),
                "--app webhook: the settings file (--config) has no [[webhook]]"
            ),
            Self::Chat | Self::Echo | Self::Bench | Self::None => {}
        }
        Ok(())
    }
}

/// Validated settings of the process.
#[derive(Debug)]
pub struct Settings {
    /// The app to run.
    pub app: App,
    /// The settings of the worker.
    pub config: Config,
    /// The tables of the settings file.
    pub tables: Reloadable<Tables>,
    /// The push API, if it is enabled.
    pub http: Option<Http>,
}

impl Effective for Settings {
    fn derived(&self) -> Vec<Derived> {
        self.config.derived()
    }

    fn warnings(&self) -> Vec<Warning> {
        let http = self.http.map(Http::warnings).unwrap_or_default();
        self.config.warnings().into_iter().chain(http).collect()
    }
}

impl TryFrom<(Args, Reloadable<Tables>)> for Settings {
    type Error = anyhow::Error;

    fn try_from((args, tables): (Args, Reloadable<Tables>)) -> anyhow::Result<Self> {
        let mut config: Config = args.worker.try_into()?;
        let app = args.app;
        tables.require(move |tables| app.check(tables))?;
        if let App::Webhook = app {
            // An event that waits when the process stops is left to another worker, as a retry.
            config.handler_retries = config.handler_retries.max(LEAST_RETRIES);
        }
        let http = args.http.check(&tables.get(), app)?;
        ensure!(http.is_some() || !matches!(app, App::None), "--app none: requires --http-listen");
        Ok(Self { app, config, tables, http })
    }
}
