//! Presence channels of the Pusher protocol over real sockets, two gateways and two workers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use suite_tests::{
    PusherClient, PusherSettings, eventually, on_one_and_three_threads, pusher_client::parse_data,
};

on_one_and_three_threads!(
    members_of_two_gateways_see_each_other_once,
    members_of_a_killed_gateway_are_removed_once,
    members_alternate_at_every_observer_while_workers_are_killed,
    subscribers_of_two_gateways_receive_their_number,
    watchers_see_users_of_another_gateway_come_and_go,
);

const CHANNEL: &str = "presence-a";

/// Grace periods of the tests.
const SHORT: [(&str, &str); 2] = [("--presence-grace", "1"), ("--gateway-grace", "1")];

fn suite(settings: &PusherSettings, workers: usize, threads: usize) -> suite_tests::suite::Builder {
    let builder = settings.suite(workers).threads(threads);
    SHORT.iter().fold(builder, |builder, (flag, value)| builder.worker_flag(flag, value))
}

fn data_of(user: &str) -> String {
    json!({"user_id": user, "user_info": {"name": user.to_uppercase()}}).to_string()
}

/// The members that a client has been shown, and whether a change ever was none.
#[derive(Debug)]
struct Observer {
    client: PusherClient,
    user: String,
    members: BTreeMap<String, Value>,
}

impl Observer {
    async fn join(suite: &suite_tests::Suite, gateway: usize, user: &str) -> Self {
        let mut client = PusherClient::connect(suite.gateways[gateway].clients).await;
        let presence = client.join(CHANNEL, &data_of(user)).await;
        let members: BTreeMap<String, Value> =
            serde_json::from_value(presence["hash"].clone()).unwrap();
        let ids: Vec<String> = serde_json::from_value(presence["ids"].clone()).unwrap();
        assert_eq!(presence["count"], members.len());
        assert!(ids.len() == members.len() && ids.iter().all(|id| members.contains_key(id)));
        assert_eq!(members[user]["name"], user.to_uppercase());
        Self { client, user: user.to_owned(), members }
    }

    /// Takes the messages so far into account.
    async fn observe(&mut self) {
        for text in self.client.received().await {
            let message: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(message["channel"], CHANNEL);
            let data = parse_data(&message);
            let user = data["user_id"].as_str().unwrap().to_owned();
            assert_ne!(user, self.user, "a member is not shown itself: {text}");
            match message["event"].as_str().unwrap() {
                "pusher_internal:member_added" => {
                    let before = self.members.insert(user, data["user_info"].clone());
                    assert_eq!(before, None, "added twice: {text}");
                }
                "pusher_internal:member_removed" => {
                    assert!(self.members.remove(&user).is_some(), "removed twice: {text}");
                }
                other => panic!("{other}"),
            }
        }
    }

    /// Waits until the client has been shown these members.
    async fn sees(&mut self, users: &[&str]) {
        let mut wanted: Vec<String> = users.iter().map(ToString::to_string).collect();
        wanted.sort();
        eventually(format!("{} to see {wanted:?}", self.user), async || {
            self.observe().await;
            self.members.keys().eq(&wanted).then_some(())
        })
        .await;
    }
}

