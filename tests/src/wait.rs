//! Waiting that ends: for a future, or for something to become true.

use std::{fmt::Debug, time::Duration};

use tokio::time::{Instant, sleep, timeout};

/// How long anything that should happen may take. Tests assert no times; this only ends a wait
/// that would never end.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// What `future` brings.
///
/// # Panics
/// When it takes too long; `what` says what was awaited.
pub async fn soon<T>(what: impl Debug, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain: {what:?}"),
    }
}

/// Tries until `attempt` brings something.
///
/// # Panics
/// When that takes too long; `what` says what was awaited.
pub async fn eventually<T>(what: impl Debug, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what:?}");
        sleep(Duration::from_millis(10)).await;
    }
}
