//! Subscriptions: kinds of channels, signatures, and what is refused.

use super::*;

#[tokio::test]
async fn subscription_joins_the_group_and_succeeds_once() {
    let scene = Scene::start();
    let peer = scene.connect().await;
    for channel in ["a", "private-a", "private-encrypted-a"] {
        assert_eq!(peer.subscribes(channel).await, [succeeded(channel)]);
    }
    let expected =
        ["pusher-app:1", "pusher:1:a", "pusher:1:private-a", "pusher:1:private-encrypted-a"];
    assert_eq!(peer.groups(), expected);
    assert_eq!(peer.subscribes("a").await, [succeeded("a")], "again");
    assert_eq!(peer.groups(), expected);
}

#[tokio::test]
async fn public_channel_needs_no_signature_and_ignores_one() {
    let scene = Scene::start();
    let peer = scene.connect().await;
    for data in [json!({"channel": "a"}), json!({"channel": "b", "auth": ""})] {
        let channel = data["channel"].as_str().unwrap().to_owned();
        assert_eq!(peer.sends("pusher:subscribe", data).await, [succeeded(&channel)]);
    }
    let text = json!({"channel": "c", "auth": "nonsense"}).to_string();
    assert_eq!(peer.sends("pusher:subscribe", json!(text)).await, [succeeded("c")]);
}

#[tokio::test]
async fn wrong_signature_is_refused_with_two_messages() {
    let scene = Scene::start();
    let (peer, other) = (scene.connect().await, scene.connect().await);
    let good = key().auth(&channel_text(&peer.socket_id, "private-a", None));
    let of_other = key().auth(&channel_text(&other.socket_id, "private-a", None));
    let of_b = key().auth(&channel_text(&peer.socket_id, "private-b", None));
    let foreign = Key::new("k2", "s1").auth(&channel_text(&peer.socket_id, "private-a", None));
    for auth in [of_other, of_b, foreign, good.to_uppercase(), "k1:".into(), String::new()] {
        let data = json!({"channel": "private-a", "auth": auth});
        let error = denied(&peer.sends("pusher:subscribe", data).await, "private-a", 401);
        let signature = auth.split_once(':').map_or("", |(_, signature)| signature);
        let expected = format!(
            "Invalid signature: Expected HMAC SHA256 hex digest of {}:private-a, but got {signature}",
            peer.socket_id
        );
        assert_eq!(error, expected);
    }
    let data = json!({"channel": "private-a"});
    denied(&peer.sends("pusher:subscribe", data).await, "private-a", 401);
    assert_eq!(peer.groups(), ["pusher-app:1"]);
    assert_eq!(peer.subscribes("private-a").await, [succeeded("private-a")]);
}

#[tokio::test]
async fn channel_data_is_part_of_the_signed_text_of_any_channel() {
    let scene = Scene::start();
    let peer = scene.connect().await;
    let text = channel_text(&peer.socket_id, "private-a", Some("x"));
    let auth = key().auth(&text);
    let data = json!({"channel": "private-a", "auth": auth, "channel_data": "y"});
    denied(&peer.sends("pusher:subscribe", data).await, "private-a", 401);
    let data = json!({"channel": "private-a", "auth": auth, "channel_data": "x"});
    assert_eq!(peer.sends("pusher:subscribe", data).await, [succeeded("private-a")]);
}

#[tokio::test]
async fn every_live_key_of_the_app_signs() {
    let other = "id = '2'\nkey = 'k9'\nsecret = 's9'";
    let app = format!("{APP}other_keys = [{{key = 'old', secret = 's0'}}]\n");
    let scene = Scene::of(&[&app, other]);
    let peer = scene.connect().await;
    let sign = |key: Key| {
        let auth = key.auth(&channel_text(&peer.socket_id, "private-a", None));
        json!({"channel": "private-a", "auth": auth})
    };
    let of_another_app = sign(Key::new("k9", "s9"));
    denied(&peer.sends("pusher:subscribe", of_another_app).await, "private-a", 401);
    let received = peer.sends("pusher:subscribe", sign(Key::new("old", "s0"))).await;
    assert_eq!(received, [succeeded("private-a")]);
}

