//! Channels of the Pusher protocol over real sockets and two gateways: exact bytes, signatures,
//! client events, users.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use pusher::{Apps, Channel, SocketIds, Triggered, signature::channel_text};
use serde_json::{Value, json};
use suite_tests::{
    PusherClient, PusherSettings, on_one_and_three_threads,
    pusher_client::{key, parse_data},
};

on_one_and_three_threads!(
    messages_of_a_subscription_have_exact_bytes,
    client_event_crosses_gateways_and_spares_its_sender,
    published_event_crosses_gateways_and_spares_a_socket_id,
    channel_of_a_user_is_for_that_user_only,
    watchlist_shows_users_of_both_gateways,
    last_event_of_a_cache_channel_reaches_new_subscribers_of_every_gateway,
);

/// The app of the settings, as a back end has it.
fn apps(settings: &PusherSettings) -> Apps {
    #[derive(serde::Deserialize)]
    struct File {
        pusher: Section,
    }
    #[derive(serde::Deserialize)]
    struct Section {
        app: Vec<pusher::AppEntry>,
    }
    let text = std::fs::read_to_string(settings.path()).unwrap();
    let file: File = toml::from_str(&text).unwrap();
    Apps::new(file.pusher.app).unwrap()
}

async fn messages_of_a_subscription_have_exact_bytes(threads: usize) {
    let settings = PusherSettings::new("");
    let suite = settings.suite(1).gateways(1).threads(threads).start().await;
    let mut client = PusherClient::connect(suite.gateways[0].clients).await;
    for channel in ["a", "private-a", "private-encrypted-a"] {
        client.subscribe(channel).await;
        let expected = format!(
            r#"{{"event":"pusher_internal:subscription_succeeded","channel":"{channel}","data":"{{}}"}}"#
        );
        assert_eq!(client.browser.receive_text().await, expected);
    }
    let stolen = key().auth(&channel_text("1234.1234", "private-b", None));
    client.send("pusher:subscribe", json!({"channel": "private-b", "auth": stolen})).await;
    let (socket, signature) = (&client.socket_id, stolen.split_once(':').unwrap().1);
    let fault = format!(
        "Invalid signature: Expected HMAC SHA256 hex digest of {socket}:private-b, \
         but got {signature}"
    );
    let expected = format!(
        r#"{{"event":"pusher:subscription_error","channel":"private-b","data":"{{\"type\":\"AuthError\",\"error\":\"{fault}\",\"status\":401}}"}}"#
    );
    assert_eq!(client.browser.receive_text().await, expected);
    let expected =
        format!(r#"{{"event":"pusher:error","data":{{"code":null,"message":"{fault}"}}}}"#);
    assert_eq!(client.browser.receive_text().await, expected);
    client.ping().await;
}

async fn client_event_crosses_gateways_and_spares_its_sender(threads: usize) {
    let settings = PusherSettings::new("");
    let suite = settings.suite(1).threads(threads).start().await;
    let mut ann = PusherClient::connect(suite.gateways[0].clients).await;
    let mut bob = PusherClient::connect(suite.gateways[1].clients).await;
    let mut eve = PusherClient::connect(suite.gateways[1].clients).await;
    ann.subscribed("private-a").await;
    bob.subscribed("private-a").await;
    let event = r#"{"event":"client-e","channel":"private-a","data":{ "n":1.0 }}"#;
    ann.browser.send(event).await;
    assert_eq!(bob.browser.receive_text().await, event);
    assert!(ann.received().await.is_empty());
    // A client that is not subscribed reaches no subscriber.
    eve.browser.send(event).await;
    assert!(eve.received().await[0].contains("not subscribed"));
    assert!(bob.received().await.is_empty() && ann.received().await.is_empty());
}

async fn published_event_crosses_gateways_and_spares_a_socket_id(threads: usize) {
    let settings = PusherSettings::new("");
    let suite = settings.suite(1).threads(threads).start().await;
    let mut clients = Vec::new();
    for at in 0..4 {
        let mut client = PusherClient::connect(suite.gateways[at % 2].clients).await;
        client.subscribed("a").await;
        clients.push(client);
    }
    let (cluster, apps) = (suite.cluster().await, apps(&settings));
    let app = apps.by_id("1").unwrap();
    let ids = SocketIds::new(&suite.secret());
    let spared = ids.decode(&clients[1].socket_id.parse().unwrap());
    assert!(spared.is_some());
    let channels = [Channel::parse("a").unwrap(), Channel::parse("b").unwrap()];
    let event = Triggered { name: "App\\Events\\E", data: r#"{"x":"é"}"# };
    pusher::trigger(&cluster, app, &channels, event, spared).await.unwrap();
    cluster.flush().await.unwrap();
    for (at, client) in clients.iter_mut().enumerate() {
        let expected =
            r#"{"event":"App\\Events\\E","channel":"a","data":"{\"x\":\"é\"}"}"#.to_owned();
        let expected = if at == 1 { vec![] } else { vec![expected] };
        assert_eq!(client.received().await, expected, "{at}");
    }
}

async fn channel_of_a_user_is_for_that_user_only(threads: usize) {
    let settings = PusherSettings::new("");
    let suite = settings.suite(1).threads(threads).start().await;
    let mut ann = PusherClient::connect(suite.gateways[0].clients).await;
    let mut thief = PusherClient::connect(suite.gateways[1].clients).await;
    let channel = "#server-to-user-ann";
    ann.sign_in(r#"{"id":"ann"}"#).await;
    ann.subscribed(channel).await;
    for user in [None, Some(r#"{"id":"thief"}"#)] {
        if let Some(user) = user {
            thief.sign_in(user).await;
        }
        thief.subscribe(channel).await;
        let error: Value = serde_json::from_str(&thief.browser.receive_text().await).unwrap();
        assert_eq!(error["event"], "pusher:subscription_error");
        assert_eq!(parse_data(&error)["status"], 401);
        thief.browser.receive_text().await;
    }
    let (cluster, apps) = (suite.cluster().await, apps(&settings));
    let event = Triggered { name: "e", data: "{}" };
    let channels = [Channel::parse(channel).unwrap()];
    pusher::trigger(&cluster, apps.by_id("1").unwrap(), &channels, event, None).await.unwrap();
    cluster.flush().await.unwrap();
    let expected = r##"{"event":"e","channel":"#server-to-user-ann","data":"{}"}"##;
    assert_eq!(ann.received().await, [expected]);
    assert!(thief.received().await.is_empty());
}

async fn watchlist_shows_users_of_both_gateways(threads: usize) {
    let settings = PusherSettings::new("");
    let suite = settings.suite(1).threads(threads).start().await;
    let mut bob = PusherClient::connect(suite.gateways[0].clients).await;
    let mut ann = PusherClient::connect(suite.gateways[1].clients).await;
    bob.sign_in(r#"{"id":"bob"}"#).await;
    ann.sign_in(r#"{"id":"ann","watchlist":["bob","eve"]}"#).await;
    let online = r#"{"event":"pusher_internal:watchlist_events","data":"{\"events\":[{\"name\":\"online\",\"user_ids\":[\"bob\"]}]}"}"#;
    let expected = r#"{"event":"pusher_internal:watchlist_events","data":"{\"events\":[{\"name\":\"online\",\"user_ids\":[\"bob\"]},{\"name\":\"offline\",\"user_ids\":[\"eve\"]}]}"}"#;
    let mut received = ann.browser.receive_text().await;
    if received == online {
        // The notice of the sign-in of bob, which takes its own way, met a watcher already.
        received = ann.browser.receive_text().await;
    }
    assert_eq!(received, expected);
}

async fn last_event_of_a_cache_channel_reaches_new_subscribers_of_every_gateway(threads: usize) {
    let settings = PusherSettings::new("");
    let mut suite = settings.suite(1).threads(threads).start().await;
    let channel = "private-cache-a";
    let mut first = PusherClient::connect(suite.gateways[0].clients).await;
    first.subscribed(channel).await;
    let miss = r#"{"event":"pusher:cache_miss","channel":"private-cache-a","data":"{}"}"#;
    assert_eq!(first.browser.receive_text().await, miss);
    let (cluster, apps) = (suite.cluster().await, apps(&settings));
    let channels = [Channel::parse(channel).unwrap()];
    for data in ["1", "2"] {
        let (app, event) = (apps.by_id("1").unwrap(), Triggered { name: "e", data });
        pusher::trigger(&cluster, app, &channels, event, None).await.unwrap();
    }
    cluster.flush().await.unwrap();
    let last = r#"{"event":"e","channel":"private-cache-a","data":"2"}"#;
    assert_eq!(first.received().await.last().map(String::as_str), Some(last));
    // The channel is empty, a worker is replaced, and a gateway has never seen the event.
    first.browser.close().await;
    suite.workers[0].stop().await;
    suite.add_worker().await;
    suite.add_gateway().await;
    for gateway in 0..3 {
        let mut next = PusherClient::connect(suite.gateways[gateway].clients).await;
        next.subscribed(channel).await;
        assert_eq!(next.browser.receive_text().await, last, "gateway {gateway}");
        assert!(next.received().await.is_empty());
    }
}
