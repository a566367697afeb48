//! The worker API: methods are called in order and once, and no event is lost when workers stop or
//! die.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeMap, iter, time::Duration};

use push_suite_worker::{ClientId, CloseReason, Message};
use suite_tests::{
    Call, Received, Report, Suite, TestWorker, eventually, on_one_and_three_threads,
};

on_one_and_three_threads!(
    all_events_of_a_client_go_to_one_worker,
    messages_of_a_client_are_handled_one_at_a_time,
    messages_sent_by_handlers_arrive_in_order,
    effects_of_a_handler_are_visible_to_queries_of_the_next,
    session_follows_its_client_to_another_worker,
    session_is_readable_in_on_close,
    panicking_handler_affects_nothing_else,
    stopping_worker_finishes_and_others_continue,
    worker_restarts_lose_and_duplicate_no_echo,
    events_in_flight_at_a_dead_worker_are_redelivered,
    silent_worker_is_disconnected_and_idle_worker_is_not,
);

async fn all_events_of_a_client_go_to_one_worker(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let mut workers = [TestWorker::start(&suite, "1").await, TestWorker::start(&suite, "2").await];
    let mut received = [0, 0];
    let mut browsers = Vec::new();
    for at in 0..10 {
        let mut browser = suite.named_browser(&format!("b{at}"), at % 2).await;
        browser.send("hello").await;
        browser.send_binary(vec![at as u8]).await;
        browsers.push(browser);
    }
    for browser in browsers {
        browser.close().await;
    }
    let mut reports_by_client = BTreeMap::<ClientId, Vec<Report>>::new();
    eventually("five events of ten clients", async || {
        for (at, worker) in workers.iter_mut().enumerate() {
            for report in iter::from_fn(|| worker.try_next_report()) {
                received[at] += 1;
                reports_by_client.entry(report.client).or_default().push(report);
            }
        }
        (received.iter().sum::<usize>() == 10 * 5).then_some(())
    })
    .await;
    // Both workers are used, and each receives all events of a client.
    assert!(received.iter().all(|events| 0 < *events && events % 5 == 0), "{received:?}");
    assert_eq!(reports_by_client.len(), 10);
    for (client, reports) in reports_by_client {
        let calls: Vec<&Call> = reports.iter().map(|report| &report.call).collect();
        let [
            Call::Connect,
            Call::WebSocketConnect(handshake),
            Call::Message(text),
            Call::Message(binary),
            Call::Close(CloseReason::Client),
        ] = calls[..]
        else {
            panic!("{client}: {calls:?}");
        };
        assert_eq!(text, &Message::text("hello"));
        let name = handshake.query().strip_prefix("name=b").unwrap();
        assert_eq!(binary, &Message::binary(vec![name.parse().unwrap()]));
        let numbers: Vec<u64> = reports.iter().map(|report| report.number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
        assert!(reports.iter().all(|report| !report.redelivered));
    }
}

async fn messages_of_a_client_are_handled_one_at_a_time(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let worker = TestWorker::start(&suite, "1").await;
    let (mut ann, mut bob) = (suite.browser(0).await, suite.browser(0).await);
    for at in 0..20 {
        ann.send(format!("{} {at}", if at % 2 == 0 { "wait" } else { "echo" })).await;
    }
    worker.wait_until_blocked(1).await;
    // Other clients are not blocked.
    bob.send("echo at once").await;
    assert_eq!(bob.receive_text().await, "at once");
    for at in 0..20 {
        if at % 2 == 0 {
            worker.wait_until_blocked(1).await;
            worker.release(1);
        }
        assert_eq!(ann.receive_text().await, at.to_string());
    }
}

async fn messages_sent_by_handlers_arrive_in_order(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let _worker = TestWorker::start(&suite, "1").await;
    let (mut ann, mut bob) = (suite.browser(0).await, suite.browser(1).await);
    for browser in [&mut ann, &mut bob] {
        browser.send("join room").await;
        browser.send("echo in").await;
        assert_eq!(browser.receive_text().await, "in");
    }
    for at in 0..100 {
        ann.send(format!("{} {at}", if at % 2 == 0 { "echo" } else { "room" })).await;
    }
    for at in 0..100 {
        assert_eq!(ann.receive_text().await, at.to_string());
    }
    for at in (1..100).step_by(2) {
        assert_eq!(bob.receive_text().await, at.to_string());
    }
}

async fn effects_of_a_handler_are_visible_to_queries_of_the_next(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let _worker = TestWorker::start(&suite, "1").await;
    let mut browsers = [suite.browser(0).await, suite.browser(1).await, suite.browser(0).await];
    for (at, browser) in browsers.iter_mut().enumerate() {
        browser.send("join room").await;
        browser.send("count room").await;
        assert_eq!(browser.receive_text().await, (at + 1).to_string());
    }
}

async fn session_follows_its_client_to_another_worker(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let mut first = TestWorker::start(&suite, "1").await;
    let mut ann = suite.browser(0).await;
    ann.send("remember one").await;
    ann.send("echo done").await;
    assert_eq!(ann.receive_text().await, "done");
    assert_eq!(message(&mut first, "remember one").await.session, r#"{"note":"one"}"#);
    let mut second = TestWorker::start(&suite, "2").await;
    first.stop().await;
    ann.send("echo again").await;
    assert_eq!(ann.receive_text().await, "again");
    assert_eq!(message(&mut second, "echo again").await.session, r#"{"note":"one"}"#);
}

async fn session_is_readable_in_on_close(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let mut ann = suite.browser(1).await;
    ann.send("remember me").await;
    ann.send("bye for now").await;
    assert_eq!(ann.receive_text().await, "for now");
    assert_eq!(ann.receive().await, Received::Closed(Some(1000)));
    let close = loop {
        let report = worker.next_report().await;
        if report.call == Call::Close(CloseReason::Worker) {
            break report;
        }
    };
    assert_eq!(close.session, r#"{"note":"me"}"#);
}

async fn panicking_handler_affects_nothing_else(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let _worker = TestWorker::start(&suite, "1").await;
    let mut ann = suite.browser(0).await;
    ann.send("panic").await;
    ann.send("echo still here").await;
    assert_eq!(ann.receive_text().await, "still here");
}

async fn stopping_worker_finishes_and_others_continue(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let first = TestWorker::start(&suite, "1").await;
    let mut browsers = [suite.browser(0).await, suite.browser(1).await];
    for browser in &mut browsers {
        browser.send("wait finished").await;
    }
    first.wait_until_blocked(2).await;
    let mut second = TestWorker::start(&suite, "2").await;
    first.request_stop();
    // These queue behind the events in flight at the first worker, on whichever worker.
    for browser in &mut browsers {
        browser.send("echo next").await;
    }
    first.release(2);
    for browser in &mut browsers {
        assert_eq!(browser.receive_text().await, "finished");
        assert_eq!(browser.receive_text().await, "next");
    }
    first.stop().await;
    for browser in &mut browsers {
        browser.send("echo by the second").await;
        assert_eq!(browser.receive_text().await, "by the second");
        let report = message(&mut second, "echo by the second").await;
        assert!(!report.redelivered);
    }
}

async fn worker_restarts_lose_and_duplicate_no_echo(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let mut workers = vec![TestWorker::start(&suite, "0").await];
    let mut browsers = [suite.browser(0).await, suite.browser(1).await];
    for round in 1..5 {
        let next = TestWorker::start(&suite, &round.to_string()).await;
        for at in 0..50 {
            for browser in &mut browsers {
                browser.send(format!("echo {round}.{at}")).await;
            }
            if at == 20 {
                workers[0].request_stop();
            }
        }
        for browser in &mut browsers {
            for at in 0..50 {
                assert_eq!(browser.receive_text().await, format!("{round}.{at}"));
            }
        }
        workers.remove(0).stop().await;
        workers.push(next);
    }
}

async fn events_in_flight_at_a_dead_worker_are_redelivered(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let first = TestWorker::start(&suite, "1").await;
    let mut browsers = [suite.browser(0).await, suite.browser(1).await];
    for browser in &mut browsers {
        browser.send("wait for it").await;
        browser.send("echo next").await;
    }
    first.wait_until_blocked(2).await;
    let mut second = TestWorker::start(&suite, "2").await;
    drop(first);
    second.wait_until_blocked(2).await;
    second.release(2);
    for browser in &mut browsers {
        assert_eq!(browser.receive_text().await, "for it");
        assert_eq!(browser.receive_text().await, "next");
    }
    for _ in &browsers {
        let again = message(&mut second, "wait for it").await;
        assert!(again.redelivered);
        assert_eq!(again.number, 3, "its original number");
    }
}

async fn silent_worker_is_disconnected_and_idle_worker_is_not(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_flag("--peer-timeout", "1").start().await;
    // It reads nothing after this and answers no probe, like a lost host.
    let mut silent = suite.worker_link(0, "silent:1").await;
    let mut ann = suite.browser(0).await;
    silent.accept_client().await;
    ann.send("echo still there").await;
    let mut other = TestWorker::start(&suite, "1").await;
    assert_eq!(ann.receive_text().await, "still there");
    let again = message(&mut other, "echo still there").await;
    assert!(again.redelivered);
    // Idle beyond the timeout: it is probed, and answers.
    tokio::time::sleep(Duration::from_secs(2)).await;
    ann.send("echo and here").await;
    assert_eq!(ann.receive_text().await, "and here");
    assert!(!message(&mut other, "echo and here").await.redelivered);
}

#[tokio::test]
async fn round_robin_distributes_clients_evenly() {
    for workers in [2, 4] {
        let suite = Suite::builder().gateways(1).gateway_flag("--router", "round-robin");
        let suite = suite.start().await;
        let mut all = Vec::new();
        for id in 0..workers {
            all.push(TestWorker::start(&suite, &id.to_string()).await);
        }
        let mut browsers = Vec::new();
        for _ in 0..60 {
            let mut browser = suite.browser(0).await;
            browser.send("echo here").await;
            assert_eq!(browser.receive_text().await, "here");
            browsers.push(browser);
        }
        for worker in &mut all {
            let reports = iter::from_fn(|| worker.try_next_report());
            let clients = reports.filter(|report| report.call == Call::Connect).count();
            assert_eq!(clients, 60 / workers, "{workers} workers");
        }
    }
}

/// The report of the message with this text; others are skipped.
async fn message(worker: &mut TestWorker, text: &str) -> Report {
    loop {
        let report = worker.next_report().await;
        if report.call == Call::Message(text.into()) {
            return report;
        }
    }
}
