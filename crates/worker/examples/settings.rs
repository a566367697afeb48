//! Settings of its own, beside those of every worker: `cargo run --example settings -- --help`. Each
//! is also read from the environment (`GW_GREETING`) and from the file of `--config`, and
//! `--check` prints all of them.

use std::{path::PathBuf, process::ExitCode};

use push_suite_worker::{Client, Message, Worker, anyhow, anyhow::Context as _};

/// A worker with settings of its own
#[derive(clap::Args, serde::Serialize)]
#[command(version)]
struct Settings {
    /// Text before each answer
    #[arg(long, value_name = "TEXT", default_value = "hello")]
    greeting: String,

    /// File with more greetings, one a line
    #[arg(long, value_name = "FILE")]
    greetings: Option<PathBuf>,
}

/// State of the process, made once from the settings: usually a pool of database connections.
struct Greeter {
    greetings: Vec<String>,
}

impl Greeter {
    /// Runs on the runtime that runs the handlers, before the first of them.
    async fn start(settings: Settings) -> anyhow::Result<Self> {
        let mut greetings = vec![settings.greeting];
        if let Some(file) = settings.greetings {
            let text = tokio::task::spawn_blocking(|| std::fs::read_to_string(file)).await?;
            greetings.extend(text.context("--greetings")?.lines().map(str::to_owned));
        }
        Ok(Self { greetings })
    }
}

impl Worker for Greeter {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let at = client.delivery().number as usize % self.greetings.len();
        let (greeting, text) = (&self.greetings[at], message.as_text().unwrap_or_default());
        Ok(client.send(format!("{greeting} {text}")).await?)
    }
}

fn main() -> ExitCode {
    push_suite_worker::main_with(Greeter::start)
}
