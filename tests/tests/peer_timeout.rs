//! Processes that are connected but unresponsive: suspended, or busy.

use std::time::{Duration, Instant};

use protocol::Event;
use push_suite_worker::{Client, Config, Message, Worker, serve};
use service::Starting;
use suite_tests::{
    Php, Suite, eventually, on_one_and_three_threads, process::Process, with_timeout,
};
use tokio_util::sync::CancellationToken;

on_one_and_three_threads!(
    gateway_with_stalled_worker_reports_it_and_keeps_its_clients,
    stalled_worker_is_replaced_by_the_other,
    worker_of_a_stalled_gateway_reports_it,
    clients_of_a_stalled_php_worker_wait_without_loss,
);

async fn gateway_with_stalled_worker_reports_it_and_keeps_its_clients(threads: usize) {
    let builder = Suite::builder().gateways(1).workers(1).threads(threads);
    let mut suite = builder.gateway_flag("--peer-timeout", "4").start().await;
    let mut ann = suite.browser(0).await;
    ann.send("e once").await;
    assert_eq!(ann.receive_text().await, "e once");
    suite.workers[0].pause().await;
    ann.send("e twice").await;
    wait_unready(&suite.gateways[0], "worker: none answers").await;
    wait_unready(&suite.gateways[0], "worker: no worker is linked").await;
    suite.workers[0].resume();
    assert_eq!(ann.receive_text().await, "e twice");
    is_ready(&suite.gateways[0]).await;
}

async fn stalled_worker_is_replaced_by_the_other(threads: usize) {
    let builder = Suite::builder().gateways(1).workers(1).threads(threads);
    let mut suite = builder.gateway_flag("--peer-timeout", "2").start().await;
    let mut ann = suite.browser(0).await;
    ann.send("e once").await;
    assert_eq!(ann.receive_text().await, "e once");
    suite.add_worker().await;
    suite.workers[0].pause().await;
    for text in ["e twice", "e and again"] {
        ann.send(text).await;
    }
    for text in ["e twice", "e and again"] {
        assert_eq!(ann.receive_text().await, text);
    }
    // One responsive worker is enough to be ready.
    is_ready(&suite.gateways[0]).await;
    suite.workers[0].resume();
}

async fn worker_of_a_stalled_gateway_reports_it(threads: usize) {
    let builder = Suite::builder().gateways(1).workers(1).threads(threads);
    let mut suite = builder.worker_flag("--peer-timeout", "4").start().await;
    let mut ann = suite.browser(0).await;
    suite.gateways[0].pause().await;
    wait_unready(&suite.workers[0], "gateway: none answers").await;
    wait_unready(&suite.workers[0], "gateway: none is linked").await;
    suite.gateways[0].resume();
    is_ready(&suite.workers[0]).await;
    ann.send("e here").await;
    assert_eq!(ann.receive_text().await, "e here");
}

/// A PHP peer cannot be probed, and one that computes for minutes looks the same: its clients stay
/// assigned, and are not read beyond its window.
async fn clients_of_a_stalled_php_worker_wait_without_loss(threads: usize) {
    const MESSAGES: usize = 500;
    const SIZE: usize = 60_000;
    let builder = Suite::builder().gateways(1).threads(threads);
    let builder = builder.gateway_flag("--peer-timeout", "1");
    let suite = builder.gateway_flag("--worker-window", "1000000").start().await;
    let gateway = &suite.gateways[0];
    let mut php = Php::worker(gateway.inner, &suite.secret(), "PhpWorker:0").await;
    let mut ann = suite.browser(0).await;
    php.accept_client().await;
    // The next client is assigned to another worker and is not blocked.
    let mut other = suite.worker_link(0, "w:1").await;
    let mut bob = suite.browser(0).await;
    let bob_id = other.accept_client().await;
    let before = gateway.resident();
    let sending = tokio::spawn(async move {
        for at in 0..MESSAGES {
            ann.send_without_timeout(format!("{at:0SIZE$}")).await;
        }
        ann
    });
    for _ in 0..30 {
        bob.send("hello").await;
        assert_eq!(other.event_of(bob_id).await, Event::Message("hello".into()));
        let grown = gateway.resident().saturating_sub(before);
        assert!(grown < 16 << 20, "grown by {} MiB", grown >> 20);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!sending.is_finished(), "the messages do not fit a window and two sockets");
    // It resumes, and has missed nothing.
    for at in 0..MESSAGES {
        assert_eq!(php.message().await, format!("{at:0SIZE$}"), "message {at}");
    }
    with_timeout("the client to send everything", sending).await.expect("it was not closed");
}

/// Echoes after computing for the number of milliseconds in the message.
struct Computes;

impl Worker for Computes {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let long = Duration::from_millis(message.as_text().unwrap_or_default().parse()?);
        let since = Instant::now();
        while since.elapsed() < long {
            std::hint::spin_loop();
        }
        client.send(message).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cpu_bound_worker_keeps_its_clients() {
    let suite = Suite::builder().gateways(1).gateway_flag("--peer-timeout", "2").start().await;
    let registers = suite.register_addrs.iter().map(ToString::to_string);
    let config =
        Config::new(registers, suite.secret()).name("computes").id(1).threads(2).tls(suite.tls());
    let stop = CancellationToken::new();
    let starting = Starting::new(None, stop.clone(), Duration::from_secs(5));
    let worker = tokio::spawn(serve(Computes, config, starting));
    let mut ann = suite.browser(0).await;
    // The first slow handler is detected; from then on handlers run beside the link.
    for text in ["300", "3000", "1"] {
        ann.send(text).await;
        assert_eq!(ann.receive_text().await, text);
    }
    let log = suite.gateways[0].log();
    assert!(!log.contains("worker disconnected"), "{log}");
    stop.cancel();
    with_timeout("the worker to stop", worker).await.unwrap().unwrap();
}

async fn wait_unready(process: &Process, reason: &str) {
    eventually(reason, async || {
        process.unready_reasons().await?.iter().any(|it| it == reason).then_some(())
    })
    .await;
}

async fn is_ready(process: &Process) {
    eventually("to be ready", async || process.unready_reasons().await?.is_empty().then_some(()))
        .await;
}
