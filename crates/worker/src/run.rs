//! Lifecycle of a worker: start, link to gateways, handle events, drain.

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use clap::{Args as _, Command, CommandFactory, Parser};
use protocol::{presence::MAX_PREFIXES, watched_uid};
use push_suite_cluster::{Status, internal::WorkerCluster};
use runtime::tls::MutualTls;
use serde::Serialize;
use service::{
    Health, Starting,
    settings::{Common, Derived, Effective, Warning},
    systemd,
};
use tokio::time::{Instant, timeout_at};

use crate::{
    Args, Config, Process, Worker, config,
    dispatch::{Dispatcher, Events, Watching, catch_panic},
    metrics::Metrics,
};

/// Runs a worker with settings from flags, the environment and a file, until SIGTERM or SIGINT.
/// Call it as the whole body of `main`.
///
/// Exit codes: 0 success, 1 runtime failure, 2 invalid settings, 70 panic outside of a handler.
pub fn main(worker: impl Worker) -> ExitCode {
    service::main_on::<Args, Config>(config::runtime, async |config, starting| {
        serve(worker, config, starting).await
    })
}

/// Like [`main`], with settings of your own, and a worker that is made from them on the runtime that
/// runs its handlers, so that it may connect to a database. An error ends the process with 1.
///
/// `S` derives `clap::Args` and `serde::Serialize` (`--check` prints it). Each flag of it is also
/// read from a variable of the environment and a key of the file, like every other: `--database`
/// from `GW_DATABASE` and `database = "…"`. A mandatory one has no default. The comment on `S` is the
/// text of `--help`, and with `#[command(version)]` there is a `--version`.
///
/// ```no_run
/// use push_suite_worker::{Client, Message, Worker, anyhow};
///
/// #[derive(clap::Args, serde::Serialize)]
/// struct Settings {
///     /// Text before each answer
///     #[arg(long, value_name = "TEXT", default_value = "you said: ")]
///     prefix: String,
/// }
///
/// struct Parrot(Settings);
///
/// impl Worker for Parrot {
///     async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
///         let text = message.as_text().unwrap_or_default();
///         Ok(client.send(format!("{}{text}", self.0.prefix)).await?)
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     push_suite_worker::main_with(async |settings: Settings| Ok(Parrot(settings)))
/// }
/// ```
pub fn main_with<S, W>(make: impl AsyncFnOnce(S) -> anyhow::Result<W>) -> ExitCode
where
    S: clap::Args + Serialize,
    W: Worker,
{
    service::main_on::<OwnArgs<S>, OwnConfig<S>>(
        |settings| config::runtime(&settings.config),
        async |OwnConfig { own, config }, starting| {
            let shutdown = starting.shutdown.clone();
            tokio::select! {
                worker = make(own) => serve(worker?, config, starting).await,
                () = shutdown.cancelled() => Ok(()),
            }
        },
    )
}

// Flags as given: those of a program, and those of a worker. No doc comment, which would be the
// text of `--help`.
#[derive(Debug, clap::Args, Serialize)]
#[group(skip)]
struct OwnArgs<S: clap::Args> {
    #[command(flatten)]
    #[serde(flatten)]
    own: S,

    #[command(flatten)]
    #[serde(flatten)]
    worker: Args,
}

impl<S: clap::Args> Parser for OwnArgs<S> {}

impl<S: clap::Args> CommandFactory for OwnArgs<S> {
    fn command() -> Command {
        let own = S::augment_args(Command::new("worker"));
        let mut command = Self::augment_args(Command::new("worker"));
        if let Some(program) = std::env::args_os().next() {
            let name = Path::new(&program).file_name().unwrap_or(&program);
            command = command.display_name(name.to_string_lossy().into_owned());
        }
        // Otherwise those of the worker's flags, which are added last.
        if let Some(about) = own.get_about() {
            command = command.about(about.clone());
        }
        if let Some(about) = own.get_long_about() {
            command = command.long_about(about.clone());
        }
        command
    }

