//! The time.

use std::time::Instant;

/// Now, as timers have it: where a test has stopped the clock of its runtime, so is this.
#[must_use]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
