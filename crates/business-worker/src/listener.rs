//! The listener of `--http-listen`, beside any app or alone.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::Router;
use http_api::{Api, limits::Limits, not_found};
use push_suite_cluster::{Cluster, ClusterGuard, Status};
use push_suite_worker::{Config, report_readiness};
use runtime::{
    listen::{self, Acceptor},
    supervise,
    thread::TaskThread,
};
use service::{Health, Starting, settings::Reloadable, systemd};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{Tables, http_settings::Http};

/// How long the thread may go without running its event loop before it counts as stalled.
const STUCK: Duration = Duration::from_secs(10);

/// A listener that is bound and does not serve yet.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Serves all connections, and has the links to the gateways: what several requests send to a
    /// gateway leaves in one write.
    thread: TaskThread,
    acceptor: Acceptor,
    cluster: ClusterGuard,
    api: Api,
    grace: Duration,
    stop: CancellationToken,
}

impl Listener {
    /// Binds the address, and starts to link to the gateways: as a back end of its own, so that the
    /// listener depends on no worker.
    ///
    /// # Errors
    /// When the address cannot be bound, or a thread cannot be had.
    pub(crate) fn bind(
        http: &Http,
        config: &Config,
        tables: &Reloadable<Tables>,
        starting: &mut Starting,
    ) -> anyhow::Result<Self> {
        let thread = TaskThread::start("http").context("cannot start a thread")?;
        let entered = thread.enter();
        let acceptor = listen::bind(http.addr, "--http-listen")?;
        let cluster = push_suite_cluster::Config::new(&config.registers, config.secret.clone())
            .tls(config.tls.clone())
            .gateway_grace(config.gateway_grace)
            .peer_timeout(config.peer_timeout);
        let cluster = Cluster::start(cluster);
        drop(supervise::spawn(starting.health.pulse("http", STUCK).keep_beating()));
        drop(entered);
        let keys = tables.part(|tables| Arc::clone(&tables.api));
        let health = starting.health.clone();
        let api =
            Api::new(cluster.cluster().clone(), keys, http.insecure, health, Limits::default());
        api.metrics().register(&mut starting.metrics);
        let links = starting.metrics.sub_registry_with_prefix("pushsuite_http_cluster");
        cluster.register_metrics(links);
        tracing::info!(addr = %acceptor.addr(), "push API");
        let stop = starting.shutdown.child_token();
        Ok(Self { thread, acceptor, cluster, api, grace: starting.grace, stop })
    }

    /// Its links.
    pub(crate) fn cluster(&self) -> &Cluster {
        self.cluster.cluster()
    }

    /// Serves, with further paths of the app, until the process shuts down, then finishes the
    /// requests that it has accepted.
    pub(crate) fn start(self, more: Router) -> Serving {
        let Self { thread, acceptor, cluster, api, grace, stop } = self;
        let metrics = api.metrics().clone();
        let router = http_api::routes(api).merge(more).fallback(not_found);
        let stopped = stop.clone();
        let entered = thread.enter();
        let task = supervise::spawn(async move {
            let serving =
                http_api::serve(acceptor, router, Limits::default(), metrics, stopped.clone());
            let deadline = async {
                stopped.cancelled().await;
                tokio::time::sleep(grace * 3 / 4).await;
            };
            tokio::select! {
                () = serving => tracing::info!("push API drained"),
                () = deadline => tracing::warn!(?grace, "drain deadline of the push API exceeded"),
            }
            if timeout(grace / 4, cluster.close()).await.is_err() {
                tracing::warn!("gateways have not confirmed everything that was sent to them");
            }
        });
        drop(entered);
        Serving { task, stop, _thread: thread }
    }
}

/// A listener that serves.
#[derive(Debug)]
pub(crate) struct Serving {
    task: JoinHandle<()>,
    stop: CancellationToken,
    _thread: TaskThread,
}

impl Serving {
    /// Stops, and waits for the end.
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        // The task is supervised.
        let _ = self.task.await;
    }
}

/// `--app none`: the listener alone.
///
/// # Errors
/// When `--admin-listen` cannot be bound.
pub(crate) async fn serve_alone(
    listener: Listener,
    config: Config,
    mut starting: Starting,
) -> anyhow::Result<()> {
    starting.reread.extend(config.tls.iter().map(push_suite_cluster::Tls::files));
    let cluster = listener.cluster().clone();
    report(&starting.health, &cluster.status());
    let serving = listener.start(Router::new());
    let running = starting.started("linking to gateways")?;
    tokio::select! {
        () = cluster.watch(|status| report(&running.health, &status)) => {}
        () = running.shutdown.cancelled() => {}
    }
    serving.finish().await;
    Ok(())
}

/// Updates readiness and the status line, as a worker does.
fn report(health: &Health, status: &Status) {
    report_readiness(health, status);
    systemd::status(&format!("push API, linked to {} gateways", status.linked));
}
