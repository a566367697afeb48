//! The lifecycle of a process, from settings to exit code.

use std::{
    io::{self, Write as _},
    mem,
    net::SocketAddr,
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use prometheus_client::registry::Registry;
use runtime::{listen, supervise, tls::Reload};
use serde::Serialize;
use tokio::{runtime::Runtime, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    admin,
    certificates::Certificates,
    health::Health,
    limits, logging, manual, process_metrics,
    settings::{self, BAD_SETTINGS, Common, Effective, Reloadable, Tables, Warning},
    shutdown::Listening,
    sighup::SighupListener,
    systemd,
};

/// Runs a process on a current-thread runtime and returns its exit code.
///
/// In order: settings are read (`A`) and checked (`C`), before anything else happens; `--check`
/// prints them and ends here; logging and signals are set up; `serve` binds what it needs, calls
/// [`Starting::started`], serves until [`Running::shutdown`] is cancelled, drains, and returns.
///
/// Exit codes: 0 success, 1 failure at startup or while running, 2 invalid settings, 70 a panic
/// ([`supervise`]). A second signal ends the process at once with 128 plus its number.
///
/// It replaces the panic hook with one that logs; `serve` may set another.
///
/// ```no_run
/// # use push_suite_service::{Starting, settings::Common};
/// # #[derive(clap::Parser, serde::Serialize)]
/// # struct Args { #[command(flatten)] #[serde(flatten)] common: Common }
/// # impl AsRef<Common> for Args { fn as_ref(&self) -> &Common { &self.common } }
/// # struct Config;
/// # impl TryFrom<Args> for Config {
/// #     type Error = anyhow::Error;
/// #     fn try_from(_: Args) -> anyhow::Result<Self> { Ok(Self) }
/// # }
/// # impl push_suite_service::settings::Effective for Config {}
/// fn main() -> std::process::ExitCode {
///     push_suite_service::main::<Args, Config>(async |_config, starting| {
///         // bind, with `starting.metrics` to register metrics in
///         let running = starting.started("listening on …")?;
///         running.shutdown.cancelled().await;
///         // drain within `running.grace`
///         Ok(())
///     })
/// }
/// ```
pub fn main<A, C>(serve: impl AsyncFnOnce(C, Starting) -> anyhow::Result<()>) -> ExitCode
where
    A: Parser + Serialize + AsRef<Common>,
    C: TryFrom<A, Error: Into<anyhow::Error>> + Effective,
{
    main_on::<A, C>(|_| tokio::runtime::Builder::new_current_thread().enable_all().build(), serve)
}

/// Like [`main`], on a runtime of the caller's choice.
pub fn main_on<A, C>(
    runtime: impl FnOnce(&C) -> io::Result<Runtime>,
    serve: impl AsyncFnOnce(C, Starting) -> anyhow::Result<()>,
) -> ExitCode
where
    A: Parser + Serialize + AsRef<Common>,
    C: TryFrom<A, Error: Into<anyhow::Error>> + Effective,
{
    let make = |args, _: Reloadable<()>| C::try_from(args).map_err(Into::into);
    caught(|| main_of::<A, (), C>(make, runtime, serve))
}

/// Like [`main_on`], of a binary whose settings file may have tables (`T`). SIGHUP reads them again.
pub fn main_with_tables<A, T, C>(
    runtime: impl FnOnce(&C) -> io::Result<Runtime>,
    serve: impl AsyncFnOnce(C, Starting) -> anyhow::Result<()>,
) -> ExitCode
where
    A: Parser + Serialize + AsRef<Common>,
    T: Tables,
    C: TryFrom<(A, Reloadable<T>), Error: Into<anyhow::Error>> + Effective,
{
    let make = |args, tables| C::try_from((args, tables)).map_err(Into::into);
    caught(|| main_of::<A, T, C>(make, runtime, serve))
}

fn caught(main: impl FnOnce() -> ExitCode) -> ExitCode {
    // Once logging is set up, a panic ends the process before it is caught here.
    panic::catch_unwind(AssertUnwindSafe(main)).unwrap_or_else(|_| supervise::PANICKED.into())
}

fn main_of<A, T, C>(
    make: impl FnOnce(A, Reloadable<T>) -> anyhow::Result<C>,
    runtime: impl FnOnce(&C) -> io::Result<Runtime>,
    serve: impl AsyncFnOnce(C, Starting) -> anyhow::Result<()>,
) -> ExitCode
where
    A: Parser + Serialize + AsRef<Common>,
    T: Tables,
    C: Effective,
{
    if let Some(done) = manual::requested(A::command()) {
        return done;
    }
    let loaded = match settings::load::<A, T>() {
        Ok(loaded) => loaded,
        Err(refused) => return refused.report(),
    };
    let common = loaded.args.as_ref().clone();
    let sheet = loaded.sheet();
    let level: Option<Arc<dyn Reload>> = loaded.log_level().map(|level| Arc::new(level) as _);
    let files: Vec<_> = level.into_iter().chain(loaded.tables.files()).collect();
    let checked = || -> anyhow::Result<_> {
        logging::check(&common.log_level)?;
        let config = make(loaded.args, loaded.tables)?;
        Ok((config, common.admin()?))
    };
    let (config, admin) = match checked() {
        Ok(checked) => checked,
        Err(error) => return bad_settings(&error),
    };
    let derived: Vec<_> = config.derived().into_iter().chain(logging::overridden()).collect();
    let shown = sheet.to_toml(&derived);
    if common.check {
        for warning in config.warnings() {
            let _ = writeln!(io::stderr(), "warning: {}: {}", warning.flag, warning.problem);
        }
        // A closed pipe (`| head`) is not an error.
        let _ = io::stdout().write_all(shown.as_bytes());
        return ExitCode::SUCCESS;
    }
    // Before logging: the first line may exceed the file size limit and raise SIGXFSZ.
    let signals = Listening::new();
    if let Err(error) = logging::init(common.log_format, &common.log_level) {
        let _ = writeln!(io::stderr(), "error: {error:#}");
        return ExitCode::FAILURE;
    }
    for Warning { flag, problem } in config.warnings() {
        tracing::warn!(flag, problem, "questionable setting");
    }
    supervise::end_process_on_panic(logging::exit);
    limits::raise_descriptors();
    let before = Before { admin, files, shown };
    let ended = match supervise::run(|| run(&common, before, signals, runtime, config, serve)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "failed");
            ExitCode::FAILURE
        }
    };
    logging::flush(logging::FLUSH);
    ended
}

