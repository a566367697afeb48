//! The limits of the push API. Each is named in the error of a request that exceeds it.

use std::time::Duration;

/// The longest body of a request, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// The most clients, uids or groups that one request names, in each of its lists.
pub const MAX_TARGETS: usize = 1_000;

/// The most commands of a batch.
pub const MAX_COMMANDS: usize = 1_000;

/// The most items of a page.
pub const MAX_PAGE: usize = 1_000;

/// Items of a page without `limit`.
pub const DEFAULT_PAGE: usize = 100;

/// The longest `Idempotency-Key`, in bytes.
pub const MAX_IDEMPOTENCY_KEY: usize = 255;

/// How long the answer to a request with an `Idempotency-Key` is remembered.
pub const IDEMPOTENCY_TIME: Duration = Duration::from_secs(300);

/// How long a request waits for reports of gateways, in total. A gateway that has not answered by
/// then is listed as unreachable.
pub const REPORT_TIME: Duration = Duration::from_secs(5);

/// How long a request may take in total; a gateway that takes no commands may block it.
pub const REQUEST_TIME: Duration = Duration::from_secs(30);

/// How long the commands of a batch, or of the answer of a webhook, take at most, in total; what is
/// left then is not executed.
pub const COMMANDS_TIME: Duration = Duration::from_secs(24);

/// How long a command waits for reports after the commands before it have waited for long enough.
pub const LEAST_REPORT_TIME: Duration = Duration::from_millis(20);

/// How long the next of several commands waits for reports, after so much time. Gateways that do not
/// answer delay all commands once, and not each of them.
#[must_use]
pub fn report_time(elapsed: Duration) -> Duration {
    REPORT_TIME.saturating_sub(elapsed).max(LEAST_REPORT_TIME)
}

/// The limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; further ones wait in the kernel.
    pub connections: usize,
    /// Requests at a time, over all connections; further ones are answered with 503.
    pub requests: usize,
    /// From the first byte of a head, or the opening of the connection, to the end of the head.
    pub head_time: Duration,
    /// From the head to the end of the body.
    pub body_time: Duration,
    /// How long a connection may be idle, or a peer take no byte of an answer.
    pub idle_time: Duration,
    /// The age at which a connection is closed behind its current requests.
    pub lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            // Each may hold a body of 1 MiB.
            requests: 256,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(75),
            lifetime: Duration::from_secs(3_600),
        }
    }
}
