//! `--app pusher`: the worker, its HTTP API on `--http-listen`, and the webhooks of its apps.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hooks::engine::{Engine, QUEUE};
use push_suite_cluster::Cluster;
use push_suite_worker::Config;
use pusher::{
    Apps, Pusher,
    http::{self, HttpApi},
    webhooks::Webhooks,
};
use runtime::supervise;
use service::{
    Starting,
    settings::{Current, Reloadable},
};

use crate::Tables;

/// How long a process that stops waits for its webhooks.
const LAST_WEBHOOKS: Duration = Duration::from_secs(5);

/// The parts of the app, which share its apps.
#[derive(Debug)]
pub(crate) struct PusherApp {
    apps: Current<Apps>,
    webhooks: Webhooks,
}

impl PusherApp {
    /// Of the apps in these tables.
    pub(crate) fn new(tables: &Reloadable<Tables>, starting: &mut Starting) -> Self {
        let engine = Engine::new(QUEUE);
        engine.register_metrics(starting.metrics.sub_registry_with_prefix("pushsuite_webhook"));
        let apps = tables.part(|tables| Arc::clone(&tables.pusher));
        Self { apps, webhooks: Webhooks::new(engine) }
    }

    /// The HTTP API, over the links of the listener.
    pub(crate) fn routes(
        &self,
        cluster: Cluster,
        config: &Config,
        starting: &mut Starting,
    ) -> Router {
        let api = HttpApi::new(cluster, &config.secret, self.apps.clone());
        api.register_metrics(starting.metrics.sub_registry_with_prefix("pushsuite_pusher_http"));
        http::routes(api)
    }

    /// Runs the worker until shutdown, and sends what webhooks hold.
    ///
    /// # Errors
    /// Those of the worker.
    pub(crate) async fn serve(self, config: Config, mut starting: Starting) -> anyhow::Result<()> {
        let Self { mut apps, webhooks } = self;
        let observer = Arc::new(webhooks.clone());
        let pusher = Pusher::with_observer(&config.secret, apps.clone(), observer);
        pusher.register_metrics(starting.metrics.sub_registry_with_prefix("pushsuite_pusher"));
        let reloaded = webhooks.clone();
        let reloading = supervise::spawn(async move {
            loop {
                apps.changed().await;
                reloaded.reload(&apps.get());
            }
        });
        let served = push_suite_worker::serve(pusher, config, starting).await;
        reloading.abort();
        webhooks.close(LAST_WEBHOOKS).await;
        served
    }
}
