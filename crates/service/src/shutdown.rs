//! Signals; and a drain with a deadline.

use std::{io, process, thread, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Cancelled by the first SIGTERM or SIGINT. A second one ends the process at once with 128 plus
/// the signal's number, as a shell would report it.
///
/// A thread of its own listens, so that this works even while the main runtime is blocked. A
/// drain that outlives `grace` by [`MARGIN`] is ended the same way, with exit code 1.
///
/// # Errors
/// When the thread or its signal handlers cannot be set up.
pub fn on_signal(grace: Duration) -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let told = token.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let mut signals = Signals::new()?;
    drop(entered);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let (_, name) = signals.next().await;
            tracing::info!(signal = name, ?grace, "draining; a second signal ends at once");
            told.cancel();
            match tokio::time::timeout(grace.saturating_add(MARGIN), signals.next()).await {
                Ok((number, name)) => {
                    tracing::warn!(signal = name, "ended at once");
                    process::exit(128 + number);
                }
                Err(_) => {
                    tracing::error!(?grace, "still draining long after the deadline; ended");
                    process::exit(1);
                }
            }
        });
    })?;
    Ok(token)
}

/// How long past its deadline a drain may hang before the process is ended anyway.
pub const MARGIN: Duration = Duration::from_secs(5);

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { terminate, interrupt })
    }

    async fn next(&mut self) -> (i32, &'static str) {
        tokio::select! {
            _ = self.terminate.recv() => (SignalKind::terminate().as_raw_value(), "SIGTERM"),
            _ = self.interrupt.recv() => (SignalKind::interrupt().as_raw_value(), "SIGINT"),
        }
    }
}

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
        tasks.spawn(async move { told.cancelled().await });
        assert!(drain(&token, &tasks, Duration::from_secs(10)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_gives_up_at_its_deadline() {
        let (token, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(std::future::pending::<()>());
        assert!(!drain(&token, &tasks, Duration::from_secs(10)).await);
    }
}
