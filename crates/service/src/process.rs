//! A process from settings to exit code.

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
use serde::Serialize;
use tokio::{runtime::Runtime, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    admin,
    hangup::Hangups,
    health::Health,
    limits, listen, logging,
    settings::{self, Common, Effective, Warning},
    shutdown::Listening,
    supervise, systemd,
    tls::Reread,
};

/// Runs a process on a current-thread runtime and says how it ended.
///
/// In order: settings are read (`A`) and checked (`C`), before anything else happens; `--check`
/// prints them and ends here; logging and signals are set up; `serve` binds what it needs, calls
/// [`Starting::started`], serves until [`Running::shutdown`] is cancelled, drains, and returns.
///
/// Exit codes: 0 done, 1 failed while starting or running, 2 bad settings, 70 a panic
/// ([`supervise`]). A second signal ends at once with 128 plus its number.
///
/// It replaces the panic hook by one that logs; `serve` may set another.
///
/// ```no_run
/// # use service::{Starting, settings::Common};
/// # #[derive(clap::Parser, serde::Serialize)]
/// # struct Args { #[command(flatten)] #[serde(flatten)] common: Common }
/// # impl AsRef<Common> for Args { fn as_ref(&self) -> &Common { &self.common } }
/// # struct Config;
/// # impl TryFrom<Args> for Config {
/// #     type Error = anyhow::Error;
/// #     fn try_from(_: Args) -> anyhow::Result<Self> { Ok(Self) }
/// # }
/// # impl service::settings::Effective for Config {}
/// fn main() -> std::process::ExitCode {
///     service::main::<Args, Config>(async |_config, starting| {
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
    let main = AssertUnwindSafe(|| main_of::<A, C>(runtime, serve));
    // Once logging is set up, a panic ends the process before it comes here.
    panic::catch_unwind(main).unwrap_or_else(|_| supervise::PANICKED.into())
}

fn main_of<A, C>(
    runtime: impl FnOnce(&C) -> io::Result<Runtime>,
    serve: impl AsyncFnOnce(C, Starting) -> anyhow::Result<()>,
) -> ExitCode
where
    A: Parser + Serialize + AsRef<Common>,
    C: TryFrom<A, Error: Into<anyhow::Error>> + Effective,
{
    let loaded = match settings::load::<A>() {
        Ok(loaded) => loaded,
        Err(refused) => return refused.report(),
    };
    let common = loaded.args.as_ref().clone();
    let sheet = loaded.sheet();
    let checked = || -> anyhow::Result<_> {
        logging::check()?;
        let config = C::try_from(loaded.args).map_err(Into::into)?;
        Ok((config, common.admin()?))
    };
    let (config, admin) = match checked() {
        Ok(checked) => checked,
        Err(error) => return bad_settings(&error),
    };
    if common.check {
        for warning in config.warnings() {
            let _ = writeln!(io::stderr(), "warning: {}: {}", warning.flag, warning.problem);
        }
        // A reader that hung up (`| head`) got what it wanted.
        let _ = io::stdout().write_all(sheet.to_toml(&config.derived()).as_bytes());
        return ExitCode::SUCCESS;
    }
    // Before anything is logged: the first line may be more than a file may have.
    let signals = Listening::new();
    if let Err(error) = logging::init(common.log_format) {
        return bad_settings(&error);
    }
    for Warning { flag, problem } in config.warnings() {
        tracing::warn!(flag, problem, "questionable setting");
    }
    supervise::end_process_on_panic();
    limits::raise_descriptors();
    let ended = match supervise::run(|| run(&common, admin, signals, runtime, config, serve)) {
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

/// The exit code of a process that was told to do something it cannot do.
pub const BAD_SETTINGS: u8 = 2;

fn run<C>(
    common: &Common,
    admin: Option<SocketAddr>,
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
        match Hangups::listen() {
            Ok(hangups) => starting.hangups = Some(hangups),
            Err(error) => tracing::warn!(%error, "cannot listen to SIGHUP"),
        }
        serve(config, starting).await
    });
    // What blocks a thread now must not keep the process from ending.
    runtime.shutdown_background();
    ended
}

