//! Workers under test, and one that reports its events.

#![allow(dead_code, unreachable_pub, reason = "shared by several tests; none uses all of it")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use push_suite_worker::{Client, CloseReason, Config, Handshake, Message, Process, Worker, serve};
use service::Starting;
use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use test_support::fakes::{FakeGateway, FakeLink, FakeRegister, SECRET, Subscriber, soon};

/// A running worker, and how to stop it.
pub struct Running {
    pub stop: CancellationToken,
    pub ended: JoinHandle<anyhow::Result<()>>,
    pub health: service::Health,
    pub subscriber: Subscriber,
    pub register: FakeRegister,
}

impl Running {
    pub async fn ended(self) -> anyhow::Result<()> {
        soon(self.ended).await.expect("no panic")
    }
}

pub async fn start(worker: impl Worker, gateways: &[&FakeGateway]) -> Running {
    start_with(worker, gateways, 0).await
}

/// Starts a worker with this many handler retries.
pub async fn start_with(
    worker: impl Worker,
    gateways: &[&FakeGateway],
    handler_retries: u32,
) -> Running {
    start_as(worker, gateways, |config| config.handler_retries = handler_retries).await
}

/// Starts a worker with altered settings.
pub async fn start_as(
    worker: impl Worker,
    gateways: &[&FakeGateway],
    alter: impl FnOnce(&mut Config),
) -> Running {
    let register = FakeRegister::start().await;
    let mut config = Config::new([register.address()], SECRET).name("Test").id(1).threads(1);
    alter(&mut config);
    let stop = CancellationToken::new();
    let starting = Starting::new(None, stop.clone(), Duration::from_secs(10));
    let health = starting.health.clone();
    let ended = tokio::spawn(serve(worker, config, starting));
    let subscriber = register.serve(gateways).await;
    Running { stop, ended, health, subscriber, register }
}

/// Starts a worker with one gateway.
pub async fn start_one(worker: impl Worker) -> (Running, FakeGateway, FakeLink) {
    let gateway = FakeGateway::start().await;
    let running = start(worker, &[&gateway]).await;
    let link = gateway.link().await;
    (running, gateway, link)
}

/// Reports its events to their clients. A message selects the behavior of the handler: `wait` for a
/// permit, `fail`, `panic`, or return at once.
#[derive(Clone)]
pub struct Reporter {
    pub permits: Arc<Semaphore>,
    pub stopped: Arc<AtomicUsize>,
}

impl Reporter {
    pub fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(0)), stopped: Arc::default() }
    }
}

impl Worker for Reporter {
    async fn on_connect(&self, client: &Client) -> anyhow::Result<()> {
        let (from, port) = (client.remote_addr(), client.listener_port());
        Ok(client.send(format!("connect from {from} to {port}")).await?)
    }

    async fn on_websocket_connect(&self, client: &Client, shake: &Handshake) -> anyhow::Result<()> {
        Ok(client.send(format!("opened {} {:?}", shake.path(), shake.header("origin"))).await?)
    }

    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let text = message.as_text().unwrap_or_default();
        match text.split(' ').next() {
            Some("wait") => self.permits.acquire().await?.forget(),
            Some("fail") => anyhow::bail!("requested"),
            Some("panic") => panic!("requested"),
            Some("late-panic") => {
                tokio::task::yield_now().await;
                panic!("requested");
            }
            _ => {}
        }
        let mark = if client.redelivered() { " (again)" } else { "" };
        Ok(client.send(format!("did {text}{mark}")).await?)
    }

    async fn on_close(&self, client: &Client, reason: CloseReason) -> anyhow::Result<()> {
        Ok(client.send(format!("closed {reason:?}")).await?)
    }

    async fn on_worker_stop(&self, _process: &Process) -> anyhow::Result<()> {
        self.stopped.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}
