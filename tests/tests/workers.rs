//! Workers as their authors write them: methods are called in order, once, and nothing is lost
//! when workers leave or die.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeMap, iter, time::Duration};

use business_worker::{ClientId, CloseReason, Message};
use suite_tests::{Heard, Report, Suite, TestWorker, Told, eventually, on_one_and_three_threads};

on_one_and_three_threads!(
    every_life_is_told_by_one_worker_from_first_to_last,
    a_clients_messages_come_one_at_a_time_however_long_each_takes,
    what_methods_send_arrives_in_order,
    what_a_method_did_a_question_of_the_next_sees,
    a_session_follows_its_client_to_another_worker,
    a_session_can_be_read_at_the_close,
    a_method_that_panics_ends_nothing,
    a_worker_that_stops_finishes_and_others_go_on,
    no_echo_is_lost_or_doubled_while_workers_come_and_go_in_order,
    what_a_dead_worker_had_in_hand_is_done_by_another,
    a_worker_that_falls_silent_is_given_up_and_one_that_is_idle_is_not,
);

async fn every_life_is_told_by_one_worker_from_first_to_last(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let mut workers = [TestWorker::start(&suite, "1").await, TestWorker::start(&suite, "2").await];
    let mut heard = [0, 0];
    let mut browsers = Vec::new();
    for at in 0..10 {
        let mut browser = suite.named(&format!("b{at}"), at % 2).await;
        browser.send("hello").await;
        browser.send_binary(vec![at as u8]).await;
        browsers.push(browser);
    }
    for browser in browsers {
        browser.close().await;
    }
    let mut lives = BTreeMap::<ClientId, Vec<Report>>::new();
    eventually("ten lives of five events", async || {
        for (at, worker) in workers.iter_mut().enumerate() {
            for report in iter::from_fn(|| worker.told_already()) {
                heard[at] += 1;
                lives.entry(report.client).or_default().push(report);
            }
        }
        (heard.iter().sum::<usize>() == 10 * 5).then_some(())
    })
    .await;
    // Both take part, and each hears all of a client.
    assert!(heard.iter().all(|events| 0 < *events && events % 5 == 0), "{heard:?}");
    assert_eq!(lives.len(), 10);
    for (client, life) in lives {
        let told: Vec<&Told> = life.iter().map(|report| &report.told).collect();
        let [
            Told::Connect,
            Told::WebSocketConnect(handshake),
            Told::Message(text),
            Told::Message(binary),
            Told::Close(CloseReason::Client),
        ] = told[..]
        else {
            panic!("{client}: {told:?}");
        };
        assert_eq!(text, &Message::text("hello"));
        let name = handshake.query().strip_prefix("name=b").unwrap();
        assert_eq!(binary, &Message::binary(vec![name.parse().unwrap()]));
        let numbers: Vec<u64> = life.iter().map(|report| report.number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
        assert!(life.iter().all(|report| !report.redelivered));
    }
}

async fn a_clients_messages_come_one_at_a_time_however_long_each_takes(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let worker = TestWorker::start(&suite, "1").await;
    let (mut ann, mut bob) = (suite.browser(0).await, suite.browser(0).await);
    for at in 0..20 {
        ann.send(format!("{} {at}", if at % 2 == 0 { "wait" } else { "echo" })).await;
    }
    worker.has_waiting(1).await;
    // Others are not held up.
    bob.send("echo at once").await;
    assert_eq!(bob.hears_text().await, "at once");
    for at in 0..20 {
        if at % 2 == 0 {
            worker.has_waiting(1).await;
            worker.let_go(1);
        }
        assert_eq!(ann.hears_text().await, at.to_string());
    }
}

async fn what_methods_send_arrives_in_order(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let _worker = TestWorker::start(&suite, "1").await;
    let (mut ann, mut bob) = (suite.browser(0).await, suite.browser(1).await);
    for browser in [&mut ann, &mut bob] {
        browser.send("join room").await;
        browser.send("echo in").await;
        assert_eq!(browser.hears_text().await, "in");
    }
    for at in 0..100 {
        ann.send(format!("{} {at}", if at % 2 == 0 { "echo" } else { "room" })).await;
    }
    for at in 0..100 {
        assert_eq!(ann.hears_text().await, at.to_string());
    }
    for at in (1..100).step_by(2) {
        assert_eq!(bob.hears_text().await, at.to_string());
    }
}

async fn what_a_method_did_a_question_of_the_next_sees(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let _worker = TestWorker::start(&suite, "1").await;
    let mut browsers = [suite.browser(0).await, suite.browser(1).await, suite.browser(0).await];
    for (at, browser) in browsers.iter_mut().enumerate() {
        browser.send("join room").await;
        browser.send("count room").await;
        assert_eq!(browser.hears_text().await, (at + 1).to_string());
    }
}

async fn a_session_follows_its_client_to_another_worker(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let mut first = TestWorker::start(&suite, "1").await;
    let mut ann = suite.browser(0).await;
    ann.send("remember one").await;
    ann.send("echo done").await;
    assert_eq!(ann.hears_text().await, "done");
    assert_eq!(message(&mut first, "remember one").await.session, r#"{"note":"one"}"#);
    let mut second = TestWorker::start(&suite, "2").await;
    first.stop().await;
    ann.send("echo again").await;
    assert_eq!(ann.hears_text().await, "again");
    assert_eq!(message(&mut second, "echo again").await.session, r#"{"note":"one"}"#);
}

async fn a_session_can_be_read_at_the_close(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let mut ann = suite.browser(1).await;
    ann.send("remember me").await;
    ann.send("bye for now").await;
    assert_eq!(ann.hears_text().await, "for now");
    assert_eq!(ann.hears().await, Heard::End(Some(1000)));
    let close = loop {
        let report = worker.told().await;
        if report.told == Told::Close(CloseReason::Worker) {
            break report;
        }
    };
    assert_eq!(close.session, r#"{"note":"me"}"#);
}

async fn a_method_that_panics_ends_nothing(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let _worker = TestWorker::start(&suite, "1").await;
    let mut ann = suite.browser(0).await;
    ann.send("panic").await;
    ann.send("echo still here").await;
    assert_eq!(ann.hears_text().await, "still here");
}

async fn a_worker_that_stops_finishes_and_others_go_on(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let first = TestWorker::start(&suite, "1").await;
    let mut browsers = [suite.browser(0).await, suite.browser(1).await];
    for browser in &mut browsers {
        browser.send("wait finished").await;
    }
    first.has_waiting(2).await;
    let mut second = TestWorker::start(&suite, "2").await;
    first.ask_to_stop();
    // Behind what the first has in hand; whoever gets it, its turn is after that.
    for browser in &mut browsers {
        browser.send("echo next").await;
    }
    first.let_go(2);
    for browser in &mut browsers {
        assert_eq!(browser.hears_text().await, "finished");
        assert_eq!(browser.hears_text().await, "next");
    }
    first.stop().await;
    for browser in &mut browsers {
        browser.send("echo by the second").await;
        assert_eq!(browser.hears_text().await, "by the second");
        let report = message(&mut second, "echo by the second").await;
        assert!(!report.redelivered);
    }
}

async fn no_echo_is_lost_or_doubled_while_workers_come_and_go_in_order(threads: usize) {
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
                workers[0].ask_to_stop();
            }
        }
        for browser in &mut browsers {
            for at in 0..50 {
                assert_eq!(browser.hears_text().await, format!("{round}.{at}"));
            }
        }
        workers.remove(0).stop().await;
        workers.push(next);
    }
}

async fn what_a_dead_worker_had_in_hand_is_done_by_another(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let first = TestWorker::start(&suite, "1").await;
    let mut browsers = [suite.browser(0).await, suite.browser(1).await];
    for browser in &mut browsers {
        browser.send("wait for it").await;
        browser.send("echo next").await;
    }
    first.has_waiting(2).await;
    let mut second = TestWorker::start(&suite, "2").await;
    drop(first);
    second.has_waiting(2).await;
    second.let_go(2);
    for browser in &mut browsers {
        assert_eq!(browser.hears_text().await, "for it");
        assert_eq!(browser.hears_text().await, "next");
    }
    for _ in &browsers {
        let again = message(&mut second, "wait for it").await;
        assert!(again.redelivered);
        assert_eq!(again.number, 3, "the number that it had");
    }
}

async fn a_worker_that_falls_silent_is_given_up_and_one_that_is_idle_is_not(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_flag("--peer-timeout", "1").start().await;
    // It reads nothing more than this, and so answers nothing: its host might as well be gone.
    let mut silent = suite.worker_link(0, "silent:1").await;
    let mut ann = suite.browser(0).await;
    silent.welcomes().await;
    ann.send("echo still there").await;
    let mut other = TestWorker::start(&suite, "1").await;
    assert_eq!(ann.hears_text().await, "still there");
    let again = message(&mut other, "echo still there").await;
    assert!(again.redelivered);
    // Longer than the limit without an event: it is asked, and answers.
    tokio::time::sleep(Duration::from_secs(2)).await;
    ann.send("echo and here").await;
    assert_eq!(ann.hears_text().await, "and here");
    assert!(!message(&mut other, "echo and here").await.redelivered);
}

/// The report of the message that says this; others are passed over.
#[tokio::test]
async fn round_robin_gives_every_worker_as_many_clients() {
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
            assert_eq!(browser.hears_text().await, "here");
            browsers.push(browser);
        }
        for worker in &mut all {
            let reports = iter::from_fn(|| worker.told_already());
            let clients = reports.filter(|report| report.told == Told::Connect).count();
            assert_eq!(clients, 60 / workers, "of {workers} workers each has as many");
        }
    }
}

async fn message(worker: &mut TestWorker, text: &str) -> Report {
    loop {
        let report = worker.told().await;
        if report.told == Told::Message(text.into()) {
            return report;
        }
    }
}