    fn command_for_update() -> Command {
        Self::command()
    }
}

impl<S: clap::Args> AsRef<Common> for OwnArgs<S> {
    fn as_ref(&self) -> &Common {
        self.worker.as_ref()
    }
}

/// Validated settings of a program with its own.
#[derive(Debug)]
struct OwnConfig<S> {
    own: S,
    config: Config,
}

impl<S: clap::Args> TryFrom<OwnArgs<S>> for OwnConfig<S> {
    type Error = anyhow::Error;

    fn try_from(OwnArgs { own, worker }: OwnArgs<S>) -> anyhow::Result<Self> {
        Ok(Self { own, config: worker.try_into()? })
    }
}

impl<S> Effective for OwnConfig<S> {
    fn derived(&self) -> Vec<Derived> {
        self.config.derived()
    }

    fn warnings(&self) -> Vec<Warning> {
        self.config.warnings()
    }
}

/// Runs a worker until shutdown is requested, then drains: it accepts no new events, finishes those
/// in flight, runs [`on_worker_stop`](Worker::on_worker_stop) and flushes its commands.
///
/// The worker is ready while a register is connected, a gateway is linked and answers, and no first
/// link to a gateway is pending. A dead gateway does not make it unready: the others have work.
///
/// For a worker within a program that has its own `main`: `config` from [`Config::new`], `starting`
/// from [`Starting::new`], with a token that is cancelled to stop the worker.
///
/// # Errors
/// The error of [`on_worker_start`](Worker::on_worker_start), or a failure to bind
/// `--admin-listen`.
pub async fn serve(
    worker: impl Worker,
    config: Config,
    mut starting: Starting,
) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::default());
    let key = config.key();
    let Config {
        registers,
        secret,
        name,
        id,
        gateway_grace,
        handler_retries,
        presence_grace,
        peer_timeout,
        tls,
        streams,
        ..
    } = config;
    starting.reread.extend(tls.iter().map(MutualTls::files));
    let close_codes = worker.close_codes();
    let dispatcher = Dispatcher::new(worker, handler_retries, Arc::clone(&metrics));
    tracing::info!(worker = key, ?registers, "starting");
    let events = Arc::new(Events(Arc::clone(&dispatcher)));
    let config = push_suite_cluster::Config::new(registers, secret)
        .tls(tls)
        .gateway_grace(gateway_grace)
        .peer_timeout(peer_timeout)
        .close_codes(close_codes)
        .streams(streams);
    let cluster = WorkerCluster::new(config, key, events);
    let process = Process::new(cluster.cluster().clone(), name, id);
    dispatcher.set_cluster(cluster.cluster().clone());
    let registry = starting.metrics.sub_registry_with_prefix("pushsuite_worker");
    metrics.register(registry);
    cluster.register_metrics(registry);

    let worker = dispatcher.worker();
    tokio::select! {
        started = catch_panic(async { worker.on_worker_start(&process).await }) => {
            started.context("on_worker_start failed")?;
        }
        () = starting.shutdown.cancelled() => return Ok(()),
    }
    let mut prefixes = worker.watched_groups();
    ensure!(
        prefixes.len() <= MAX_PREFIXES,
        "{} prefixes of watched groups are more than {MAX_PREFIXES}",
        prefixes.len()
    );
    prefixes.extend(worker.watches_uids().then(watched_uid::prefix));
    if !prefixes.is_empty() {
        let watching = Arc::new(Watching(Arc::clone(&dispatcher)));
        cluster.watch_groups(prefixes, presence_grace, watching);
    }
    report(&starting.health, &cluster.status());
    cluster.follow();
    let running = starting.started("linking to gateways")?;
    tokio::select! {
        () = cluster.watch(|status| report(&running.health, &status)) => {}
        () = running.shutdown.cancelled() => {}
    }
    drain(&dispatcher, &cluster, &process, running.grace).await;
    Ok(())
}

