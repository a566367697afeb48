//! Sign-in, the channel of a user, watchlists.

use super::*;

const ANN: &str = r#"{"id":"ann","user_info":{"name":"Ann"}}"#;

#[tokio::test]
async fn sign_in_binds_the_uid_and_returns_the_same_user_data() {
    let scene = Scene::start();
    let peer = scene.connect().await;
    let user_data = r#"{ "id":"ann", "more":"\u00e9" }"#;
    assert_eq!(peer.signs_in(user_data).await, [server_message::signin_success(user_data)]);
    assert_eq!(scene.cluster.uid(peer.client.id()), Some("pusher:1:ann".try_into().unwrap()));
    assert!(peer.groups().contains(&"pusher:1:!user:ann".to_owned()));
    assert_eq!(peer.signs_in(ANN).await, [server_message::signin_success(ANN)], "again");
    let received = peer.signs_in(r#"{"id":"bob"}"#).await;
    let expected = server_message::error(None, "The connection is signed in as another user");
    assert_eq!(received, [expected]);
    assert_eq!(scene.cluster.uid(peer.client.id()), Some("pusher:1:ann".try_into().unwrap()));
}

#[tokio::test]
async fn failed_sign_in_keeps_the_connection() {
    let scene = Scene::start();
    let peer = scene.connect().await;
    for data in ["{}", r#"{"id":""}"#, r#"{"id":7}"#, "x"] {
        let received = peer.signs_in(data).await;
        assert!(received[0].contains(r#""code":null"#), "{received:?}");
    }
    let data = json!({"auth": "k1:0", "user_data": ANN});
    let received = peer.sends("pusher:signin", data).await;
    let expected = format!(
        "Invalid signature: Expected HMAC SHA256 hex digest of {}::user::{ANN}, but got 0",
        peer.socket_id
    );
    assert_eq!(received, [server_message::error(None, &expected)]);
    assert_eq!((scene.cluster.uid(peer.client.id()), peer.close_code()), (None, None));
}

#[tokio::test]
async fn failed_sign_in_closes_where_connections_have_to_be_authorized() {
    let scene = Scene::with("authorization_timeout = 30\n");
    let peer = scene.connect().await;
    let data = json!({"auth": "k1:0", "user_data": ANN});
    assert_eq!(peer.sends("pusher:signin", data).await.len(), 1);
    assert_eq!(peer.close_code(), Some(4009));
}

#[tokio::test]
async fn channel_of_a_user_is_for_that_user_only() {
    let scene = Scene::start();
    let (thief, ann) = (scene.connect().await, scene.connect().await);
    let channel = "#server-to-user-ann";
    denied(&thief.subscribes(channel).await, channel, 401);
    thief.signs_in(r#"{"id":"thief"}"#).await;
    denied(&thief.subscribes(channel).await, channel, 401);
    ann.signs_in(ANN).await;
    let data = json!({"channel": channel, "auth": ""});
    assert_eq!(ann.sends("pusher:subscribe", data).await, [succeeded(channel)]);
    let app = scene.pusher.shared.apps.get().by_id("1").cloned().unwrap();
    let (channels, event) =
        ([Channel::parse(channel).unwrap()], crate::Triggered { name: "e", data: "x" });
    crate::trigger(scene.cluster.cluster(), &app, &channels, event, None).await.unwrap();
    assert_eq!(ann.received(), [server_message::event("e", channel, "x")]);
    assert!(thief.received().is_empty());
}

#[tokio::test]
async fn watchlist_shows_users_online_and_offline_at_the_sign_in() {
    let scene = Scene::start();
    let (ann, bob) = (scene.connect().await, scene.connect().await);
    bob.signs_in(r#"{"id":"bob"}"#).await;
    let data = r#"{"id":"ann","watchlist":["eve","bob"]}"#;
    let expected = [
        server_message::signin_success(data),
        server_message::watchlist_events(&["bob"], &["eve"]),
    ];
    assert_eq!(ann.signs_in(data).await, expected);
    assert!(ann.groups().contains(&"pusher-watchers:1:bob".to_owned()));
}

#[tokio::test]
async fn watchlist_is_corrected_if_a_user_leaves_between_its_query_and_its_message() {
    let scene = Scene::start();
    let (ann, bob) = (scene.connect().await, scene.connect().await);
    bob.signs_in(r#"{"id":"bob"}"#).await;
    let data = r#"{"id":"ann","watchlist":["eve","bob"]}"#;
    // The gateway answers the query, and then bob leaves, before the handler continues.
    let leaves = async { bob.client.unbind_uid().await.unwrap() };
    let (received, ()) = tokio::join!(biased; ann.signs_in(data), leaves);
    let offline = server_message::watchlist_events(&[""; 0], &["bob"]);
    let expected = [
        server_message::signin_success(data),
        server_message::watchlist_events(&["bob"], &["eve"]),
        offline,
    ];
    assert_eq!(received, expected);
}

#[tokio::test]
async fn sign_in_succeeds_while_the_users_of_its_watchlist_cannot_be_queried() {
    let scene = Scene::start();
    let ann = scene.connect().await;
    let data = r#"{"id":"ann","watchlist":["bob"]}"#;
    scene.cluster.set_unavailable(true);
    assert_eq!(ann.signs_in(data).await, [server_message::signin_success(data)]);
    assert!(ann.groups().contains(&"pusher-watchers:1:bob".to_owned()));
}

#[tokio::test]
async fn watchlist_that_is_too_long_is_cut_with_an_error() {
    let scene = Scene::start();
    let ann = scene.connect().await;
    let ids: Vec<_> = (0..101).map(|id| id.to_string()).collect();
    let data = json!({"id": "ann", "watchlist": ids}).to_string();
    let received = ann.signs_in(&data).await;
    let error = server_message::error(Some(4302), "The watchlist has more than 100 users");
    assert_eq!((received.len(), &received[1]), (3, &error));
    let groups = ann.groups();
    let watched = groups.iter().filter(|group| group.contains("pusher-watchers:"));
    assert_eq!((watched.count(), ann.close_code()), (100, None));
}
