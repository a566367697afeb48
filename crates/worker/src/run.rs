//! Lifecycle of a worker: start, link to gateways, handle events, drain.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use push_suite_cluster::{Cluster, Status};
use runtime::tls::MutualTls;
use service::{Health, Starting, systemd};
use tokio::time::{Instant, timeout_at};

use crate::{
    Args, Config, Worker, config,
    dispatch::{Dispatcher, Events, catch_panic},
    metrics::Metrics,
};

/// Runs a worker with settings from flags, the environment and a file, until SIGTERM or SIGINT.
/// Call it as the whole body of `main`.
///
/// Exit codes: 0 success, 1 runtime failure, 2 invalid settings, 70 panic outside of a handler.
pub fn main(worker: impl Worker) -> ExitCode {
    service::main_on::<Args, Config>(config::runtime, async |config, starting| {
        serve(worker, config, starting).await
    })
}

/// Runs a worker until shutdown is requested, then drains: it accepts no new events, finishes those
/// in flight, runs [`on_worker_stop`](Worker::on_worker_stop) and flushes its commands.
///
/// The worker is ready while a register is connected, a gateway is linked and answers, and no first
/// link to a gateway is pending. A dead gateway does not make it unready: the others have work.
///
/// # Errors
/// The error of [`on_worker_start`](Worker::on_worker_start), or a failure to bind
/// `--admin-listen`.
pub async fn serve(
    worker: impl Worker,
    config: Config,
    mut starting: Starting,
) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::default());
    let Config {
        registers, secret, key, gateway_grace, handler_retries, peer_timeout, tls, ..
    } = config;
    starting.reread.extend(tls.iter().map(MutualTls::files));
    let dispatcher = Dispatcher::new(worker, handler_retries, Arc::clone(&metrics));
    tracing::info!(worker = key, ?registers, "starting");
    let events = Arc::new(Events(Arc::clone(&dispatcher)));
    let worker = Some(key);
    let config =
        push_suite_cluster::Config { registers, secret, worker, tls, gateway_grace, peer_timeout };
    let cluster = Cluster::idle(config, events);
    dispatcher.set_cluster(cluster.detached());
    let pages = starting.metrics.sub_registry_with_prefix("pushsuite_worker");
    metrics.register(pages);
    cluster.register_metrics(pages);

    let worker = dispatcher.worker();
    tokio::select! {
        started = catch_panic(async { worker.on_worker_start(&cluster).await }) => {
            started.context("on_worker_start failed")?;
        }
        () = starting.shutdown.cancelled() => return Ok(()),
    }
    report(&starting.health, &cluster.status());
    cluster.follow();
    let running = starting.started("linking to gateways")?;
    tokio::select! {
        () = cluster.watch(|status| report(&running.health, &status)) => {}
        () = running.shutdown.cancelled() => {}
    }
    drain(&dispatcher, &cluster, running.grace).await;
    Ok(())
}

/// Updates readiness and the service manager's status line.
fn report(health: &Health, status: &Status) {
    let Status { registers, linked, answering, missing, settled, passive } = status;
    match registers {
        0 => health.set_not_ready("register", "none is connected"),
        _ => health.set_ready("register"),
    }
    match (linked, settled) {
        (0, _) => health.set_not_ready("gateway", "none is linked"),
        (_, true) if *answering == 0 => health.set_not_ready("gateway", "none answers"),
        (_, false) => health.set_not_ready("gateway", "not all have been tried yet"),
        (_, true) if *passive => {
            health.set_not_ready("gateway", "some are out of reach; other workers take the events");
        }
        (_, true) => health.set_ready("gateway"),
    }
    match missing.len() {
        0 => systemd::status(&format!("linked to {linked} gateways")),
        missing => systemd::status(&format!("linked to {linked} gateways; {missing} unreachable")),
    }
}

/// Stops in order, within `grace`; the last quarter is reserved for `on_worker_stop` and the flush.
async fn drain<W: Worker>(dispatcher: &Dispatcher<W>, cluster: &Cluster, grace: Duration) {
    let end = Instant::now() + grace;
    dispatcher.drain();
    let finish = async {
        cluster.leave().await;
        dispatcher.idle().await;
        cluster.released().await;
    };
    match timeout_at(end - grace / 4, finish).await {
        Ok(()) => match dispatcher.events_left() {
            0 => tracing::info!("drained; all events handled"),
            events => tracing::info!(events, "drained; events left to other workers"),
        },
        Err(_) => tracing::warn!(
            ?grace,
            "drain deadline exceeded; unfinished events left to other workers"
        ),
    }
    let last = async {
        let stop = async { dispatcher.worker().on_worker_stop(cluster).await };
        if let Err(error) = catch_panic(stop).await {
            tracing::error!(error = format!("{error:#}"), "on_worker_stop failed");
        }
        cluster.close().await;
    };
    if timeout_at(end, last).await.is_err() {
        tracing::warn!(?grace, "drain deadline exceeded; gateways may not have read all commands");
    }
}
