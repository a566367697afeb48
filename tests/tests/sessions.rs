//! Concurrent session changes by handlers and other peers: handlers see all of them, whichever
//! arrives first.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use protocol::{Answer, Query, codec::gateway_worker::Opcode};
use push_suite_cluster::{Cluster, ClusterGuard, Error, Form, Session, SessionSwap};
use push_suite_worker::ClientId;
use serde_json::{Map, Value, json};
use suite_tests::{
    Browser, Call, Php, Report, Suite, TestWorker, eventually, on_one_and_three_threads,
};

on_one_and_three_threads!(
    session_change_concurrent_with_the_close_is_visible_at_the_close,
    concurrent_session_changes_are_both_visible,
    many_concurrent_session_changes_are_all_visible,
    session_change_for_another_client_is_visible_in_its_next_event,
    removed_keys_are_gone_for_handlers_and_at_the_gateway,
    removed_keys_leave_objects_of_php,
    session_is_replaced_only_if_it_is_the_expected_one,
    concurrent_replacements_lose_no_change,
    php_change_is_not_overwritten_by_a_replacement,
    session_of_an_offline_client_is_a_typed_error,
);

/// A client with a worker, and a back end.
async fn with_back_end(
    suite: &Suite,
    worker: &mut TestWorker,
) -> (Browser, ClientId, ClusterGuard) {
    let ann = suite.browser(0).await;
    let id = accept_client(worker).await;
    (ann, id, suite.cluster().await)
}

/// The session of a client at its gateway.
async fn stored(cluster: &Cluster, client: ClientId) -> Session {
    cluster.session(client).await.unwrap().unwrap()
}

async fn removed_keys_are_gone_for_handlers_and_at_the_gateway(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let (mut ann, id, cluster) = with_back_end(&suite, &mut worker).await;
    cluster.set_session(id, &json!({ "a": 1, "b": { "c": 2 }, "5": 3, "d": 4 })).await.unwrap();
    ann.exchange("echo hi", "hi").await;
    worker.next_report().await;
    // Not yet known to the handler, and not lost.
    cluster.update_session(id, &json!({ "new": 1 })).await.unwrap();
    cluster.flush().await.unwrap();
    ann.send("forget a 5 none").await;
    let kept = json!({ "b": { "c": 2 }, "d": 4, "new": 1 });
    assert_eq!(session(&worker.next_report().await), kept);
    assert_eq!(Value::Object(stored(&cluster, id).await.decode().unwrap()), kept);
    let keys = ["b".to_owned(), "new".to_owned()];
    cluster.remove_session_keys(id, keys).await.unwrap();
    cluster.flush().await.unwrap();
    ann.exchange("echo hi", "hi").await;
    assert_eq!(session(&worker.next_report().await), json!({ "d": 4 }));
    cluster.remove_session_keys(id, ["d"]).await.unwrap();
    assert!(stored(&cluster, id).await.is_empty());
    cluster.remove_session_keys(id, ["d"]).await.unwrap();
    cluster.remove_session_keys(id, [""; 0]).await.unwrap();
    assert!(stored(&cluster, id).await.is_empty());
}

