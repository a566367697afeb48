//! The state that requests share.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
};

use push_suite_cluster::Cluster;
use runtime::sync::Mutex;
use service::{Health, settings::Current};
use tokio::sync::Semaphore;

use crate::{
    Keys,
    limits::{IDEMPOTENCY_TIME, Limits},
    metrics::Metrics,
    replays::Replays,
};

/// The state of the API, shared by all requests. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) cluster: Cluster,
    pub(crate) keys: Current<Keys>,
    /// Whether no key is needed while there are none. Not any more once a request found keys.
    pub(crate) is_insecure: AtomicBool,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) limits: Limits,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) replays: Mutex<Replays>,
}

/// Remembered answers, in number and bytes.
const MOST_REPLAYS: usize = 10_000;
const MOST_REPLAY_BYTES: usize = 16 * 1024 * 1024;

impl Api {
    /// The API of a cluster, for the callers with these keys. With `is_insecure`, requests need no
    /// key until there are any.
    pub fn new(
        cluster: Cluster,
        keys: Current<Keys>,
        is_insecure: bool,
        health: Health,
        limits: Limits,
    ) -> Self {
        let replays = Replays::new(IDEMPOTENCY_TIME, MOST_REPLAYS, MOST_REPLAY_BYTES);
        let shared = Shared {
            cluster,
            keys,
            is_insecure: AtomicBool::new(is_insecure),
            health,
            metrics: Metrics::default(),
            limits,
            places: Arc::new(Semaphore::new(limits.requests)),
            replays: Mutex::new(replays),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Its metrics, to be registered.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.shared.cluster
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("cluster", &self.shared.cluster).finish_non_exhaustive()
    }
}
