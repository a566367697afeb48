//! Handlers that fail, and handlers that close their client.
use std::time::Instant;

use suite_tests::{Suite, eventually};

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
