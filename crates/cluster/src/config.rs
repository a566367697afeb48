//! Settings of a cluster.

use std::time::Duration;

use protocol::{CloseCodes, Secret};

use crate::{Streams, Tls};

/// Default of [`Config::gateway_grace`].
pub const GATEWAY_GRACE: Duration = Duration::from_secs(10);

/// Default of [`Config::peer_timeout`].
pub const PEER_TIMEOUT: Duration = Duration::from_secs(30);

/// Settings of a cluster: those without a default, then one method for each of the others.
///
/// ```
/// # use std::time::Duration;
/// # use push_suite_cluster::Config;
/// let config = Config::new(["10.0.0.10:1236"], "s3cret").peer_timeout(Duration::from_secs(10));
/// # assert_eq!(config.peer_timeout, Duration::from_secs(10));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Registers, each as `host:port`.
    pub registers: Vec<String>,
    /// The secret key of the cluster.
    pub secret: Secret,
    /// TLS to registers and gateways, if the cluster uses it.
    pub tls: Option<Tls>,
    /// Peer timeout: a link is closed if the gateway sends nothing for this long, liveness probes
    /// included. Not zero.
    pub peer_timeout: Duration,
    /// Grace period: how long a disconnected gateway must be missing from all registers until it is
    /// declared dead. Nothing waits for it from then on, and a worker is notified that its clients
    /// have disconnected.
    pub gateway_grace: Duration,
    /// Codes with which gateways close the clients of this worker, in place of their own. A program
    /// that takes no events has no clients, and needs none.
    pub close_codes: CloseCodes,
    /// The store of streams, and how clients receive them.
    pub streams: Option<Streams>,
}

impl Config {
    /// The registers, each as `host:port`, and the secret key of the cluster, which is empty if it
    /// has none.
    pub fn new(
        registers: impl IntoIterator<Item: Into<String>>,
        secret: impl Into<Secret>,
    ) -> Self {
        let registers = registers.into_iter().map(Into::into).collect();
        Self {
            registers,
            secret: secret.into(),
            tls: None,
            peer_timeout: PEER_TIMEOUT,
            gateway_grace: GATEWAY_GRACE,
            close_codes: CloseCodes::default(),
            streams: None,
        }
    }

    /// Sets [`tls`](Self#structfield.tls): none by default.
    #[must_use]
    pub fn tls(mut self, tls: impl Into<Option<Tls>>) -> Self {
        self.tls = tls.into();
        self
    }

    /// Sets [`peer_timeout`](Self#structfield.peer_timeout): 30 seconds by default.
    #[must_use]
    pub fn peer_timeout(mut self, timeout: Duration) -> Self {
        self.peer_timeout = timeout;
        self
    }

    /// Sets [`gateway_grace`](Self#structfield.gateway_grace): 10 seconds by default.
    #[must_use]
    pub fn gateway_grace(mut self, grace: Duration) -> Self {
        self.gateway_grace = grace;
        self
    }

    /// Sets [`streams`](Self#structfield.streams): none by default.
    #[must_use]
    pub fn streams(mut self, streams: impl Into<Option<Streams>>) -> Self {
        self.streams = streams.into();
        self
    }

    /// Sets [`close_codes`](Self#structfield.close_codes): none by default.
    #[must_use]
    pub fn close_codes(mut self, codes: CloseCodes) -> Self {
        self.close_codes = codes;
        self
    }
}
