//! Graceful shutdown: signals, and a drain with a deadline.

use std::{io, thread, time::Duration};

use runtime::supervise;
use tokio::runtime::{Builder, Runtime};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{logging, signals::Signals};

/// Cancelled by the first SIGTERM or SIGINT. A second one ends the process at once with 128 plus
/// the signal's number, as a shell would report it. Other signals are only logged; see
/// [`signals`](crate::signals).
///
/// Signals are handled on a dedicated thread, so that this works even while the main runtime is
/// blocked. A drain that exceeds `grace` by [`MARGIN`] is ended the same way, with exit code 1. In
/// either case, flushing the log may take up to [`logging::FLUSH`] more.
///
/// # Errors
/// When the thread or its signal handlers cannot be set up.
pub fn on_signal(grace: Duration) -> io::Result<CancellationToken> {
    Listening::new()?.start(grace)
}

/// Signals that are caught, but not acted on yet.
#[derive(Debug)]
pub(crate) struct Listening {
    runtime: Runtime,
    signals: Signals,
}

impl Listening {
    pub(crate) fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let signals = Signals::new()?;
        drop(entered);
        Ok(Self { runtime, signals })
    }

    /// Starts acting on them; see [`on_signal`].
    pub(crate) fn start(self, grace: Duration) -> io::Result<CancellationToken> {
        let token = CancellationToken::new();
        let Self { runtime, signals } = self;
        let listen = listen(signals, token.clone(), grace);
        let run = move || supervise::run(|| runtime.block_on(listen));
        thread::Builder::new().name("signals".to_owned()).spawn(run)?;
        Ok(token)
    }
}

async fn listen(mut signals: Signals, shutdown: CancellationToken, grace: Duration) {
    let signal = signals.next().await;
    // Before logging, so that it does not depend on the log.
    shutdown.cancel();
    let second = tokio::time::timeout(grace.saturating_add(MARGIN), signals.next());
    tracing::info!(
        signal = signal.name,
        ?grace,
        "draining; a second signal ends the process at once"
    );
    match second.await {
        Ok(signal) => {
            tracing::warn!(signal = signal.name, "second signal; exiting at once");
            logging::exit(128 + signal.number);
        }
        Err(_) => {
            tracing::error!(?grace, "drain exceeded its deadline; exiting");
            logging::exit(1);
        }
    }
}

/// How long a drain may exceed its deadline before the process is ended.
pub const MARGIN: Duration = Duration::from_secs(5);

/// Cancels `token` and waits for `tasks`, for at most `grace`. Returns whether all of them ended.
pub async fn drain(token: &CancellationToken, tasks: &TaskTracker, grace: Duration) -> bool {
    token.cancel();
    tasks.close();
    let left = tasks.len();
    match tokio::time::timeout(grace, tasks.wait()).await {
        Ok(()) => {
            tracing::info!(tasks = left, "drained");
            true
        }
        Err(_) => {
            tracing::warn!(tasks = tasks.len(), ?grace, "drain deadline exceeded; tasks abandoned");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn drain_waits_for_tasks_that_end_on_cancellation() {
        let (token, tasks) = (CancellationToken::new(), TaskTracker::new());
        let shutdown = token.clone();
        supervise::spawn_tracked(&tasks, async move { shutdown.cancelled().await });
        assert!(drain(&token, &tasks, Duration::from_secs(10)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn drain_of_a_task_that_never_ends_stops_at_its_deadline() {
        let (token, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(std::future::pending::<()>());
        assert!(!drain(&token, &tasks, Duration::from_secs(10)).await);
    }
}