/// A process that has not begun to serve.
#[derive(Debug)]
pub struct Starting {
    /// Why we might not be ready; hand out clones.
    pub health: Health,
    /// What `/metrics` shows; register everything before [`started`](Self::started).
    pub metrics: Registry,
    /// Cancelled by SIGTERM and SIGINT, possibly before we serve.
    pub shutdown: CancellationToken,
    /// How long a drain may take.
    pub grace: Duration,
    /// What SIGHUP has read again.
    pub reread: Vec<Arc<dyn Reread>>,
    hangups: Option<Hangups>,
    admin: Option<SocketAddr>,
}

impl Starting {
    /// What [`main`] hands to its closure, which also listens to SIGHUP; for tests of a whole process
    /// too.
    #[must_use]
    pub fn new(admin: Option<SocketAddr>, shutdown: CancellationToken, grace: Duration) -> Self {
        let health = Health::new();
        health.set_not_ready(STARTING, "not serving yet");
        let (mut metrics, reread) = (Registry::default(), Vec::new());
        let help = "Log lines that could not be written, or not be kept until they were";
        metrics.register("log_lines_dropped", help, logging::dropped());
        Self { health, metrics, shutdown, grace, reread, hangups: None, admin }
    }

    /// Call this once every port is bound: opens `--admin-listen`, rereads files at SIGHUP, tells systemd,
    /// and feeds its watchdog. Ready now, unless another condition is outstanding. `status` is one line for
    /// `systemctl status`.
    ///
    /// # Errors
    /// When `--admin-listen` cannot be had.
    pub fn started(mut self, status: &str) -> Result<Running, listen::CannotListen> {
        let mut tasks = JoinSet::new();
        let admin = match self.admin {
            Some(addr) => {
                let acceptor = listen::bind(addr, "--admin-listen")?;
                let addr = acceptor.addr();
                tracing::info!(%addr, "admin pages");
                let metrics = mem::take(&mut self.metrics);
                let health = self.health.clone();
                supervise::spawn_in(&mut tasks, async move {
                    if let Err(error) = admin::serve(acceptor, health, metrics).await {
                        tracing::error!(%error, "admin pages ended");
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
        let goodbye = say_goodbye(self.shutdown.clone(), self.health.clone());
        supervise::spawn_in(&mut tasks, goodbye);
        self.health.set_ready(STARTING);
        systemd::ready(status);
        let Self { health, shutdown, grace, .. } = self;
        let goodbye = Goodbye(health.clone());
        Ok(Running { health, shutdown, grace, admin, _tasks: tasks, _goodbye: goodbye })
    }
}

const STARTING: &str = "starting";

async fn say_goodbye(shutdown: CancellationToken, health: Health) {
    shutdown.cancelled().await;
    health.set_draining();
    systemd::stopping("draining");
}

/// A process that serves. Keep it until the end: dropping it closes the admin pages and stops
/// the watchdog's pings.
#[derive(Debug)]
pub struct Running {
    /// Why we might not be ready.
    pub health: Health,
    /// Cancelled by SIGTERM and SIGINT: drain and return.
    pub shutdown: CancellationToken,
    /// How long the drain may take.
    pub grace: Duration,
    /// Where the admin pages are, if anywhere.
    pub admin: Option<SocketAddr>,
    // Ended when dropped.
    _tasks: JoinSet<()>,
    _goodbye: Goodbye,
}

/// Tells of the end when dropped: a drain with nothing to do is over before any task could, and
/// a failure has no drain.
#[derive(Debug)]
struct Goodbye(Health);

impl Drop for Goodbye {
    fn drop(&mut self) {
        self.0.set_draining();
        systemd::stopping("stopping");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_once_started_and_never_again_once_told_to_stop() {
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
    async fn a_taken_admin_port_is_named() {
        let taken = listen::bind(([127, 0, 0, 1], 0).into(), "--listen").unwrap();
        let starting = Starting::new(Some(taken.addr()), CancellationToken::new(), Duration::ZERO);
        let error = starting.started("listening").unwrap_err();
        assert!(error.to_string().contains("(--admin-listen): address in use"), "{error}");
    }
}
