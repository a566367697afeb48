//! The HTTP API of `--app pusher` over real sockets: what it answers, and what clients receive.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use pusher::signature::Key;
use serde_json::{Value, json};
use suite_tests::{
    Browser, Received, eventually, on_one_and_three_threads,
    pusher_http::{PusherApi, PusherSuite, event},
    with_timeout,
};

on_one_and_three_threads!(
    event_reaches_subscribers_of_both_gateways_except_the_excluded_client,
    channels_are_those_of_both_gateways,
    terminated_user_is_closed_on_both_gateways,
    hostile_requests_are_refused_with_their_reason,
);

fn message(event: &str, channel: &str, data: &str) -> String {
    format!(
        r#"{{"event":{},"channel":{},"data":{}}}"#,
        Value::from(event),
        Value::from(channel),
        Value::from(data)
    )
}

async fn expect(api: &mut PusherApi, path: &str, body: &Value, answer: &str) {
    assert_eq!(api.post(path, body).await, (200, answer.to_owned()), "{path} {body}");
}

async fn expect_get(api: &mut PusherApi, path: &str, answer: &str) {
    assert_eq!(api.get(path).await, (200, answer.to_owned()), "{path}");
}

async fn event_reaches_subscribers_of_both_gateways_except_the_excluded_client(threads: usize) {
    let scene = PusherSuite::start(threads, 2, "").await;
    let (mut one, _) = scene.subscriber(0, &["private-a", "b"]).await;
    let (mut two, excluded) = scene.subscriber(1, &["b"]).await;
    let mut api = scene.api(0).await;
    let body = json!({"name": "e", "data": "{\"x\":1}", "channels": ["private-a", "b", "b"]});
    expect(&mut api, "events", &body, "{}").await;
    // Published by one worker, for clients of any: each channel once.
    let body = json!({"name": "f", "data": "é", "channel": "b", "socket_id": excluded});
    expect(&mut scene.api(1).await, "events", &body, "{}").await;
    let batch: Vec<Value> =
        (0..10).map(|at| json!({"name": "g", "data": at.to_string(), "channel": "b"})).collect();
    expect(&mut api, "batch_events", &json!({"batch": batch}), "{}").await;
    let sent = api.post("channels/b/events?name=old", &json!({"y": 2})).await;
    assert_eq!(sent, (202, "{}".to_owned()));
    assert_eq!(one.receive_text().await, message("e", "private-a", "{\"x\":1}"));
    for (browser, is_excluded) in [(&mut one, false), (&mut two, true)] {
        assert_eq!(browser.receive_text().await, message("e", "b", "{\"x\":1}"));
        if !is_excluded {
            assert_eq!(browser.receive_text().await, message("f", "b", "é"));
        }
        for at in 0..10 {
            assert_eq!(browser.receive_text().await, message("g", "b", &at.to_string()));
        }
        assert_eq!(browser.receive_text().await, message("old", "b", "{\"y\":2}"));
    }
    let info = json!({"name": "e", "data": "", "channels": ["b", "c"],
        "info": "subscription_count,user_count"});
    let answer = r#"{"channels":{"b":{"subscription_count":2},"c":{"subscription_count":0}}}"#;
    expect(&mut api, "events", &info, answer).await;
}

