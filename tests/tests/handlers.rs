//! Handlers that fail, and handlers that close their client.

use std::time::Instant;

use business_worker::CloseReason;
use suite_tests::{
    Raw, Suite, TestWorker, Told, eventually,
    raw::{handshake, masked},
};

#[tokio::test]
async fn handler_that_fails_with_every_message_is_logged_once_a_second_and_counted_each_time() {
    const MESSAGES: usize = 5_000;
    let suite = Suite::builder().gateways(1).workers(1).logs("info").start().await;
    let began = Instant::now();
    let mut ann = suite.browser(0).await;
    for _ in 0..MESSAGES {
        // To bind nobody's uid.
        ann.send("u").await;
    }
    let worker = &suite.workers[0];
    eventually("all to have failed", async || {
        let failures = worker.metric("worker_handler_failures_total").await?;
        (failures == MESSAGES as f64).then_some(())
    })
    .await;
    worker.logs(&["handler failed"]).await;
    let log = worker.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("handler failed")).collect();
    let seconds = began.elapsed().as_secs() as usize;
    assert!((1..=seconds + 2).contains(&lines.len()), "{} in {seconds} s", lines.len());
    assert!(lines[0].contains("on_message") && lines[0].contains("suppressed=0"), "{}", lines[0]);
    // The process goes on, and so does the client.
    ann.send("e").await;
    assert_eq!(ann.hears_text().await, "e");
    let given_up = worker.metric("worker_events_given_up_total").await;
    assert_eq!(given_up, Some(MESSAGES as f64));
}

#[tokio::test]
async fn client_rejected_when_it_connects_is_heard_of_no_more_but_its_end() {
    // With --no-web, a worker hears of a connection before its handshake.
    let suite = Suite::builder().gateways(1).gateway_switch("--no-web").start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    worker.reject();
    for _ in 0..20 {
        let mut raw = Raw::connect(suite.gateways[0].clients).await;
        // All of it is there before the worker has said a word.
        let opens = handshake("");
        raw.send(&[opens.as_bytes(), &masked(0x81, b"echo 1"), &masked(0x81, b"echo 2")].concat())
            .await;
        raw.until_the_end().await;
        let told = [worker.told().await.told, worker.told().await.told];
        assert_eq!(told, [Told::Connect, Told::Close(CloseReason::Worker)]);
    }
    assert!(worker.stop().await.is_empty());
}
