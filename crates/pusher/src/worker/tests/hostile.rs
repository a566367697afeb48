//! Messages that are none of the protocol, and too many of them.

use super::*;

#[tokio::test]
async fn malformed_messages_are_answered_and_the_connection_stays() {
    let scene = Scene::start();
    let peer = scene.connect().await;
    for text in [
        "",
        "x",
        "[]",
        "{}",
        r#"{"event":1}"#,
        r#"{"event":"pusher:unknown"}"#,
        r#"{"event":"pusher_internal:member_added","channel":"a","data":"{}"}"#,
        r#"{"event":"my-event","channel":"a","data":"{}"}"#,
        r#"{"event":"pusher:subscribe"}"#,
        r#"{"event":"pusher:subscribe","data":"x"}"#,
        r#"{"event":"pusher:signin","data":{}}"#,
    ] {
        let received = peer.sends_text(text).await;
        let [error] = &received[..] else { panic!("{text}: {received:?}") };
        let error: Value = serde_json::from_str(error).unwrap();
        assert_eq!(
            (&error["event"], &error["data"]["code"]),
            (&json!("pusher:error"), &json!(null))
        );
        assert!(!error["data"]["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(peer.close_code(), None);
    assert_eq!(peer.subscribes("a").await, [succeeded("a")]);
}

#[tokio::test(start_paused = true)]
async fn twenty_malformed_messages_in_ten_seconds_are_the_most() {
    let scene = Scene::start();
    let (peer, other) = (scene.connect().await, scene.connect().await);
    for _ in 0..20 {
        assert_eq!(peer.sends_text("x").await.len(), 1);
    }
    assert!(peer.sends_text("x").await.is_empty());
    assert_eq!((peer.close_code(), other.close_code()), (Some(4100), None));
    for _ in 0..60 {
        assert_eq!(other.sends_text("x").await.len(), 1);
        tokio::time::sleep(std::time::Duration::from_millis(501)).await;
    }
    assert_eq!(other.close_code(), None, "slower than that");
}

#[tokio::test(start_paused = true)]
async fn flood_of_refused_subscriptions_ends_in_a_close() {
    let scene = Scene::start();
    let peer = scene.connect().await;
    let subscribe = json!({"channel": "private-a", "auth": "k1:0"});
    for _ in 0..200 {
        assert_eq!(peer.sends("pusher:subscribe", subscribe.clone()).await.len(), 2);
    }
    assert!(peer.sends("pusher:subscribe", subscribe).await.is_empty());
    assert_eq!(peer.close_code(), Some(4100));
}

#[tokio::test(start_paused = true)]
async fn flood_of_client_events_ends_in_a_close() {
    let scene = Scene::start();
    let (peer, other) = (scene.connect().await, scene.connect().await);
    peer.subscribes("private-a").await;
    other.subscribes("private-a").await;
    for _ in 0..211 {
        peer.sends_text(r#"{"event":"client-e","channel":"private-a","data":1}"#).await;
    }
    assert_eq!((peer.close_code(), other.received().len()), (Some(4100), 10));
}

#[tokio::test]
async fn binary_message_closes_with_1003() {
    let scene = Scene::start();
    let peer = scene.connect().await;
    peer.sends_message(Message::binary(br#"{"event":"pusher:ping"}"#.to_vec())).await;
    assert_eq!(peer.close_code(), Some(1003));
}

#[tokio::test]
async fn budgets_of_a_closed_connection_are_freed() {
    let scene = Scene::start();
    let peer = scene.connect().await;
    peer.sends_text("x").await;
    assert_eq!(scene.pusher.shared.budgets.lock().len(), 1);
    scene.pusher.on_close(&peer.client, CloseReason::Client).await.unwrap();
    assert_eq!(scene.pusher.shared.budgets.lock().len(), 0);
}