async fn members_of_two_gateways_see_each_other_once(threads: usize) {
    let settings = PusherSettings::new("");
    let suite = suite(&settings, 2, threads).start().await;
    let mut ann = Observer::join(&suite, 0, "ann").await;
    let mut bob = Observer::join(&suite, 1, "bob").await;
    let mut tab = Observer::join(&suite, 0, "bob").await;
    for observer in [&mut ann, &mut bob, &mut tab] {
        observer.sees(&["ann", "bob"]).await;
    }
    // A number as the id of a user is its digits.
    let mut number = PusherClient::connect(suite.gateways[1].clients).await;
    let presence = number.join(CHANNEL, r#"{"user_id":10}"#).await;
    assert!(presence["ids"].as_array().unwrap().contains(&json!("10")), "{presence}");
    ann.sees(&["10", "ann", "bob"]).await;
    let event = r#"{"event":"client-e","channel":"presence-a","data":1}"#;
    number.browser.send(event).await;
    let expected = r#"{"event":"client-e","channel":"presence-a","data":1,"user_id":"10"}"#;
    assert_eq!(ann.client.browser.receive_text().await, expected);
    number.browser.close().await;
    // One of two connections of a user, and another one that comes back at once.
    tab.client.browser.close().await;
    bob.client.received().await;
    bob.client.browser.close().await;
    let mut bob = Observer::join(&suite, 0, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    bob.sees(&["ann", "bob"]).await;
    bob.client.send("pusher:unsubscribe", json!({"channel": CHANNEL})).await;
    ann.sees(&["ann"]).await;
}

async fn members_of_a_killed_gateway_are_removed_once(threads: usize) {
    let settings = PusherSettings::new("");
    let mut suite = suite(&settings, 2, threads).start().await;
    let mut ann = Observer::join(&suite, 0, "ann").await;
    let _bob = Observer::join(&suite, 1, "bob").await;
    let _eve = Observer::join(&suite, 1, "eve").await;
    ann.sees(&["ann", "bob", "eve"]).await;
    suite.gateways[1].kill();
    ann.sees(&["ann"]).await;
    let mut bob = Observer::join(&suite, 0, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    bob.sees(&["ann", "bob"]).await;
}

async fn members_alternate_at_every_observer_while_workers_are_killed(threads: usize) {
    let settings = PusherSettings::new("");
    let mut suite = suite(&settings, 2, threads).start().await;
    let mut observers =
        vec![Observer::join(&suite, 0, "ann").await, Observer::join(&suite, 1, "bob").await];
    for round in 0..4 {
        let name = format!("guest{round}");
        let guest = Observer::join(&suite, round % 2, &name).await;
        let stays = round % 2 == 0;
        suite.workers[round % 2].restart().await;
        if stays {
            observers.push(guest);
        } else {
            guest.client.browser.close().await;
        }
        for observer in &mut observers {
            observer.observe().await;
        }
    }
    for observer in &mut observers {
        observer.sees(&["ann", "bob", "guest0", "guest2"]).await;
    }
}

async fn subscribers_of_two_gateways_receive_their_number(threads: usize) {
    let settings = PusherSettings::new("subscription_count = true\n");
    let suite = suite(&settings, 2, threads).start().await;
    let mut ann = PusherClient::connect(suite.gateways[0].clients).await;
    let mut bob = PusherClient::connect(suite.gateways[1].clients).await;
    let last = async |client: &mut PusherClient, count: u64| {
        let expected = format!(
            r#"{{"event":"pusher_internal:subscription_count","channel":"a","data":"{{\"subscription_count\":{count}}}"}}"#
        );
        eventually(format!("{count} subscribers"), async || {
            let received = client.received().await;
            received.last().is_some_and(|it| *it == expected).then_some(())
        })
        .await;
    };
    ann.subscribed("a").await;
    last(&mut ann, 1).await;
    bob.subscribed("a").await;
    last(&mut ann, 2).await;
    bob.browser.close().await;
    last(&mut ann, 1).await;
}

async fn watchers_see_users_of_another_gateway_come_and_go(threads: usize) {
    let settings = PusherSettings::new("");
    let suite = suite(&settings, 2, threads).start().await;
    let mut ann = PusherClient::connect(suite.gateways[0].clients).await;
    ann.sign_in(r#"{"id":"ann","watchlist":["bob"]}"#).await;
    let events = |name: &str| {
        format!(
            r#"{{"event":"pusher_internal:watchlist_events","data":"{{\"events\":[{{\"name\":\"{name}\",\"user_ids\":[\"bob\"]}}]}}"}}"#
        )
    };
    assert_eq!(ann.browser.receive_text().await, events("offline"));
    let mut bob = PusherClient::connect(suite.gateways[1].clients).await;
    bob.sign_in(r#"{"id":"bob"}"#).await;
    assert_eq!(ann.browser.receive_text().await, events("online"));
    bob.browser.close().await;
    assert_eq!(ann.browser.receive_text().await, events("offline"));
}
