//! Cases of the Pusher protocol that no suite of another project has, and complaints of users of
//! other servers: the table says which test has which. Those that have no better place are here.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::HashSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use suite_tests::{
    Browser, PusherClient, PusherSettings, Received, eventually, on_one_and_three_threads,
    process::{Process, Signal},
    pusher_http::PusherSuite,
    with_timeout,
};
use tokio::task::JoinSet;

on_one_and_three_threads!(
    every_event_of_members_and_users_has_exact_bytes,
    connection_without_subscription_is_closed_when_it_answers_no_ping,
    request_without_credentials_is_refused_and_the_next_one_served,
);

/// Each case with its test: a file below the root, and a part of it, mostly the name of a test.
const CASES: &[(&str, &str, &str)] = &[
    // Cases of the protocol.
    ("reactions of pusher-js", "tests/pusher/clients/reactions.test.mjs", "4201, and pusher-js"),
    ("malformed frames", "tests/tests/pusher_hostile.rs", "const MALFORMED: [&str; 20]"),
    ("malformed messages", CLIENT_MESSAGES, "malformed_message_is_a_fault_that_says_what_is_wrong"),
    ("bytes of events", "crates/pusher/src/server_message.rs", "messages_have_exact_bytes"),
    ("bytes of a subscription", CHANNELS, "messages_of_a_subscription_have_exact_bytes"),
    ("bytes of a connection", CONNECTIONS, "refusals_are_close_codes_behind_the_response"),
    ("bytes of members and users", HERE, "every_event_of_members_and_users_has_exact_bytes"),
    ("vectors of signatures", "crates/pusher/src/signature.rs", "58df8b0c36d6982b82c3ecf6b4662e34"),
    ("vectors of requests", SIGNATURES, "documented_signature_is_valid"),
    ("window of a signature", SIGNATURES, "signature_expires_ten_minutes_before_and_after"),
    ("replay of a request", HTTP, "hostile_requests_are_refused_with_their_reason"),
    ("replay of a subscription", CHANNELS, "messages_of_a_subscription_have_exact_bytes"),
    ("empty objects", HTTP, "channels_are_those_of_both_gateways"),
    ("100 and 101 channels", HTTP, "many(101)"),
    ("10 and 11 events", HTTP, "vec![event(\"d\"); 11]"),
    ("10,240 and 10,241 bytes", HTTP, "\"é\".repeat(5_120) + \"x\""),
    ("channel of another user", CHANNELS, "channel_of_a_user_is_for_that_user_only"),
    ("user_id as a number", PRESENCE, "members_of_two_gateways_see_each_other_once"),
    ("a user on two gateways", PRESENCE, "members_of_two_gateways_see_each_other_once"),
    ("2,000 clients of a drain", HERE, "drain_of_2000_clients_is_spread_in_random_order"),
    // Complaints.
    ("memory grows", HERE, "memory_stays_as_it_is_while_clients_come_and_go"),
    ("1,024 descriptors", "tests/tests/descriptors.rs", "#[tokio::test]"),
    ("over 10 KB without a word", HTTP_API, "sizes_beyond_a_limit_are_refused_by_name"),
    ("presence of several nodes", PRESENCE, "members_of_a_killed_gateway_are_removed_once"),
    ("no webhooks", WEBHOOKS, "client_event_and_cache_miss_reach_the_receiver_again"),
    ("connections that never subscribe", HERE, "connection_without_subscription_is_closed"),
    ("whispers of others", CHANNELS, "client_event_crosses_gateways_and_spares_its_sender"),
    ("path prefix of a proxy", PREFIX, "request_is_answered_below_a_prefix_of_any_usual_depth"),
    ("request without credentials", HERE, "request_without_credentials_is_refused"),
    ("terminate does nothing", HTTP, "terminated_user_is_closed_on_both_gateways"),
    ("terminate misses members", HTTP_PRESENCE, "terminated_user_loses_its_presence_channels"),
    ("webhooks are not sent again", WEBHOOKS, "client_event_and_cache_miss_reach_the_receiver"),
    ("member_removed is wrong", HTTP_PRESENCE, "reach_the_receiver_once_and_in_order"),
    ("freezes at 3,000 connections", HERE, "drain_of_2000_clients_is_spread_in_random_order"),
    ("no watchlist", PRESENCE, "watchers_see_users_of_another_gateway_come_and_go"),
    ("no subscription_count", PRESENCE, "subscribers_of_two_gateways_receive_their_number"),
    ("sign-in needs a flag", CHANNELS, "channel_of_a_user_is_for_that_user_only"),
    ("unauthorized clients stay", WORKER, "connection_that_is_not_authorized_in_time_is_closed"),
    ("settings without a reference", "tests/tests/settings_doc.rs", "#[test]"),
    ("events lost in a reconnect", CHANNELS, "last_event_of_a_cache_channel_reaches_new_subscrib"),
];

