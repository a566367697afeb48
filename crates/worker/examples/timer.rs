//! A timer that runs once in a cluster, however many workers there are: every worker has it, and
//! only the first of them acts. Start a register and a gateway, then `cargo run --example timer`
//! several times.

use std::{process::ExitCode, time::Duration};

use push_suite_worker::{
    Client, Cluster, Message, Process, Recipients, Worker, anyhow, serde_json::json,
};
use tokio::time::{MissedTickBehavior, interval};

struct Clock;

impl Worker for Clock {
    async fn on_worker_start(&self, process: &Process) -> anyhow::Result<()> {
        tracing::info!(name = process.name(), id = process.id(), "timer started");
        tokio::spawn(tick(process.cluster().clone()));
        Ok(())
    }

    async fn on_message(&self, _: &Client, _: Message) -> anyhow::Result<()> {
        Ok(())
    }
}

async fn tick(cluster: Cluster) {
    let mut seconds = interval(Duration::from_secs(5));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        // Asked at each tick: the first worker may have ended meanwhile.
        if !cluster.is_first_worker() {
            continue;
        }
        let clients = cluster.count().await.ok();
        if let Err(error) = cluster.send_to_all(Recipients::All, json!({"online": clients})).await {
            tracing::warn!(%error, "clients are not notified");
        }
    }
}

fn main() -> ExitCode {
    push_suite_worker::main(Clock)
}
