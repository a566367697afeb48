//! Handlers that fail, and handlers that close their client.

use std::time::Instant;

use push_suite_worker::CloseReason;
use suite_tests::{
    Call, Raw, Suite, TestWorker, eventually,
    raw::{handshake, masked},
};

#[tokio::test]
async fn failing_handler_is_logged_once_a_second_and_counted_each_time() {
    const MESSAGES: usize = 5_000;
    let suite = Suite::builder().gateways(1).workers(1).logs("info").start().await;
    let began = Instant::now();
    let mut ann = suite.browser(0).await;
    for _ in 0..MESSAGES {
        // The app fails to bind an empty uid.
        ann.send("u").await;
    }
    let worker = &suite.workers[0];
    eventually("all to have failed", async || {
        let failures = worker.metric("pushsuite_worker_handler_failures_total").await?;
        (failures == MESSAGES as f64).then_some(())
    })
    .await;
    worker.wait_for_log(&["handler failed"]).await;
    let log = worker.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("handler failed")).collect();
    let seconds = began.elapsed().as_secs() as usize;
    assert!((1..=seconds + 2).contains(&lines.len()), "{} in {seconds} s", lines.len());
    assert!(lines[0].contains("on_message") && lines[0].contains("suppressed=0"), "{}", lines[0]);
    // The process and the client continue.
    ann.send("e").await;
    assert_eq!(ann.receive_text().await, "e");
    let given_up = worker.metric("pushsuite_worker_events_given_up_total").await;
    assert_eq!(given_up, Some(MESSAGES as f64));
}

#[tokio::test]
async fn client_closed_in_on_connect_gets_no_further_event_but_its_close() {
    // With --no-web, a worker receives `on_connect` before the handshake.
    let suite = Suite::builder().gateways(1).gateway_switch("--no-web").start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    worker.reject();
    for _ in 0..20 {
        let mut raw = Raw::connect(suite.gateways[0].clients).await;
        // Everything arrives at the gateway before the worker's close.
        let opens = handshake("");
        raw.send(&[opens.as_bytes(), &masked(0x81, b"echo 1"), &masked(0x81, b"echo 2")].concat())
            .await;
        raw.read_to_end().await;
        let calls = [worker.next_report().await.call, worker.next_report().await.call];
        assert_eq!(calls, [Call::Connect, Call::Close(CloseReason::Worker)]);
    }
    assert!(worker.stop().await.is_empty());
}