const HERE: &str = "tests/tests/pusher_cases.rs";
const CHANNELS: &str = "tests/tests/pusher_channels.rs";
const CONNECTIONS: &str = "tests/tests/pusher_connections.rs";
const HTTP: &str = "tests/tests/pusher_http.rs";
const HTTP_PRESENCE: &str = "tests/tests/pusher_http_presence.rs";
const PRESENCE: &str = "tests/tests/pusher_presence.rs";
const WEBHOOKS: &str = "tests/tests/pusher_webhooks.rs";
const CLIENT_MESSAGES: &str = "crates/pusher/src/client_message/tests.rs";
const SIGNATURES: &str = "crates/pusher/src/http/request_signature/tests.rs";
const HTTP_API: &str = "crates/pusher/src/http/tests.rs";
const PREFIX: &str = "crates/pusher/src/http/tests/prefix.rs";
const WORKER: &str = "crates/pusher/src/worker/tests/connections.rs";

#[test]
fn each_case_of_the_table_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (case, file, part) in CASES {
        let text = fs::read_to_string(root.join(file)).unwrap();
        // The table is part of this file.
        let times = text.matches(part).count();
        assert!(usize::from(*file == HERE) < times, "{case}: {file} has no {part:?}");
    }
    let cases: HashSet<&str> = CASES.iter().map(|(case, ..)| *case).collect();
    assert_eq!(cases.len(), CASES.len());
}