async fn removed_keys_leave_objects_of_php(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let (mut ann, id, cluster) = with_back_end(&suite, &mut worker).await;
    let mut php = Php::back_end(suite.gateways[0].inner, &suite.secret()).await;
    let object = r#"O:4:"User":1:{s:2:"id";i:7;}"#;
    let text = format!(r#"a:3:{{s:1:"a";i:1;s:1:"u";{object}s:1:"z";d:INF;}}"#);
    php.send(Opcode::SetSession, id.connection.0, text, "").await;
    eventually("the session of PHP", async || {
        (stored(&cluster, id).await.form() == Form::Php).then_some(())
    })
    .await;
    cluster.remove_session_keys(id, ["a", "z"]).await.unwrap();
    let kept = format!(r#"a:1:{{s:1:"u";{object}}}"#);
    assert_eq!(stored(&cluster, id).await.to_php(), kept);
    ann.send("forget none").await;
    worker.next_report().await;
    assert_eq!(stored(&cluster, id).await.to_php(), kept);
}

async fn session_is_replaced_only_if_it_is_the_expected_one(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let (mut ann, id, cluster) = with_back_end(&suite, &mut worker).await;
    let (one, two) = (json!({ "n": 1, "m": 0 }), json!({ "n": 2 }));
    let swap = async |expected: &Session, new: &Value| {
        cluster.compare_and_set_session(id, expected, new).await.unwrap()
    };
    assert_eq!(swap(&Session::default(), &one).await, SessionSwap::Replaced);
    let present = stored(&cluster, id).await;
    assert_eq!(swap(&Session::default(), &two).await, SessionSwap::Other(present.clone()));
    assert_eq!(stored(&cluster, id).await, present, "nothing has changed");
    // By value, whatever the order of the keys.
    let equal = Session::encode(&json!({ "m": 0, "n": 1 })).unwrap();
    assert_eq!(swap(&equal, &two).await, SessionSwap::Replaced);
    ann.exchange("echo hi", "hi").await;
    assert_eq!(session(&worker.next_report().await), two, "the handler sees it");
    // A handler's edits count for its own replacement, and its copy is the gateway's then.
    ann.send("remember milk").await;
    ann.exchange("swap tea", "replaced").await;
    worker.next_report().await;
    assert_eq!(session(&worker.next_report().await), json!({ "note": "tea" }));
    cluster.set_session(id, &json!({ "by": "another" })).await.unwrap();
    cluster.flush().await.unwrap();
    ann.exchange("echo hi", "hi").await;
    worker.next_report().await;
    ann.exchange("swap coffee", "replaced").await;
    worker.next_report().await;
    let present = stored(&cluster, id).await;
    assert_eq!(Value::Object(present.decode().unwrap()), json!({ "note": "coffee" }));
    let refused = cluster.compare_and_set_session(id, &present, "no object").await;
    assert!(matches!(refused, Err(Error::Session(_))), "{refused:?}");
    let huge = json!({ "x": "x".repeat(300_000) });
    let refused = cluster.compare_and_set_session(id, &present, &huge).await;
    assert!(matches!(refused, Err(Error::Session(_))), "{refused:?}");
    // Not a session at all, and so not the present one.
    let garbage = Session::from_encoded("[1".into()).unwrap();
    assert_eq!(swap(&garbage, &one).await, SessionSwap::Other(present));
}

async fn concurrent_replacements_lose_no_change(threads: usize) {
    const EACH: usize = 25;
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let (mut ann, id, first) = with_back_end(&suite, &mut worker).await;
    let second = suite.cluster().await;
    let increment = async |cluster: &Cluster| {
        let mut seen = Session::default();
        loop {
            let mut next = seen.decode().unwrap();
            let count = next.get("count").and_then(Value::as_u64).unwrap_or(0);
            next.insert("count".to_owned(), (count + 1).into());
            match cluster.compare_and_set_session(id, &seen, &next).await.unwrap() {
                SessionSwap::Replaced => break,
                SessionSwap::Other(session) => seen = session,
            }
        }
    };
    for _ in 0..EACH {
        ann.send("increment").await;
    }
    worker.release(EACH);
    let back_end = async |cluster: &Cluster| {
        for _ in 0..EACH {
            increment(cluster).await;
        }
    };
    tokio::join!(back_end(&first), back_end(&second));
    for _ in 0..EACH {
        worker.next_report().await;
    }
    let count = stored(&first, id).await.decode().unwrap();
    assert_eq!(Value::Object(count), json!({ "count": 3 * EACH }));
}

async fn php_change_is_not_overwritten_by_a_replacement(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let (_ann, id, cluster) = with_back_end(&suite, &mut worker).await;
    cluster.set_session(id, &json!({ "a": 1 })).await.unwrap();
    let seen = stored(&cluster, id).await;
    let mut php = Php::back_end(suite.gateways[0].inner, &suite.secret()).await;
    php.send(Opcode::UpdateSession, id.connection.0, r#"a:1:{s:1:"b";i:2;}"#, "").await;
    eventually("the change of PHP", async || (stored(&cluster, id).await != seen).then_some(()))
        .await;
    let new = json!({ "c": 3 });
    let other = cluster.compare_and_set_session(id, &seen, &new).await.unwrap();
    let SessionSwap::Other(present) = other else { panic!("{other:?}") };
    assert_eq!(present.to_php(), r#"a:2:{s:1:"a";i:1;s:1:"b";i:2;}"#);
    let swapped = cluster.compare_and_set_session(id, &present, &new).await.unwrap();
    assert!(swapped.is_replaced());
    assert_eq!(stored(&cluster, id).await, Session::encode(&new).unwrap());
}

async fn session_of_an_offline_client_is_a_typed_error(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let (_ann, id, cluster) = with_back_end(&suite, &mut worker).await;
    let nobody = ClientId::new(id.gateway, protocol::ConnectionId(0));
    let nowhere = ClientId::new("127.0.0.1:1".parse().unwrap(), id.connection);
    for client in [nobody, nowhere] {
        let swapped =
            cluster.compare_and_set_session(client, &Session::default(), &json!({})).await;
        let is_offline = matches!(swapped, Err(Error::Offline { client: it }) if it == client);
        assert!(is_offline, "{swapped:?}");
    }
}

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
