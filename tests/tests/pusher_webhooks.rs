//! Webhooks of `--app pusher`, from real clients to a receiver that follows a script.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use pusher::signature::Key;
use serde_json::{Value, json};
use suite_tests::{pusher_http::PusherSuite, with_timeout};
use test_support::receiver::{Received, Receiver, Reply};

fn webhook(receiver: &Receiver, more: &str) -> String {
    format!("[[pusher.app.webhook]]\nurl = '{}'\n{more}", receiver.url("/hook"))
}

/// The events of a request, whose headers and signature are checked.
fn events(received: &Received) -> Vec<Value> {
    assert_eq!(received.method, "POST");
    assert_eq!(received.header("content-type"), "application/json");
    assert_eq!(received.header("x-pusher-key"), "k1");
    let signature = received.header("x-pusher-signature");
    assert!(Key::new("k1", "s1").verifies(&[&received.body], signature));
    let body: Value = serde_json::from_slice(&received.body).unwrap();
    body["events"].as_array().unwrap().clone()
}

#[tokio::test]
async fn client_event_and_cache_miss_reach_the_receiver_again_after_a_failure() {
    let receiver = Receiver::start(|request| match request.number {
        0 => Reply::status(500),
        _ => Reply::status(200),
    })
    .await;
    let filter = "events = ['client_event', 'cache_miss']";
    let scene = PusherSuite::start(1, 2, &webhook(&receiver, filter)).await;
    let (mut one, id) = scene.subscriber(0, &["private-a"]).await;
    let (_two, _) = scene.subscriber(1, &["private-a"]).await;
    let event = json!({"event": "client-e", "channel": "private-a", "data": {"x": 1}});
    one.send(event.to_string()).await;
    let received = with_timeout("a retry", receiver.wait_for(2)).await;
    let expected = json!({"name": "client_event", "channel": "private-a", "event": "client-e",
        "data": "{\"x\":1}", "socket_id": id});
    assert_eq!(received.iter().map(events).collect::<Vec<_>>(), [[expected.clone()], [expected]]);
    let (_three, _) = scene.subscriber(1, &["cache-b"]).await;
    let received = with_timeout("a cache miss", receiver.wait_for(3)).await;
    assert_eq!(events(&received[2]), [json!({"name": "cache_miss", "channel": "cache-b"})]);
}

#[tokio::test]
async fn worker_that_stops_sends_the_events_that_it_holds() {
    let receiver = Receiver::start(|_| Reply::status(200)).await;
    let mut scene = PusherSuite::start(1, 2, &webhook(&receiver, "batch = true")).await;
    let (mut client, _) = scene.subscriber(0, &["private-a"]).await;
    for number in 0..10 {
        let event = json!({"event": "client-e", "channel": "private-a", "data": number});
        client.send(event.to_string()).await;
    }
    client
        .exchange(r#"{"event":"pusher:ping","data":{}}"#, r#"{"event":"pusher:pong","data":"{}"}"#)
        .await;
    for worker in &mut scene.workers {
        assert!(worker.stop().await.success());
    }
    let sent: Vec<Value> = receiver.received().iter().flat_map(events).collect();
    let sent = sent.iter().filter(|event| event["name"] == "client_event");
    let data: Vec<&str> = sent.map(|event| event["data"].as_str().unwrap()).collect();
    assert_eq!(data, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}