async fn every_event_of_members_and_users_has_exact_bytes(threads: usize) {
    let settings = PusherSettings::new("");
    let suite = settings.suite(1).worker_flag("--presence-grace", "0").threads(threads);
    let suite = suite.start().await;
    let mut ann = PusherClient::connect(suite.gateways[0].clients).await;
    let join = async |client: &mut PusherClient, data: &str| {
        let text = pusher::signature::channel_text(&client.socket_id, "presence-a", Some(data));
        let auth = suite_tests::pusher_client::key().auth(&text);
        let data = json!({"channel": "presence-a", "auth": auth, "channel_data": data});
        client.send("pusher:subscribe", data).await;
        client.browser.receive_text().await
    };
    let succeeded = r#"{"event":"pusher_internal:subscription_succeeded","channel":"presence-a","data":"{\"presence\":{\"count\":1,\"ids\":[\"7\"],\"hash\":{\"7\":{\"name\":\"Ann\"}}}}"}"#;
    assert_eq!(join(&mut ann, r#"{"user_id":7,"user_info":{"name":"Ann"}}"#).await, succeeded);
    // A member without information, and a second connection of the first one.
    let mut bob = PusherClient::connect(suite.gateways[1].clients).await;
    let both: Value = serde_json::from_str(&join(&mut bob, r#"{"user_id":"bob"}"#).await).unwrap();
    let presence = suite_tests::pusher_client::parse_data(&both);
    let expected = json!({"presence": {"count": 2, "ids": ["7", "bob"],
        "hash": {"7": {"name": "Ann"}, "bob": null}}});
    assert_eq!(presence, expected);
    let added = r#"{"event":"pusher_internal:member_added","channel":"presence-a","data":"{\"user_id\":\"bob\",\"user_info\":null}"}"#;
    assert_eq!(ann.browser.receive_text().await, added);
    bob.browser.send(r#"{"event":"client-e","channel":"presence-a","data":"x"}"#).await;
    let event = r#"{"event":"client-e","channel":"presence-a","data":"x","user_id":"bob"}"#;
    assert_eq!(ann.browser.receive_text().await, event);
    bob.send("pusher:unsubscribe", json!({"channel": "presence-a"})).await;
    let removed = r#"{"event":"pusher_internal:member_removed","channel":"presence-a","data":"{\"user_id\":\"bob\"}"}"#;
    assert_eq!(ann.browser.receive_text().await, removed);

    let user_data = r#"{"id":"ann"}"#;
    let text = pusher::signature::user_text(&ann.socket_id, user_data);
    let auth = suite_tests::pusher_client::key().auth(&text);
    ann.send("pusher:signin", json!({"auth": auth, "user_data": user_data})).await;
    let success = r#"{"event":"pusher:signin_success","data":"{\"user_data\":\"{\\\"id\\\":\\\"ann\\\"}\"}"}"#;
    assert_eq!(ann.browser.receive_text().await, success);
    let large =
        format!(r#"{{"event":"client-e","channel":"presence-a","data":"{}"}}"#, "é".repeat(5_121));
    ann.browser.send(large).await;
    let error = ann.browser.receive_text().await;
    let begin = r#"{"event":"pusher:error","data":{"code":4301,"message":""#;
    assert!(error.starts_with(begin) && error.ends_with(r#""}}"#), "{error}");
}

async fn connection_without_subscription_is_closed_when_it_answers_no_ping(threads: usize) {
    let settings = PusherSettings::new("");
    let suite = settings.suite(1).gateways(1).threads(threads);
    let suite = suite
        .gateway_flag("--websocket-ping", "2")
        .gateway_flag("--websocket-pong-timeout", "4")
        .start()
        .await;
    let gateway = suite.gateways[0].clients;
    // Its socket is not read, so nothing answers the pings.
    let mut silent = PusherClient::connect(gateway).await;
    let mut other = PusherClient::connect(gateway).await;
    eventually("the silent client to be closed", async || {
        other.ping().await;
        let closed = r#"pushsuite_gateway_clients_closed_total{reason="timeout"}"#;
        suite.gateways[0].metric(closed).await.filter(|closed| *closed == 1.0)
    })
    .await;
    assert_eq!(silent.browser.closed().await, Some(4201));
    other.subscribed("a").await;
}

async fn request_without_credentials_is_refused_and_the_next_one_served(threads: usize) {
    let scene = PusherSuite::start(threads, 1, "").await;
    let mut api = scene.api(0).await;
    for query in ["", "?", "?auth_key", "?auth_key=k1", "?auth_signature=", "?auth_version=1.0&x"] {
        let request = format!("GET /apps/1/channels{query} HTTP/1.1\r\nHost: a\r\n\r\n");
        api.write(request.as_bytes()).await;
        let (status, _, text) = with_timeout("an answer", api.answer()).await.unwrap();
        assert_eq!(status, 401, "{query} {text}");
        assert!(text.contains("auth_"), "{query} {text}");
    }
    assert_eq!(api.get("channels").await, (200, r#"{"channels":{}}"#.to_owned()));
}

#[tokio::test]
async fn drain_of_2000_clients_is_spread_in_random_order() {
    const CLIENTS: usize = 2000;
    let settings = PusherSettings::new("");
    let mut suite = settings.suite(1).gateways(1).threads(2).start().await;
    let gateway = suite.gateways[0].clients;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS / 100 {
        let mut connecting = JoinSet::new();
        for _ in 0..100 {
            connecting.spawn(PusherClient::connect(gateway));
        }
        clients.extend(connecting.join_all().await);
    }
    suite.gateways[0].signal(Signal::Term);
    let start = Instant::now();
    let mut closing = JoinSet::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        closing.spawn(async move {
            let code = client.browser.closed().await;
            (number, code, start.elapsed())
        });
    }
    let mut order = Vec::new();
    let mut times = Vec::new();
    while let Some(closed) = closing.join_next().await {
        let (number, code, time) = closed.unwrap();
        assert_eq!(code, Some(4200), "client {number}");
        order.push(number);
        times.push(time);
    }
    // 1,000 clients a second: never faster, so that not all come back at once.
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(*last - *first > Duration::from_millis(500), "all within {:?}", *last - *first);
    // In no order that clients could know: half of the neighbours are in the order of connection.
    let ascending = order.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!((CLIENTS / 4..CLIENTS * 3 / 4).contains(&ascending), "{ascending} in order");
    assert_eq!(suite.gateways[0].wait_exit().await.code(), Some(0));
}

/// Clients that connect, sign in, subscribe to channels of their own, and close.
async fn churn(suite: &suite_tests::Suite, round: usize) {
    const CLIENTS: usize = 100;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let gateway = suite.gateways[0].clients;
        clients.spawn(async move {
            let mut client = PusherClient::connect(gateway).await;
            let name = format!("{round}-{number}");
            client.sign_in(&json!({"id": name}).to_string()).await;
            client.subscribed(&format!("private-{name}")).await;
            let data = json!({"user_id": name, "user_info": {"text": "x".repeat(500)}});
            client.join(&format!("presence-{name}"), &data.to_string()).await;
            client.browser.send("not JSON").await;
            let Received::Text(_) = client.browser.receive().await else { panic!("no error") };
            Browser::close(client.browser).await;
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn memory_stays_as_it_is_while_clients_come_and_go() {
    const FIRST: usize = 20;
    const ALL: usize = 60;
    // Room for the allocator, and for what the worker has not settled yet: half a kilobyte of each
    // client would be twice the first, three kilobytes more than the second.
    const MOST: [usize; 2] = [1 << 20, 8 << 20];
    let settings = PusherSettings::new("");
    let suite = settings.suite(1).worker_flag("--presence-grace", "0").gateways(1).threads(1);
    let suite = suite.logs("warn").start().await;
    // Tables have grown to their size after some rounds.
    for round in 0..FIRST {
        churn(&suite, round).await;
    }
    let processes: [&Process; 2] = [&suite.gateways[0], &suite.workers[0]];
    let before: Vec<usize> = processes.iter().map(|process| process.anonymous()).collect();
    for round in FIRST..ALL {
        churn(&suite, round).await;
    }
    for (process, most) in processes.iter().zip(before.iter().zip(MOST).map(|(a, b)| a + b)) {
        let what = format!("{} to have no more than {most} bytes", process.name);
        eventually(what, async || (process.anonymous() <= most).then_some(())).await;
    }
}
