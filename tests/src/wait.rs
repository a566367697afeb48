//! Waiting with a timeout, for a future or for a condition.

use std::{fmt::Debug, time::Duration};

use tokio::time::{Instant, sleep, timeout};

/// Upper bound of every wait for something that should happen. Tests assert no durations; this only
/// turns a hang into a failure.
pub const TIMEOUT: Duration = Duration::from_secs(15);

/// The output of `future`.
///
/// # Panics
/// After [`TIMEOUT`]; `what` describes what was awaited.
pub async fn with_timeout<T>(what: impl Debug, future: impl Future<Output = T>) -> T {
    match timeout(TIMEOUT, future).await {
        Ok(value) => value,
        Err(_) => panic!("timed out waiting for {what:?}"),
    }
}

/// Polls `attempt` until it returns a value.
///
/// # Panics
/// After [`TIMEOUT`]; `what` describes what was awaited.
pub async fn eventually<T>(what: impl Debug, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(Instant::now() < deadline, "timed out waiting for {what:?}");
        sleep(Duration::from_millis(10)).await;
    }
}