/// Updates readiness and the service manager's status line.
fn report(health: &Health, status: &Status) {
    report_readiness(health, status);
    let linked = status.linked;
    match status.missing.len() {
        0 => systemd::status(&format!("linked to {linked} gateways")),
        missing => systemd::status(&format!("linked to {linked} gateways; {missing} unreachable")),
    }
}

/// Sets whether a process is ready by the state of its cluster: for programs that use a [`Cluster`]
/// without [`serve`].
///
/// [`Cluster`]: push_suite_cluster::Cluster
pub fn report_readiness(health: &Health, status: &Status) {
    let Status { registers, linked, answering, settled, passive, .. } = status;
    match registers {
        0 => health.set_not_ready("register", "none is connected"),
        _ => health.set_ready("register"),
    }
    match (linked, settled) {
        (0, _) => health.set_not_ready("gateway", "none is linked"),
        (_, true) if *answering == 0 => health.set_not_ready("gateway", "none answers"),
        (_, false) => health.set_not_ready("gateway", "not all have been tried yet"),
        (_, true) if *passive => {
            health.set_not_ready("gateway", "some are out of reach; other workers take the events");
        }
        (_, true) => health.set_ready("gateway"),
    }
}

/// Stops in order, within `grace`; the last quarter is reserved for `on_worker_stop` and the flush.
async fn drain<W: Worker>(
    dispatcher: &Dispatcher<W>,
    cluster: &WorkerCluster,
    process: &Process,
    grace: Duration,
) {
    let end = Instant::now() + grace;
    dispatcher.drain();
    let finish = async {
        cluster.leave().await;
        dispatcher.idle().await;
        cluster.acks_flushed().await;
        cluster.notices_handled().await;
    };
    match timeout_at(end - grace / 4, finish).await {
        Ok(()) => match dispatcher.events_left() {
            0 => tracing::info!("drained; all events handled"),
            events => tracing::info!(events, "drained; events left to other workers"),
        },
        Err(_) => tracing::warn!(
            ?grace,
            "drain deadline exceeded; unfinished events left to other workers"
        ),
    }
    let last = async {
        let stop = async { dispatcher.worker().on_worker_stop(process).await };
        if let Err(error) = catch_panic(stop).await {
            tracing::error!(error = format!("{error:#}"), "on_worker_stop failed");
        }
        cluster.close().await;
    };
    if timeout_at(end, last).await.is_err() {
        tracing::warn!(?grace, "drain deadline exceeded; gateways may not have read all commands");
    }
}

#[cfg(test)]
mod tests {
    use service::settings;

    use super::*;

    /// Named as the worker's own
    #[derive(Debug, clap::Args, Serialize)]
    #[command(version)]
    struct Args {
        /// How deep
        #[arg(long, value_name = "N", default_value_t = 3)]
        depth: u32,
    }

    #[test]
    fn own_settings_are_read_and_printed_like_those_of_a_worker() {
        let env = |name: &str| (name == "GW_DEPTH").then(|| "5".into());
        let loaded = settings::load_from::<OwnArgs<Args>>(["worker", "--id=7"], env).unwrap();
        let sheet = loaded.sheet();
        let command = OwnArgs::<Args>::command();
        let about = command.get_about().unwrap().to_string();
        assert_eq!((&*about, command.get_version().is_some()), ("Named as the worker's own", true));
        let OwnConfig { own, config } = loaded.args.try_into().unwrap();
        assert_eq!((own.depth, config.key()), (5, "BusinessWorker:7".to_owned()));
        let toml = sheet.to_toml(&config.derived());
        assert!(toml.contains("depth = 5") && toml.contains("id = \"7\""), "{toml}");
    }

    #[test]
    fn shipped_settings_are_those_of_any_worker() {
        let shipped =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/settings/business-worker-1.toml");
        let argv = ["worker", "--config", shipped];
        let loaded = settings::load_from::<OwnArgs<Args>>(argv, |_| None).unwrap();
        OwnConfig::try_from(loaded.args).unwrap();
    }
}