#[tokio::test]
async fn invalid_channel_is_refused_and_named() {
    let scene = Scene::start();
    let peer = scene.connect().await;
    for channel in ["", "a b", "#x", "a/b", "pusher:1:a", "!all", &"x".repeat(165)] {
        let received = peer.sends("pusher:subscribe", json!({"channel": channel})).await;
        denied(&received, channel, 400);
    }
    let long = "é".repeat(100_000);
    let received = peer.sends("pusher:subscribe", json!({"channel": long})).await;
    denied(&received, &"é".repeat(100), 400);
}

#[tokio::test]
async fn connection_has_as_many_channels_as_it_may_have() {
    let scene = Scene::with("max_channels = 2\n");
    let peer = scene.connect().await;
    peer.subscribes("a").await;
    peer.subscribes("b").await;
    let error = denied(&peer.subscribes("c").await, "c", 403);
    assert!(error.contains("max_channels"), "{error}");
    assert_eq!(peer.subscribes("a").await, [succeeded("a")], "is one of the two");
    assert!(peer.sends("pusher:unsubscribe", json!({"channel": "a"})).await.is_empty());
    assert_eq!(peer.subscribes("c").await, [succeeded("c")]);
}

#[tokio::test]
async fn unsubscription_leaves_the_group_without_an_answer() {
    let scene = Scene::start();
    let peer = scene.connect().await;
    peer.subscribes("a").await;
    for channel in ["a", "a", "unknown", "", "!all", "#x"] {
        let received = peer.sends("pusher:unsubscribe", json!({"channel": channel})).await;
        assert!(received.is_empty(), "{channel}: {received:?}");
    }
    assert_eq!(peer.groups(), ["pusher-app:1"]);
}

#[tokio::test]
async fn channel_of_another_app_is_another_channel() {
    let scene = Scene::of(&[APP, "id = '2'\nkey = 'k2'\nsecret = 's2'"]);
    let peer = scene.connect().await;
    let (other, _) = scene.handshake("/app/k2", None).await;
    let subscribe = r#"{"event":"pusher:subscribe","data":{"channel":"a"}}"#;
    scene.pusher.on_message(&other, subscribe.into()).await.unwrap();
    scene.cluster.received(other.id());
    peer.subscribes("a").await;
    let app = scene.pusher.shared.apps.get().by_id("1").cloned().unwrap();
    let (channels, event) =
        ([Channel::parse("a").unwrap()], crate::Triggered { name: "e", data: "x" });
    crate::trigger(scene.cluster.cluster(), &app, &channels, event, None).await.unwrap();
    assert_eq!(peer.received(), [server_message::event("e", "a", "x")]);
    assert_eq!(scene.cluster.received(other.id()), []);
}

#[tokio::test]
async fn new_subscriber_of_a_cache_channel_receives_the_last_published_event() {
    let scene = Scene::start();
    let app = scene.pusher.shared.apps.get().by_id("1").cloned().unwrap();
    for name in ["cache-a", "private-cache-a", "private-encrypted-cache-a"] {
        let (ann, bob) = (scene.connect().await, scene.connect().await);
        let miss = server_message::cache_miss(name);
        assert_eq!(ann.subscribes(name).await, [succeeded(name), miss]);
        let channels = [Channel::parse(name).unwrap()];
        for data in ["1", "2"] {
            let event = crate::Triggered { name: "e", data };
            crate::trigger(scene.cluster.cluster(), &app, &channels, event, None).await.unwrap();
        }
        assert_eq!(ann.received().len(), 2);
        let last = server_message::event("e", name, "2");
        assert_eq!(bob.subscribes(name).await, [succeeded(name), last.clone()]);
        let event = format!(r#"{{"event":"client-e","channel":"{name}","data":3}}"#);
        bob.sends_text(&event).await;
        ann.client.close(None).await.unwrap();
        bob.client.close(None).await.unwrap();
        let eve = scene.connect().await;
        let received = eve.subscribes(name).await;
        assert_eq!(received, [succeeded(name), last], "kept without subscribers");
    }
}
