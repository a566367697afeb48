//! Concurrent session changes by handlers and other peers: handlers see all of them, whichever
//! arrives first.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use protocol::{Answer, Query};
use push_suite_worker::ClientId;
use serde_json::{Map, Value, json};
use suite_tests::{Browser, Call, Report, Suite, TestWorker, eventually, on_one_and_three_threads};

on_one_and_three_threads!(
    session_change_concurrent_with_the_close_is_visible_at_the_close,
    concurrent_session_changes_are_both_visible,
    many_concurrent_session_changes_are_all_visible,
    session_change_for_another_client_is_visible_in_its_next_event,
);

async fn session_change_concurrent_with_the_close_is_visible_at_the_close(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let mut ann = suite.browser(0).await;
    accept_client(&mut worker).await;
    ann.send("remember-later milk").await;
    worker.wait_until_blocked(1).await;
    ann.close().await;
    // Connect, handshake, message, close.
    has_sent(&suite, 4).await;
    worker.release(1);
    worker.next_report().await;
    let closed = worker.next_report().await;
    assert!(matches!(closed.call, Call::Close(_)), "{closed:?}");
    assert_eq!(session(&closed), json!({ "note": "milk" }));
}

async fn concurrent_session_changes_are_both_visible(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let (mut ann, id) = with_concurrent_changes(&suite, &mut worker, 1).await;
    let both = json!({ "note": "0", "elsewhere": 1 });
    assert_eq!(session(&worker.next_report().await), both, "with the next event");
    // The gateway stores the same, permanently.
    let stored = suite.peer(0).await.query(Query::Session { client: id.connection }).await;
    let Answer::Session(Some(stored)) = stored else { panic!("{stored:?}") };
    assert_eq!(Value::Object(stored.decode().unwrap()), both);
    ann.send("hello again").await;
    assert_eq!(session(&worker.next_report().await), both);
}

async fn many_concurrent_session_changes_are_all_visible(threads: usize) {
    const CHANGES: usize = 100;
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let (_ann, _) = with_concurrent_changes(&suite, &mut worker, CHANGES).await;
    let last = (CHANGES - 1).to_string();
    assert_eq!(session(&worker.next_report().await), json!({ "note": last, "elsewhere": 1 }));
}

/// A client whose handlers make this many session changes while a change by another peer is in
/// flight to the worker; the event that carries it comes next.
async fn with_concurrent_changes(
    suite: &Suite,
    worker: &mut TestWorker,
    changes: usize,
) -> (Browser, ClientId) {
    let mut ann = suite.browser(0).await;
    let id = accept_client(worker).await;
    for at in 0..changes {
        ann.send(format!("remember-later {at}")).await;
    }
    worker.wait_until_blocked(1).await;
    has_sent(suite, 2 + changes).await;
    let elsewhere = Map::from_iter([("elsewhere".to_owned(), json!(1))]);
    let cluster = suite.cluster().await;
    cluster.update_session(id, &elsewhere).await.unwrap();
    cluster.flush().await.unwrap();
    ann.send("hello").await;
    // The gateway has sent the event with its session at that time.
    has_sent(suite, 3 + changes).await;
    worker.release(changes);
    for at in 0..changes {
        assert_eq!(session(&worker.next_report().await), json!({ "note": at.to_string() }));
    }
    (ann, id)
}

async fn session_change_for_another_client_is_visible_in_its_next_event(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let mut ann = suite.browser(0).await;
    let id = accept_client(&mut worker).await;
    let mut bob = suite.browser(0).await;
    accept_client(&mut worker).await;
    bob.send(format!("remember-of {id} owes me")).await;
    worker.next_report().await;
    // A later query is answered, so the change was applied.
    bob.send("count room").await;
    worker.next_report().await;
    ann.send("hello").await;
    assert_eq!(session(&worker.next_report().await), json!({ "note": "owes me" }));
}

/// Receives the two connect events of a new client.
async fn accept_client(worker: &mut TestWorker) -> ClientId {
    assert_eq!(worker.next_report().await.call, Call::Connect);
    worker.next_report().await.client
}

/// Waits until the gateway has sent this many events to its worker.
async fn has_sent(suite: &Suite, events: usize) {
    eventually(format!("{events} events"), async || {
        let sent = suite.gateways[0].metric("pushsuite_gateway_events_total").await?;
        (sent == events as f64).then_some(())
    })
    .await;
}

fn session(report: &Report) -> Value {
    match report.session.as_str() {
        "" => json!({}),
        text => serde_json::from_str(text).unwrap(),
    }
}
