//! Members of presence channels in the HTTP API of `--app pusher`, and in its webhooks.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serde_json::{Value, json};
use suite_tests::{
    Received, on_one_and_three_threads,
    pusher_http::{PusherApi, PusherSuite},
    with_timeout,
};
use test_support::receiver::{Receiver, Reply};

on_one_and_three_threads!(
    users_are_those_of_both_gateways,
    terminated_user_loses_its_presence_channels,
    changes_of_a_presence_channel_reach_the_receiver_once_and_in_order,
);

async fn expect_get(api: &mut PusherApi, path: &str, answer: &str) {
    assert_eq!(api.get(path).await, (200, answer.to_owned()), "{path}");
}

async fn users_are_those_of_both_gateways(threads: usize) {
    let scene = PusherSuite::start(threads, 1, "").await;
    let _one = scene.subscriber(0, &["presence-x as 2"]).await;
    let _two = scene.subscriber(1, &["presence-x as 10"]).await;
    let _tab = scene.subscriber(1, &["presence-x as 2"]).await;
    let mut api = scene.api(0).await;
    let filtered = "channels?filter_by_prefix=presence-&info=user_count,subscription_count";
    let counted = r#"{"channels":{"presence-x":{"user_count":2,"subscription_count":3}}}"#;
    expect_get(&mut api, filtered, counted).await;
    let users = r#"{"users":[{"id":"10"},{"id":"2"}]}"#;
    expect_get(&mut api, "channels/presence-x/users", users).await;
    expect_get(&mut api, "channels/presence-none/users", r#"{"users":[]}"#).await;
}

async fn terminated_user_loses_its_presence_channels(threads: usize) {
    let scene = PusherSuite::start(threads, 1, "").await;
    let (mut ann, _) = scene.subscriber(1, &["presence-x as ann"]).await;
    let _bob = scene.subscriber(0, &["presence-x as bob"]).await;
    let mut api = scene.api(0).await;
    let sent = api.post("users/ann/terminate_connections", &json!({})).await;
    assert_eq!(sent, (200, "{}".to_owned()));
    loop {
        match ann.receive().await {
            Received::Closed(code) => break assert_eq!(code, Some(4009)),
            Received::Text(_) | Received::Binary(_) => {}
        }
    }
    let bob = r#"{"users":[{"id":"bob"}]}"#.to_owned();
    let path = "channels/presence-x/users";
    let is_left = async || (api.get(path).await == (200, bob.clone())).then_some(());
    suite_tests::eventually("ann to be gone", is_left).await;
}

async fn changes_of_a_presence_channel_reach_the_receiver_once_and_in_order(threads: usize) {
    let receiver = Receiver::start(|_| Reply::status(200)).await;
    let webhook = format!("[[pusher.app.webhook]]\nurl = '{}'\n", receiver.url("/hook"));
    let scene = PusherSuite::start(threads, 2, &webhook).await;
    let one = scene.subscriber(0, &["presence-x as 7"]).await;
    let tab = scene.subscriber(1, &["presence-x as 7"]).await;
    drop(one);
    drop(tab);
    let names = |received: Vec<test_support::receiver::Received>| -> Vec<String> {
        let bodies = received
            .iter()
            .map(|request| -> Value { serde_json::from_slice(&request.body).unwrap() });
        bodies.map(|body| body["events"][0]["name"].as_str().unwrap().to_owned()).collect()
    };
    let received = with_timeout("the last change", receiver.wait_for(4)).await;
    let mut names = names(received);
    // Vacated and the removal of the last member are decided at once.
    names[2..].sort();
    let mut first = names[..2].to_vec();
    first.sort();
    assert_eq!(first, ["channel_occupied", "member_added"]);
    assert_eq!(names[2..], ["channel_vacated", "member_removed"]);
}
