//! What methods remember of a client, while others remember something too: no change is lost from
//! sight, whoever was first.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use business_worker::ClientId;
use protocol::{Answer, Query};
use serde_json::{Map, Value, json};
use suite_tests::{Browser, Report, Suite, TestWorker, Told, eventually, on_one_and_three_threads};

on_one_and_three_threads!(
    a_change_that_crosses_the_close_is_seen_at_the_close,
    a_change_that_crosses_one_from_elsewhere_is_seen_with_it,
    many_changes_that_cross_one_from_elsewhere_are_seen_with_it,
    what_one_clients_method_changes_for_another_is_seen_by_its_next,
);

async fn a_change_that_crosses_the_close_is_seen_at_the_close(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let mut ann = suite.browser(0).await;
    welcomed(&mut worker).await;
    ann.send("remember-later milk").await;
    worker.has_waiting(1).await;
    ann.close().await;
    // Connect, handshake, message, close.
    has_given(&suite, 4).await;
    worker.let_go(1);
    worker.told().await;
    let closed = worker.told().await;
    assert!(matches!(closed.told, Told::Close(_)), "{closed:?}");
    assert_eq!(session(&closed), json!({ "note": "milk" }));
}

async fn a_change_that_crosses_one_from_elsewhere_is_seen_with_it(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let (mut ann, id) = crossed(&suite, &mut worker, 1).await;
    let both = json!({ "note": "0", "elsewhere": 1 });
    assert_eq!(session(&worker.told().await), both, "with the next event");
    // It is what the gateway has, too, and stays so.
    let stored = suite.peer(0).await.ask(Query::Session { client: id.connection }).await;
    let Answer::Session(Some(stored)) = stored else { panic!("{stored:?}") };
    assert_eq!(Value::Object(stored.decode().unwrap()), both);
    ann.send("hello again").await;
    assert_eq!(session(&worker.told().await), both);
}

async fn many_changes_that_cross_one_from_elsewhere_are_seen_with_it(threads: usize) {
    const CHANGES: usize = 100;
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let (_ann, _) = crossed(&suite, &mut worker, CHANGES).await;
    let last = (CHANGES - 1).to_string();
    assert_eq!(session(&worker.told().await), json!({ "note": last, "elsewhere": 1 }));
}

/// A client whose method makes that many changes while a change from elsewhere is on its way to
/// the worker; the event that brings it comes next.
async fn crossed(suite: &Suite, worker: &mut TestWorker, changes: usize) -> (Browser, ClientId) {
    let mut ann = suite.browser(0).await;
    let id = welcomed(worker).await;
    for at in 0..changes {
        ann.send(format!("remember-later {at}")).await;
    }
    worker.has_waiting(1).await;
    has_given(suite, 2 + changes).await;
    let elsewhere = Map::from_iter([("elsewhere".to_owned(), json!(1))]);
    let cluster = suite.cluster().await;
    cluster.update_session(id, &elsewhere).await.unwrap();
    cluster.flush().await.unwrap();
    ann.send("hello").await;
    // The gateway has sent it, with what it knew of the session then.
    has_given(suite, 3 + changes).await;
    worker.let_go(changes);
    for at in 0..changes {
        assert_eq!(session(&worker.told().await), json!({ "note": at.to_string() }));
    }
    (ann, id)
}

async fn what_one_clients_method_changes_for_another_is_seen_by_its_next(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let mut ann = suite.browser(0).await;
    let id = welcomed(&mut worker).await;
    let mut bob = suite.browser(0).await;
    welcomed(&mut worker).await;
    bob.send(format!("remember-of {id} owes me")).await;
    worker.told().await;
    // Taken, since this is answered behind it.
    bob.send("count room").await;
    worker.told().await;
    ann.send("hello").await;
    assert_eq!(session(&worker.told().await), json!({ "note": "owes me" }));
}

/// Takes a new client's first two events.
async fn welcomed(worker: &mut TestWorker) -> ClientId {
    assert_eq!(worker.told().await.told, Told::Connect);
    worker.told().await.client
}

/// Waits until the gateway has given that many events to its worker.
async fn has_given(suite: &Suite, events: usize) {
    eventually(format!("{events} events"), async || {
        let given = suite.gateways[0].metric("gateway_events_total").await?;
        (given == events as f64).then_some(())
    })
    .await;
}

fn session(report: &Report) -> Value {
    match report.session.as_str() {
        "" => json!({}),
        text => serde_json::from_str(text).unwrap(),
    }
}
