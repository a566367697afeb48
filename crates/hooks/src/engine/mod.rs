//! Sends requests to receivers: in order for each key, retried, and bounded in everything.
//!
//! * Each receiver has its own queue, connections, circuit breaker and number of requests at a
//!   time, so that one that hangs delays no other.
//! * [`Endpoint::post`] queues a request and returns; [`Endpoint::deliver`] waits until it is
//!   accepted or given up; [`Endpoint::call`] sends it once; [`Endpoint::post_in_batch`]
//!   queues an event that is sent together with others.
//! * Private addresses are allowed, since a URL is the operator's own; redirects are not followed.

mod batch;
mod connections;
mod endpoint;
mod metrics;
mod request;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Weak},
};

use prometheus_client::registry::Registry;
use runtime::{sync::Mutex, tls::HttpsClient};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    batch::Batching,
    connections::MAX_RESPONSE,
    endpoint::{Delivery, Endpoint, LEAST_TIME},
    request::{Attempt, Delivered, Failure, Head, HookRequest, HookResponse, OrderKey, QueueFull},
};
use self::{connections::Connections, endpoint::Receiver, metrics::Metrics};
use crate::{lanes::Limits, url::HookUrl};

/// How much the queue of one receiver may hold: 10,000 requests and 16 MiB.
pub const QUEUE: Limits = Limits { count: 10_000, bytes: 16 * 1024 * 1024 };

/// A receiver. Those that are equal share their queue, circuit and connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Where it is.
    pub url: HookUrl,
    /// A PEM file with the CAs to trust; `None` for those of the system.
    pub ca: Option<PathBuf>,
    /// The most requests at a time.
    pub max_in_flight: usize,
    /// The origin that the receiver has to allow before its first request: asked with OPTIONS
    /// (the abuse protection of CloudEvents' webhooks).
    pub origin: Option<String>,
}

impl Target {
    /// A receiver that is trusted by the CAs of the system, with 256 requests at a time.
    pub const fn new(url: HookUrl) -> Self {
        Self { url, ca: None, max_in_flight: 256, origin: None }
    }
}

/// Sends requests to receivers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    receivers: Mutex<HashMap<Target, Weak<Receiver>>>,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Engine {
    /// Without receivers; `limits` are those of the queue of each, usually [`QUEUE`].
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Inner {
            limits,
            receivers: Mutex::default(),
            metrics: Arc::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// Registers its metrics, without a prefix: `pushsuite_webhook` is that of the suite.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.0.metrics.register(registry);
    }

    /// A receiver, and how requests are sent to it. An equal receiver that is in use or has
    /// requests is continued.
    ///
    /// # Errors
    /// When the URL begins with `https` and its CAs cannot be read.
    pub fn endpoint(&self, target: &Target, delivery: Delivery) -> anyhow::Result<Endpoint> {
        let existing = self.0.receivers.lock().get(target).and_then(Weak::upgrade);
        if let Some(receiver) = existing {
            return Ok(Endpoint { receiver, delivery });
        }
        let Target { url, ca, .. } = target;
        let tls = url.is_tls().then(|| HttpsClient::new(ca.as_deref())).transpose()?;
        let connections = Connections::new(url.clone(), tls);
        let Inner { limits, metrics, tasks, stop, .. } = &*self.0;
        let shared = (Arc::clone(metrics), tasks.clone(), stop.clone());
        let receiver = Arc::new(Receiver::new(target, connections, *limits, shared));
        let mut receivers = self.0.receivers.lock();
        receivers.retain(|_, receiver| 0 < receiver.strong_count());
        receivers.insert(target.clone(), Arc::downgrade(&receiver));
        Ok(Endpoint { receiver, delivery })
    }

    /// Sends to receivers that have answered 410 again. To be called when the settings have been
    /// read again.
    pub fn switch_on(&self) {
        let receivers: Vec<_> =
            self.0.receivers.lock().values().filter_map(Weak::upgrade).collect();
        receivers.iter().for_each(|receiver| receiver.switch_on());
    }

    /// Waits until every posted request is delivered or given up.
    pub async fn flush(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.tasks.reopen();
    }

    /// Ends the queues: posted requests that are not under way are dropped.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }
}
