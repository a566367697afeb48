//! A worker's life: start, link, handle, drain.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use client::{Cluster, Status};
use service::{Health, Starting, systemd, tls::Inner};
use tokio::time::{Instant, timeout_at};

use crate::{
    Args, Config, Worker, config,
    dispatch::{Dispatcher, Events, caught},
    metrics::Metrics,
};

/// Runs a worker with settings from flags, the environment and a file, until SIGTERM or SIGINT.
/// The whole of a `main`.
///
/// Exit codes: 0 done, 1 failed while running, 2 bad settings, 70 a panic outside of a method.
pub fn main(worker: impl Worker) -> ExitCode {
    service::main_on::<Args, Config>(config::runtime, async |config, starting| {
        serve(worker, config, starting).await
    })
}

/// Runs a worker until it is told to stop, and drains: no new events, those in hand are finished,
/// [`on_worker_stop`](Worker::on_worker_stop) runs, what was sent is written.
///
/// Ready means: a register is connected, a gateway is linked and answers, and none is being linked
/// for the first time. A gateway that is gone makes nobody unready: the others have work.
///
/// # Errors
/// What [`on_worker_start`](Worker::on_worker_start) fails with, and when `--admin-listen` cannot
/// be had.
pub async fn serve(
    worker: impl Worker,
    config: Config,
    mut starting: Starting,
) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::default());
    let Config {
        registers, secret, key, gateway_grace, handler_retries, peer_timeout, tls, ..
    } = config;
    starting.reread.extend(tls.iter().map(Inner::files));
    let dispatcher = Dispatcher::new(worker, handler_retries, Arc::clone(&metrics));
    tracing::info!(worker = key, ?registers, "starting");
    let events = Arc::new(Events(Arc::clone(&dispatcher)));
    let worker = Some(key);
    let config = client::Config { registers, secret, worker, tls, gateway_grace, peer_timeout };
    let cluster = Cluster::idle(config, events);
    dispatcher.set_cluster(cluster.detached());
    let pages = starting.metrics.sub_registry_with_prefix("worker");
    metrics.register(pages);
    cluster.register_metrics(pages);

    let worker = dispatcher.worker();
    tokio::select! {
        started = caught(async { worker.on_worker_start(&cluster).await }) => {
            started.context("on_worker_start failed")?;
        }
        () = starting.shutdown.cancelled() => return Ok(()),
    }
    tell(&starting.health, &cluster.status());
    cluster.follow();
    let running = starting.started("linking to gateways")?;
    tokio::select! {
        () = cluster.watch(|status| tell(&running.health, &status)) => {}
        () = running.shutdown.cancelled() => {}
    }
    drain(&dispatcher, &cluster, running.grace).await;
    Ok(())
}

/// Says what is missing, if anything.
fn tell(health: &Health, status: &Status) {
    let Status { registers, linked, answering, missing, settled, passive } = status;
    match registers {
        0 => health.set_not_ready("register", "none is connected"),
        _ => health.set_ready("register"),
    }
    match (linked, settled) {
        (0, _) => health.set_not_ready("gateway", "none is linked"),
        (_, true) if *answering == 0 => health.set_not_ready("gateway", "none answers"),
        (_, false) => health.set_not_ready("gateway", "not all were tried yet"),
        (_, true) if *passive => {
            health.set_not_ready("gateway", "some are out of reach; other workers take the events");
        }
        (_, true) => health.set_ready("gateway"),
    }
    match missing.len() {
        0 => systemd::status(&format!("linked to {linked} gateways")),
        gone => systemd::status(&format!("linked to {linked} gateways; {gone} not reached")),
    }
}

/// Stops in order, each step within what is left of `grace`; a part of it is kept for the last.
async fn drain<W: Worker>(dispatcher: &Dispatcher<W>, cluster: &Cluster, grace: Duration) {
    let end = Instant::now() + grace;
    dispatcher.drain();
    let in_hand = async {
        cluster.leave().await;
        dispatcher.idle().await;
        cluster.released().await;
    };
    match timeout_at(end - grace / 4, in_hand).await {
        Ok(()) => match dispatcher.left() {
            0 => tracing::info!("every event is done with"),
            events => tracing::info!(events, "the others are done with; these are left"),
        },
        Err(_) => tracing::warn!(?grace, "events are left to other workers"),
    }
    let last = async {
        let stop = async { dispatcher.worker().on_worker_stop(cluster).await };
        if let Err(error) = caught(stop).await {
            tracing::error!(error = format!("{error:#}"), "on_worker_stop failed");
        }
        cluster.close().await;
    };
    if timeout_at(end, last).await.is_err() {
        tracing::warn!(?grace, "gave up waiting for gateways to read what was sent");
    }
}
