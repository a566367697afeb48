//! Presence channels, numbers of subscribers, and the presence of users.

use super::*;

const ANN: &str = r#"{"user_id":10,"user_info":{"name":"Ann"}}"#;
const BOB: &str = r#"{"user_id":"bob"}"#;

fn present(channel: &str, presence: &Value) -> String {
    let data = json!({"presence": presence}).to_string();
    server_message::event("pusher_internal:subscription_succeeded", channel, &data)
}

/// Equal as values: the order of fields is that of the protocol, which another test states.
#[track_caller]
fn assert_present(received: &[String], presence: &Value) {
    let [message] = received else { panic!("{received:?}") };
    let message: Value = serde_json::from_str(message).unwrap();
    let mut expected: Value = serde_json::from_str(&present("presence-a", presence)).unwrap();
    for value in [&message, &expected] {
        assert!(value["data"].is_string());
    }
    let data =
        |value: &Value| -> Value { serde_json::from_str(value["data"].as_str().unwrap()).unwrap() };
    assert_eq!(data(&message), data(&expected));
    expected["data"] = message["data"].clone();
    assert_eq!(message, expected);
}

#[tokio::test]
async fn members_see_each_other_once_whatever_their_connections() {
    let scene = Scene::start().started().await;
    let (ann, bob, tab) = (scene.connect().await, scene.connect().await, scene.connect().await);
    let info = json!({"name": "Ann"});
    let only_ann = json!({"count": 1, "ids": ["10"], "hash": {"10": info}});
    assert_present(&ann.joins("presence-a", ANN).await, &only_ann);
    scene.update_presence().await;
    assert!(ann.received().is_empty(), "not its own");
    let both = json!({"count": 2, "ids": ["10", "bob"], "hash": {"10": info, "bob": null}});
    assert_present(&bob.joins("presence-a", BOB).await, &both);
    assert_present(&tab.joins("presence-a", BOB).await, &both);
    scene.update_presence().await;
    assert_eq!(ann.received(), [server_message::member_added("presence-a", "bob", "null")]);
    assert!(bob.received().is_empty() && tab.received().is_empty());
    bob.sends("pusher:unsubscribe", json!({"channel": "presence-a"})).await;
    scene.update_presence().await;
    assert!(ann.received().is_empty(), "bob has another connection");
    tab.client.close(None).await.unwrap();
    scene.update_presence().await;
    assert_eq!(ann.received(), [server_message::member_removed("presence-a", "bob")]);
}

#[tokio::test]
async fn presence_channel_needs_a_signed_member() {
    let scene = Scene::start();
    let peer = scene.connect().await;
    for data in ["{}", "x", r#"{"user_id":""}"#, r#"{"user_id":1.5}"#, r#"{"user_id":null}"#] {
        denied(&peer.joins("presence-a", data).await, "presence-a", 400);
    }
    denied(&peer.subscribes("presence-a").await, "presence-a", 400);
    let auth = key().auth(&channel_text(&peer.socket_id, "presence-a", Some(BOB)));
    let data = json!({"channel": "presence-a", "auth": auth, "channel_data": ANN});
    denied(&peer.sends("pusher:subscribe", data).await, "presence-a", 401);
    assert_eq!(peer.groups(), ["pusher-app:1"]);
}

#[tokio::test]
async fn connection_that_is_signed_in_is_a_member_as_its_user() {
    let scene = Scene::start();
    let peer = scene.connect().await;
    peer.signs_in(r#"{"id":"7","user_info":{"name":"Ann"}}"#).await;
    let expected = json!({"count": 1, "ids": ["7"], "hash": {"7": {"name": "Ann"}}});
    assert_present(&peer.subscribes("presence-a").await, &expected);
}

#[tokio::test]
async fn second_subscription_of_a_connection_changes_nothing() {
    let scene = Scene::start().started().await;
    let (ann, bob) = (scene.connect().await, scene.connect().await);
    ann.joins("presence-a", ANN).await;
    bob.joins("presence-a", BOB).await;
    scene.update_presence().await;
    let _ = (ann.received(), bob.received());
    let received = bob.joins("presence-a", r#"{"user_id":"bob","user_info":1}"#).await;
    assert!(received[0].contains("subscription_succeeded"), "{received:?}");
    denied(&bob.joins("presence-a", ANN).await, "presence-a", 400);
    scene.update_presence().await;
    assert!(ann.received().is_empty());
}

#[tokio::test]
async fn client_event_on_a_presence_channel_names_its_user() {
    let scene = Scene::start();
    let (ann, bob) = (scene.connect().await, scene.connect().await);
    ann.joins("presence-a", ANN).await;
    bob.joins("presence-a", BOB).await;
    ann.sends_text(r#"{"event":"client-e","channel":"presence-a","data":1,"user_id":"x"}"#).await;
    let expected = r#"{"event":"client-e","channel":"presence-a","data":1,"user_id":"10"}"#;
    assert_eq!(bob.received(), [expected]);
}

#[tokio::test]
async fn subscribers_receive_their_number() {
    let scene = Scene::with("subscription_count = true\n").started().await;
    let (ann, bob) = (scene.connect().await, scene.connect().await);
    ann.subscribes("a").await;
    ann.joins("presence-a", ANN).await;
    scene.update_presence().await;
    assert_eq!(ann.received(), [server_message::subscription_count("a", 1)]);
    bob.subscribes("a").await;
    scene.update_presence().await;
    assert_eq!(ann.received(), [server_message::subscription_count("a", 2)]);
    let quiet = Scene::start().started().await;
    let eve = quiet.connect().await;
    eve.subscribes("a").await;
    quiet.update_presence().await;
    assert!(eve.received().is_empty());
}

#[tokio::test]
async fn watchers_see_a_user_come_and_go() {
    let scene = Scene::start().started().await;
    let (ann, bob, tab) = (scene.connect().await, scene.connect().await, scene.connect().await);
    let none: [&str; 0] = [];
    ann.signs_in(r#"{"id":"ann","watchlist":["bob"]}"#).await;
    scene.update_presence().await;
    bob.signs_in(r#"{"id":"bob"}"#).await;
    tab.signs_in(r#"{"id":"bob"}"#).await;
    scene.update_presence().await;
    assert_eq!(ann.received(), [server_message::watchlist_events(&["bob"], &none)]);
    bob.client.close(None).await.unwrap();
    scene.update_presence().await;
    assert!(ann.received().is_empty(), "bob has another connection");
    tab.client.close(None).await.unwrap();
    scene.update_presence().await;
    assert_eq!(ann.received(), [server_message::watchlist_events(&none, &["bob"])]);
}
