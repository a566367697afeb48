//! Clients of the Pusher protocol that send what they must not, over real sockets.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serde_json::{Value, json};
use suite_tests::{PusherClient, PusherSettings, Received, on_one_and_three_threads};

on_one_and_three_threads!(
    malformed_messages_are_answered_and_the_connection_stays,
    floods_end_in_a_close_and_leave_other_clients_unharmed,
);

/// Twenty messages that are none of the protocol.
const MALFORMED: [&str; 20] = [
    "",
    "hello",
    "{",
    "[]",
    "null",
    "\"pusher:ping\"",
    "{}",
    r#"{"event":7}"#,
    r#"{"event":["pusher:ping"]}"#,
    r#"{"event":"pusher:ping"}{"event":"pusher:ping"}"#,
    r#"{"event":"pusher:ping","event":"pusher:ping"}"#,
    r#"{"event":"pusher:subscribe"}"#,
    r#"{"event":"pusher:subscribe","data":"{"}"#,
    r#"{"event":"pusher:subscribe","data":{"channel":7}}"#,
    r#"{"event":"pusher:unsubscribe","data":null}"#,
    r#"{"event":"pusher:signin","data":{"auth":"k1:0"}}"#,
    r#"{"event":"pusher:connection_established","data":"{}"}"#,
    r#"{"event":"pusher_internal:member_added","channel":"a","data":"{}"}"#,
    r#"{"event":"my-event","channel":"a","data":"{}"}"#,
    r#"{"event":"client-e","data":"{}"}"#,
];

async fn malformed_messages_are_answered_and_the_connection_stays(threads: usize) {
    let settings = PusherSettings::new("");
    let suite = settings.suite(1).gateways(1).threads(threads).start().await;
    let mut client = PusherClient::connect(suite.gateways[0].clients).await;
    for text in MALFORMED {
        client.browser.send(text).await;
        let error: Value = serde_json::from_str(&client.browser.receive_text().await).unwrap();
        assert_eq!(error["event"], "pusher:error", "{text}");
        assert_eq!(error["data"]["code"], Value::Null, "{text}");
        assert!(error["data"]["message"].as_str().is_some_and(|it| !it.is_empty()), "{text}");
    }
    client.subscribed("a").await;
    suite.workers[0].wait_for_metric("pushsuite_pusher_faults_total", 20.0).await;

    let mut binary = PusherClient::connect(suite.gateways[0].clients).await;
    binary.browser.send_binary(&br#"{"event":"pusher:ping"}"#[..]).await;
    assert_eq!(binary.browser.receive_close().await.unwrap().0, 1003);
    client.ping().await;
}

/// Sends until the connection is closed; returns the code.
async fn flood(client: &mut PusherClient, text: &str) -> Option<u16> {
    for _ in 0..1_000 {
        if !client.browser.try_send(text).await {
            break;
        }
    }
    loop {
        if let Received::Closed(code) = client.receive().await {
            return code;
        }
    }
}

async fn floods_end_in_a_close_and_leave_other_clients_unharmed(threads: usize) {
    let settings = PusherSettings::new("");
    let suite = settings.suite(1).threads(threads).start().await;
    let mut other = PusherClient::connect(suite.gateways[0].clients).await;
    other.subscribed("private-a").await;
    let subscribe = json!({
        "event": "pusher:subscribe", "data": {"channel": "private-b", "auth": "k1:0"},
    });
    let large =
        format!(r#"{{"event":"client-e","channel":"private-a","data":"{}"}}"#, "x".repeat(20_000));
    for text in [
        "x".to_owned(),
        subscribe.to_string(),
        r#"{"event":"client-e","channel":"private-a","data":1}"#.to_owned(),
        r#"{"event":"client-e","channel":"private-x","data":1}"#.to_owned(),
        large,
    ] {
        let mut client = PusherClient::connect(suite.gateways[0].clients).await;
        client.subscribed("private-a").await;
        assert_eq!(flood(&mut client, &text).await, Some(4100), "{text:.60}");
        other.received().await;
        other.ping().await;
    }
    let event = r#"{"event":"client-e","channel":"private-a","data":2}"#;
    let mut sender = PusherClient::connect(suite.gateways[1].clients).await;
    sender.subscribed("private-a").await;
    sender.browser.send(event).await;
    assert_eq!(other.browser.receive_text().await, event);
    // The number of channels of a connection is bounded, as are their names.
    for number in 1..100 {
        sender.subscribed(&format!("c-{number:0150}")).await;
    }
    sender.subscribe("one-more").await;
    assert!(sender.browser.receive_text().await.contains("max_channels"));
}
