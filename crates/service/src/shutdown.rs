//! Signals; and a drain with a deadline.

use std::{io, thread, time::Duration};

use tokio::runtime::{Builder, Runtime};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{signals::Signals, supervise};

/// Cancelled by the first SIGTERM or SIGINT. A second one ends the process at once with 128 plus
/// the signal's number, as a shell would report it. What else comes is logged and has no effect; see
/// [`signals`](crate::signals).
///
/// A thread of its own listens, so that this works even while the main runtime is blocked. A
/// drain that outlives `grace` by [`MARGIN`] is ended the same way, with exit code 1. In either case
/// the last log lines may take a moment more ([`logging::FLUSH`](crate::logging::FLUSH)).
///
/// # Errors
/// When the thread or its signal handlers cannot be set up.
pub fn on_signal(grace: Duration) -> io::Result<CancellationToken> {
    Listening::new()?.start(grace)
}

/// Signals that are caught, though nobody acts on them yet.
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

    /// Acts on them; see [`on_signal`].
    pub(crate) fn start(self, grace: Duration) -> io::Result<CancellationToken> {
        let token = CancellationToken::new();
        let Self { runtime, signals } = self;
        let listen = listen(signals, token.clone(), grace);
        let run = move || supervise::run(|| runtime.block_on(listen));
        thread::Builder::new().name("signals".to_owned()).spawn(run)?;
        Ok(token)
    }
}

async fn listen(mut signals: Signals, told: CancellationToken, grace: Duration) {
    let signal = signals.next().await;
    // Acts before it logs, whatever becomes of the line.
    told.cancel();
    let second = tokio::time::timeout(grace.saturating_add(MARGIN), signals.next());
    tracing::info!(signal = signal.name, ?grace, "draining; a second signal ends at once");
    match second.await {
        Ok(signal) => {
            tracing::warn!(signal = signal.name, "ended at once");
            supervise::exit(128 + signal.number);
        }
        Err(_) => {
            tracing::error!(?grace, "still draining long after the deadline; ended");
            supervise::exit(1);
        }
    }
}

/// How long past its deadline a drain may hang before the process is ended anyway.
pub const MARGIN: Duration = Duration::from_secs(5);

/// Cancels `token` and waits for `tasks`, but not for ever. Says whether all of them ended.
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
            tracing::warn!(tasks = tasks.len(), ?grace, "gave up waiting");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_tasks_that_listen() {
        let (token, tasks) = (CancellationToken::new(), TaskTracker::new());
        let told = token.clone();
        supervise::spawn_tracked(&tasks, async move { told.cancelled().await });
        assert!(drain(&token, &tasks, Duration::from_secs(10)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_gives_up_at_its_deadline() {
        let (token, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(std::future::pending::<()>());
        assert!(!drain(&token, &tasks, Duration::from_secs(10)).await);
    }
}