async fn channels_are_those_of_both_gateways(threads: usize) {
    let scene = PusherSuite::start(threads, 1, "").await;
    let mut api = scene.api(0).await;
    expect_get(&mut api, "channels", r#"{"channels":{}}"#).await;
    expect_get(&mut api, "/up", r#"{"health":"OK"}"#).await;
    let _one = scene.subscriber(0, &["a", "@ann"]).await;
    let _two = scene.subscriber(1, &["private-b", "a"]).await;
    expect_get(&mut api, "connections", r#"{"connections":2}"#).await;
    let all = r#"{"channels":{"a":{},"private-b":{}}}"#;
    expect_get(&mut api, "channels", all).await;
    let filtered = r#"{"channels":{"private-b":{"subscription_count":1}}}"#;
    let path = "channels?filter_by_prefix=private-&info=subscription_count";
    expect_get(&mut api, path, filtered).await;
    let shown = r#"{"occupied":true,"subscription_count":2}"#;
    expect_get(&mut api, "channels/a?info=subscription_count", shown).await;
    expect_get(&mut api, "/proxied/apps/1/channels/none", r#"{"occupied":false}"#).await;
    for path in ["channels/a/users", "channels/a?info=user_count", "channels?info=user_count"] {
        assert_eq!(api.get(path).await.0, 400, "{path}");
    }
}

async fn terminated_user_is_closed_on_both_gateways(threads: usize) {
    let scene = PusherSuite::start(threads, 1, "").await;
    let (mut one, _) = scene.subscriber(0, &["@ann"]).await;
    let (mut two, _) = scene.subscriber(1, &["@ann"]).await;
    let (mut other, _) = scene.subscriber(1, &["@bob", "a"]).await;
    let mut api = scene.api(0).await;
    expect(&mut api, "users/ann/terminate_connections", &json!({}), "{}").await;
    for browser in [&mut one, &mut two] {
        assert_eq!(eventually_closed(browser).await, Some(4009));
    }
    expect(&mut api, "events", &json!({"name": "e", "data": "", "channel": "a"}), "{}").await;
    event(&mut other, "e").await;
    // As Python's SDK calls it.
    expect(&mut api, "/users/bob/terminate_connections", &json!({}), "{}").await;
    assert_eq!(eventually_closed(&mut other).await, Some(4009));
}

/// The close code of a client, behind other messages.
async fn eventually_closed(browser: &mut Browser) -> Option<u16> {
    loop {
        if let Received::Closed(code) = browser.receive().await {
            return code;
        }
    }
}

async fn hostile_requests_are_refused_with_their_reason(threads: usize) {
    let scene = PusherSuite::start(threads, 1, "").await;
    let (mut subscriber, _) = scene.subscriber(0, &["a"]).await;
    let fine = json!({"name": "e", "data": "refused", "channel": "a"});
    let refused = async |change: &dyn Fn(&mut PusherApi), status, part: &str| {
        let mut api = scene.api(0).await;
        change(&mut api);
        let (found, text) = api.post("events", &fine).await;
        assert!((found, text.contains(part)) == (status, true), "{found} {text}");
    };
    refused(&|api| api.clock_offset = -602, 401, "Timestamp expired").await;
    refused(&|api| api.clock_offset = 610, 401, "Timestamp expired").await;
    refused(&|api| api.key = Key::new("k1", "guess"), 401, "Invalid signature").await;
    refused(&|api| api.key = Key::new("other", "s1"), 401, "no key of this app").await;
    refused(&|api| api.app = "2", 404, "no app").await;
    let mut api = scene.api(0).await;
    let request = api.request("POST", "events", fine.to_string().as_bytes());
    let other = String::from_utf8(request).unwrap().replace("refused", "another");
    api.write(other.as_bytes()).await;
    let (status, _, text) = with_timeout("an answer", api.answer()).await.unwrap();
    assert_eq!((status, &text[..]), (401, "body_md5 is not the MD5 of the body"));
    let many = |count: usize| (0..count).map(|at| format!("c{at}")).collect::<Vec<_>>();
    let event = |data: &str| json!({"name": "e", "data": data, "channel": "b"});
    for (path, body, status) in [
        ("events", event(&"x".repeat(10_240)), 200),
        ("events", event(&"é".repeat(5_120)), 200),
        ("events", event(&"x".repeat(10_241)), 413),
        ("events", event(&("é".repeat(5_120) + "x")), 413),
        ("events", event(&"x".repeat(1_000_000)), 413),
        ("events", json!({"name": "e", "data": "", "channels": many(100)}), 200),
        ("events", json!({"name": "e", "data": "", "channels": many(101)}), 400),
        ("events", json!({"name": "e", "data": "", "channels": []}), 400),
        ("events", json!({"name": "x".repeat(201), "data": "", "channel": "b"}), 400),
        ("events", json!({"name": "pusher:error", "data": "", "channel": "a"}), 400),
        ("events", json!({"name": "e", "data": "", "channel": "a\r\nb"}), 400),
        ("events", json!({"name": "e", "data": "", "channel": "x".repeat(165)}), 400),
        ("events", json!({"name": "e", "data": "", "channel": "#all"}), 400),
        ("events", json!({"name": "e", "data": "", "channel": "a", "socket_id": "a.b"}), 400),
        ("events", json!([1]), 400),
        ("events", json!({"name": "e", "data": "", "channels": "x\n".repeat(50_000)}), 400),
        ("batch_events", json!({"batch": vec![event("d"); 10]}), 200),
        ("batch_events", json!({"batch": vec![event("d"); 11]}), 400),
        ("events/", event("d"), 404),
        ("nothing", event("d"), 404),
        ("channels", event("d"), 405),
    ] {
        let mut api = scene.api(0).await;
        let (found, text) = api.post(path, &body).await;
        assert_eq!(found, status, "{path} {text}");
        assert!(!text.contains('\n') && text.len() < 2_000, "{text}");
    }
    for body in [&b"{"[..], b"\xff", b"{\"name\":", &b"[".repeat(100_000)] {
        let sent = scene.api(0).await.try_send("POST", "events", body).await.unwrap();
        assert_eq!((sent.0, sent.1.contains("not the expected JSON")), (400, true), "{}", sent.1);
    }
    let last = json!({"name": "last", "data": "", "channel": "a"});
    expect(&mut scene.api(0).await, "events", &last, "{}").await;
    assert_eq!(subscriber.receive_text().await, message("last", "a", ""));
}

#[tokio::test]
async fn pipelined_requests_are_executed_and_answered_in_order() {
    let scene = PusherSuite::start(1, 1, "").await;
    let (mut subscriber, _) = scene.subscriber(0, &["a"]).await;
    let mut api = scene.api(0).await;
    let requests: Vec<u8> = (0..50)
        .flat_map(|at| {
            let body = json!({"name": "e", "data": at.to_string(), "channel": "a"});
            api.request("POST", "events", body.to_string().as_bytes())
        })
        .collect();
    api.write(&requests).await;
    for at in 0..50 {
        let (status, ..) = with_timeout("an answer", api.answer()).await.unwrap();
        assert_eq!(status, 200);
        assert_eq!(subscriber.receive_text().await, message("e", "a", &at.to_string()));
    }
}

#[tokio::test]
async fn app_that_floods_is_refused_and_others_are_served() {
    let more =
        "[[pusher.app]]\nid = '2'\nkey = 'flood'\nsecret = 's'\nhttp_requests_per_second = 5";
    let scene = PusherSuite::start(1, 1, more).await;
    let mut flood = scene.api(0).await;
    (flood.app, flood.key) = ("2", Key::new("flood", "s"));
    let mut statuses = Vec::new();
    for _ in 0..100 {
        let request = flood.request("GET", "channels", b"");
        flood.write(&request).await;
        let (status, head, _) = with_timeout("an answer", flood.answer()).await.unwrap();
        assert_eq!(head.contains("retry-after: "), status == 429, "{head}");
        statuses.push(status);
    }
    assert!(statuses.starts_with(&[200]) && statuses.contains(&429), "{statuses:?}");
    expect_get(&mut scene.api(0).await, "channels", r#"{"channels":{}}"#).await;
    let metric = r#"pushsuite_pusher_http_requests_total{endpoint="channels",status="429"}"#;
    let refused = statuses.iter().filter(|status| **status == 429).count();
    let counted = eventually("the count", async || scene.workers[0].metric(metric).await).await;
    assert_eq!(counted as usize, refused);
}

#[tokio::test]
async fn event_is_accepted_while_a_gateway_is_gone() {
    let mut scene = PusherSuite::start(1, 1, "").await;
    let mut api = scene.api(0).await;
    let body = json!({"name": "e", "data": "", "channel": "a"});
    expect(&mut api, "events", &body, "{}").await;
    scene.suite.gateways[0].kill();
    // The other gateway has it; the one that is gone has no clients any more.
    expect(&mut api, "events", &body, "{}").await;
}