fn bad_settings(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {error:#}");
    ExitCode::from(BAD_SETTINGS)
}

/// Derived from the settings before the process starts.
struct Before {
    admin: Option<SocketAddr>,
    /// To be reloaded on SIGHUP.
    files: Vec<Arc<dyn Reload>>,
    /// The effective settings.
    shown: String,
}

fn run<C>(
    common: &Common,
    Before { admin, files, shown }: Before,
    signals: io::Result<Listening>,
    runtime: impl FnOnce(&C) -> io::Result<Runtime>,
    config: C,
    serve: impl AsyncFnOnce(C, Starting) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let grace = Duration::from_secs(common.grace);
    let shutdown = signals?.start(grace)?;
    let runtime = runtime(&config)?;
    let ended = runtime.block_on(async {
        let mut starting = Starting::new(admin, shutdown, grace);
        starting.reread.extend(files);
        starting.settings = shown;
        match SighupListener::listen() {
            Ok(hangups) => starting.hangups = Some(hangups),
            Err(error) => {
                tracing::warn!(%error, "cannot install the SIGHUP handler; files are not reloaded")
            }
        }
        serve(config, starting).await
    });
    // A blocked thread must not keep the process from ending.
    runtime.shutdown_background();
    ended
}

/// A process that does not serve yet.
#[derive(Debug)]
pub struct Starting {
    /// Readiness and liveness; cheap to clone.
    pub health: Health,
    /// The registry of `/metrics`; register everything before [`started`](Self::started).
    pub metrics: Registry,
    /// Cancelled by SIGTERM and SIGINT, possibly before the process serves.
    pub shutdown: CancellationToken,
    /// Maximum duration of the drain.
    pub grace: Duration,
    /// The effective settings as TOML, without secrets, as `--check` prints them.
    pub settings: String,
    /// Files to reload on SIGHUP.
    pub reread: Vec<Arc<dyn Reload>>,
    hangups: Option<SighupListener>,
    admin: Option<SocketAddr>,
}

impl Starting {
    /// The value that [`main`] passes to its closure, except that [`main`] also handles SIGHUP.
    /// Public for programs that have a `main` of their own, and for tests.
    #[must_use]
    pub fn new(admin: Option<SocketAddr>, shutdown: CancellationToken, grace: Duration) -> Self {
        let health = Health::new();
        health.set_not_ready(STARTING, "not serving yet");
        let (mut metrics, reread) = (Registry::default(), Vec::new());
        let help = "Log lines dropped because the queue was full or writing failed";
        metrics.register("pushsuite_log_lines_dropped", help, logging::dropped());
        process_metrics::register(&mut metrics);
        let settings = String::new();
        Self { health, metrics, shutdown, grace, settings, reread, hangups: None, admin }
    }

    /// To be called once every port is bound: opens `--admin-listen`, reloads files on SIGHUP,
    /// notifies systemd and starts watchdog pings. Then the process is ready unless a condition is
    /// outstanding. `status` is one line for `systemctl status`.
    ///
    /// # Errors
    /// When `--admin-listen` cannot be bound.
    pub fn started(mut self, status: &str) -> Result<Running, listen::CannotListen> {
        let mut tasks = JoinSet::new();
        if let Some(certificates) = Certificates::of(&self.reread) {
            certificates.register(&mut self.metrics);
            supervise::spawn_in(&mut tasks, certificates.watch());
        }
        let admin = match self.admin {
            Some(addr) => {
                let acceptor = listen::bind(addr, "--admin-listen")?;
                let addr = acceptor.addr();
                tracing::info!(%addr, "admin pages");
                let metrics = mem::take(&mut self.metrics);
                let health = self.health.clone();
                supervise::spawn_in(&mut tasks, async move {
                    if let Err(error) = admin::serve(acceptor, health, metrics).await {
                        tracing::error!(%error, "admin server ended");
                    }
                });
                Some(addr)
            }
            None => None,
        };
        if let Some(hangups) = self.hangups.take() {
            let files = mem::take(&mut self.reread);
            supervise::spawn_in(&mut tasks, hangups.reread(files));
        }
        supervise::spawn_in(&mut tasks, systemd::watchdog(self.health.clone()));
        let announce = announce_drain(self.shutdown.clone(), self.health.clone());
        supervise::spawn_in(&mut tasks, announce);
        self.health.set_ready(STARTING);
        systemd::ready(status);
        let Self { health, shutdown, grace, .. } = self;
        let stop_notice = StopNotice(health.clone());
        Ok(Running { health, shutdown, grace, admin, _tasks: tasks, _stop_notice: stop_notice })
    }
}

const STARTING: &str = "starting";

async fn announce_drain(shutdown: CancellationToken, health: Health) {
    shutdown.cancelled().await;
    health.set_draining();
    systemd::stopping("draining");
}

/// A process that serves. Keep it until the end: dropping it closes the admin server and stops
/// the watchdog's pings.
#[derive(Debug)]
pub struct Running {
    /// Readiness and liveness.
    pub health: Health,
    /// Cancelled by SIGTERM and SIGINT: drain and return.
    pub shutdown: CancellationToken,
    /// Maximum duration of the drain.
    pub grace: Duration,
    /// The address of the admin server, if it is enabled.
    pub admin: Option<SocketAddr>,
    // Aborted when dropped.
    _tasks: JoinSet<()>,
    _stop_notice: StopNotice,
}

/// Announces the end when dropped: a drain with nothing to do ends before a task could do so, and
/// a failure has no drain.
#[derive(Debug)]
struct StopNotice(Health);

impl Drop for StopNotice {
    fn drop(&mut self) {
        self.0.set_draining();
        systemd::stopping("stopping");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn process_is_ready_from_start_until_shutdown() {
        let shutdown = CancellationToken::new();
        let starting = Starting::new(None, shutdown.clone(), Duration::ZERO);
        assert_eq!(starting.health.reasons(), ["starting: not serving yet"]);
        let running = starting.started("listening").unwrap();
        assert!(running.health.is_ready());
        shutdown.cancel();
        while running.health.is_ready() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn admin_port_in_use_is_reported_with_its_flag() {
        let taken = listen::bind(([127, 0, 0, 1], 0).into(), "--listen").unwrap();
        let starting = Starting::new(Some(taken.addr()), CancellationToken::new(), Duration::ZERO);
        let error = starting.started("listening").unwrap_err();
        assert!(error.to_string().contains("(--admin-listen): address in use"), "{error}");
    }
}
