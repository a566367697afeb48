//! The push API: every path over real sockets, on two gateways. Each answer is checked against the
//! OpenAPI document.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use suite_tests::{
    HttpRequest, PushApi, Raw, Received, Scene, Suite, eventually, on_one_and_three_threads,
    push_api::{ADMIN, MANAGE, PUSH, READ, ROOMS},
};

on_one_and_three_threads!(
    send_reaches_all_clients_uids_and_groups,
    message_keeps_its_kind_and_bytes,
    client_is_shown_changed_and_closed,
    client_that_does_not_read_is_shown_with_its_queue,
    session_is_replaced_merged_compared_and_removed,
    uid_and_its_clients_are_shown_and_closed,
    group_is_joined_listed_left_and_removed,
    batch_runs_in_order_with_a_result_each,
    key_with_a_prefix_is_restricted_to_its_groups,
);

/// Two gateways with two clients each, and the API.
async fn start(threads: usize) -> (Scene, PushApi) {
    let scene = Scene::start(threads).await;
    let api = PushApi::start(&scene.suite).await;
    (scene, api)
}

/// Starts them, and names the clients: ann has two, on both gateways, bob one; two are in a group.
async fn start_named(threads: usize) -> (Scene, PushApi) {
    let (scene, api) = start(threads).await;
    for (at, uid) in [(0, "ann"), (1, "ann"), (2, "bob")] {
        let target = format!("/v1/clients/{}/uid/{uid}", scene.ids[at]);
        assert_eq!(api.call(MANAGE, "PUT", &target).await.status, 204);
    }
    for at in [2, 3] {
        let target = format!("/v1/groups/room%3A1/clients/{}", scene.ids[at]);
        assert_eq!(api.call(MANAGE, "PUT", &target).await.status, 204);
    }
    (scene, api)
}

fn delivery(delivered: u64, matched: u64) -> Value {
    json!({"delivered": delivered, "matched": matched, "dropped": 0, "unreachable": []})
}

async fn send_reaches_all_clients_uids_and_groups(threads: usize) {
    let (mut scene, api) = start_named(threads).await;
    let [a, b, c, _] = scene.ids;
    let cases = [
        (json!({"to": {"all": true}, "text": "1"}), 4),
        (
            json!({"to": {"all": true}, "exclude": {"clients": [a], "uids": ["bob"]}, "text": "2"}),
            2,
        ),
        (json!({"to": {"clients": [a, b, a]}, "text": "3"}), 3),
        (json!({"to": {"clients": [a, b]}, "exclude": {"clients": [a]}, "text": "4"}), 1),
        (json!({"to": {"uids": ["ann", "none", "bob"]}, "text": "5"}), 3),
        (json!({"to": {"uids": ["ann"]}, "exclude": {"clients": [b]}, "text": "6"}), 1),
        (json!({"to": {"groups": ["room:1", "none"]}, "text": "7"}), 2),
        (json!({"to": {"groups": ["room:1"]}, "exclude": {"clients": [c]}, "text": "8"}), 1),
        (json!({"to": {"groups": ["room:1"]}, "exclude": {"uids": ["bob"]}, "text": "9"}), 1),
        (json!({"to": {"groups": []}, "text": "no"}), 0),
    ];
    for (body, count) in cases {
        let answer = api.push(&body).await;
        assert_eq!((answer.status, answer.body), (200, delivery(count, count)), "{body}");
    }
    let accepted = json!({"to": {"all": true}, "text": "10", "wait": "accepted"});
    let answer = api.push(&accepted).await;
    assert_eq!((answer.status, answer.body), (202, json!({"accepted": true})));
    api.push(&json!({"to": {"all": true}, "text": "end"})).await;
    let mut received = Vec::new();
    for client in 0..4 {
        received.push(scene.received_until(client, "end").await.join(" "));
    }
    assert_eq!(received, ["1 3 3 5 6 10", "1 2 3 4 5 10", "1 5 7 10", "1 2 7 8 9 10"]);
    assert_eq!(api.process.metric("pushsuite_http_delivered_total").await, Some(22.0));
    api.check_log();
}

async fn message_keeps_its_kind_and_bytes(threads: usize) {
    let (mut scene, api) = start(threads).await;
    let to = json!({"clients": [scene.ids[0]]});
    let text = |text: &str| Received::Text(text.to_owned());
    let binary = |bytes: &'static [u8]| Received::Binary(bytes.into());
    let cases = [
        (json!({"data": {"b": 1, "a": [null, "ä"]}}), text("{\"b\":1,\"a\":[null,\"ä\"]}")),
        (json!({"data": null}), text("null")),
        (json!({"text": "", "uncompressed": true}), text("")),
        (json!({"text": "hi", "binary": true}), binary(b"hi")),
        (json!({"base64": "/wA="}), binary(&[0xff, 0])),
        (json!({"base64": "aGk=", "binary": false}), text("hi")),
    ];
    for (mut body, expected) in cases {
        body["to"] = to.clone();
        assert_eq!(api.push(&body).await.body, delivery(1, 1));
        assert_eq!(scene.browsers[0].receive().await, expected, "{body}");
    }
}

async fn client_is_shown_changed_and_closed(threads: usize) {
    let (mut scene, api) = start_named(threads).await;
    let [a, _, c, d] = scene.ids;
    let shown = api.call(READ, "GET", &format!("/v1/clients/{c}")).await.body;
    let details = scene.cluster.inspect_client(c).await.unwrap().unwrap();
    let expected = json!({
        "id": c, "uid": "bob", "groups": ["room:1"], "session": {},
        "connected_at": details.connected_at / 1000, "queue_bytes": 0,
        "remote": scene.browsers[2].addr(),
    });
    assert_eq!(shown, expected);
    let listed = api.call(READ, "GET", "/v1/clients?fields=uid").await.body;
    let names: Vec<_> = listed["items"][0].as_object().unwrap().keys().collect();
    assert_eq!(names, ["id", "uid"], "lists have no connections");
    let anonymous = api.call(READ, "GET", &format!("/v1/clients/{d}")).await.body;
    assert_eq!(anonymous["uid"], Value::Null);

    // Another uid is not removed by accident.
    let differs = api.call(MANAGE, "DELETE", &format!("/v1/clients/{c}/uid/ann")).await;
    assert_eq!((differs.status, differs.code()), (409, "uid_differs"));
    assert_eq!(api.call(MANAGE, "DELETE", &format!("/v1/clients/{c}/uid/bob")).await.status, 204);
    assert_eq!(api.call(MANAGE, "DELETE", &format!("/v1/clients/{a}/uid")).await.status, 204);
    let uids = api.call(READ, "GET", "/v1/uids").await.body;
    assert_eq!(uids, json!({"items": [{"uid": "ann", "clients": 1}], "next": null}));

    let mut seen = Vec::new();
    let mut target = "/v1/clients?limit=3&fields=".to_owned();
    loop {
        let page = api.call(READ, "GET", &target).await.body;
        seen.extend(page["items"].as_array().unwrap().iter().map(|it| it["id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        target = format!("/v1/clients?limit=3&fields=&after={next}");
    }
    let mut ids: Vec<_> = scene.ids.iter().map(|id| json!(id)).collect();
    ids.sort_by_key(ToString::to_string);
    assert_eq!(seen, ids);
    let counts = api.call(READ, "GET", "/v1/counts").await.body;
    assert_eq!(counts, json!({"clients": 4, "uids": 1}));

    let target = format!("/v1/clients/{a}?code=4001&reason=bye%20now");
    let last = json!({"text": "last"});
    assert_eq!(api.call_with(MANAGE, "DELETE", &target, &last).await.status, 204);
    assert_eq!(scene.browsers[0].receive_text().await, "last");
    assert_eq!(scene.browsers[0].receive().await, Received::Closed(Some(4001)));
    assert_eq!(api.call(MANAGE, "DELETE", &format!("/v1/clients/{d}?now=true")).await.status, 204);
    assert!(matches!(scene.browsers[3].receive().await, Received::Closed(_)));
    for (method, end) in [("GET", ""), ("DELETE", ""), ("GET", "/session"), ("PUT", "/uid/x")] {
        let gone = api.call(ADMIN, method, &format!("/v1/clients/{a}{end}")).await;
        assert_eq!((gone.status, gone.code()), (404, "client_not_found"), "{method} {end}");
        // The same of a gateway that never existed.
        let target = format!("/v1/clients/7f0000010001000000{}{end}", "07");
        let unknown = api.call(ADMIN, method, &target).await;
        assert_eq!((unknown.status, unknown.code()), (404, "client_not_found"), "{method} {end}");
    }
}

async fn session_is_replaced_merged_compared_and_removed(threads: usize) {
    let (scene, api) = start(threads).await;
    let target = format!("/v1/clients/{}/session", scene.ids[1]);
    let session = async || api.call(READ, "GET", &target).await.body;
    assert_eq!(session().await, json!({}));
    let change = async |method: &str, body: Value| {
        api.call_with(MANAGE, method, &target, &body).await.status
    };
    assert_eq!(change("PUT", json!({"a": {"b": 1}, "c": 2})).await, 204);
    assert_eq!(change("PATCH", json!({"a": {"d": 3}})).await, 204);
    assert_eq!(session().await, json!({"a": {"b": 1, "d": 3}, "c": 2}));
    let swap = json!({"expected": {"a": 1}, "session": {"x": 1}});
    let other = api.call_with(MANAGE, "POST", &target, &swap).await;
    assert_eq!((other.status, other.code()), (409, "session_changed"));
    let current = other.body["error"]["details"]["session"].clone();
    assert_eq!(current, session().await);
    let swap = json!({"expected": current, "session": {"x": 1, "y": 2, "z": 3}});
    assert_eq!(api.call_with(MANAGE, "POST", &target, &swap).await.status, 204);
    let keys = api.call(MANAGE, "DELETE", &format!("{target}?key=x&key=none&key=z")).await;
    assert_eq!(keys.status, 204);
    assert_eq!(session().await, json!({"y": 2}));
    assert_eq!(change("PUT", json!([1])).await, 400);
    assert_eq!(api.call(MANAGE, "DELETE", &target).await.status, 400, "no keys");
    assert_eq!(session().await, json!({"y": 2}));
}

async fn uid_and_its_clients_are_shown_and_closed(threads: usize) {
    let (mut scene, api) = start_named(threads).await;
    let [a, b, c, d] = scene.ids;
    let mut ann = [json!(a), json!(b)];
    ann.sort_by_key(ToString::to_string);
    let shown = api.call(READ, "GET", "/v1/uids/ann").await.body;
    assert_eq!(shown, json!({"online": true, "count": 2, "clients": ann}));
    let offline = api.call(READ, "GET", "/v1/uids/none").await.body;
    assert_eq!(offline, json!({"online": false, "count": 0, "clients": []}));
    let asked = json!({"clients": [a, "7f00000100010000000a"], "uids": ["ann", "none"],
        "groups": ["room:1", "none", "room:1"]});
    let online = api.call_with(READ, "POST", "/v1/online", &asked).await.body;
    assert_eq!(online, json!({"clients": [true, false], "uids": [2, 0], "groups": [2, 0, 2]}));

    // Names are bytes: any of them can stand in a path, and comes back in JSON.
    let bytes = format!("/v1/clients/{d}/uid/%FF%00%2F%25");
    assert_eq!(api.call(MANAGE, "PUT", &bytes).await.status, 204);
    let page = api.call(READ, "GET", "/v1/uids").await.body;
    let uids: Vec<_> = page["items"].as_array().unwrap().iter().map(|it| &it["uid"]).collect();
    assert_eq!(uids, [&json!("ann"), &json!("bob"), &json!({"base64": "/wAvJQ=="})]);
    assert_eq!(api.call(READ, "GET", "/v1/uids/%FF%00%2F%25").await.body["count"], 1);
    let send = json!({"to": {"uids": [{"base64": "/wAvJQ=="}]}, "text": "bytes"});
    assert_eq!(api.push(&send).await.body, delivery(1, 1));
    scene.received_until(3, "bytes").await;

    let target = format!("/v1/uids/ann/clients?code=4003&except={a}");
    let closed = api.call_with(MANAGE, "DELETE", &target, &json!({"data": [1]})).await.body;
    assert_eq!(closed, json!({"closed": 1, "unreachable": []}));
    assert_eq!(scene.browsers[1].receive_text().await, "[1]");
    assert_eq!(scene.browsers[1].receive().await, Received::Closed(Some(4003)));
    assert_eq!(api.call(READ, "GET", "/v1/uids/ann").await.body["clients"], json!([a]));
    assert_eq!(api.call(READ, "GET", &format!("/v1/clients/{c}")).await.status, 200);
}

async fn group_is_joined_listed_left_and_removed(threads: usize) {
    let (scene, api) = start_named(threads).await;
    let [a, b, c, d] = scene.ids;
    let size = async |group: &str| api.call(READ, "GET", &format!("/v1/groups/{group}")).await.body;
    assert_eq!(size("room:1").await, json!({"clients": 2, "uids": 1}));
    assert_eq!(size("none").await, json!({"clients": 0, "uids": 0}));
    let joined = api.call(MANAGE, "PUT", "/v1/groups/%C3%A4%2Fb/uids/ann").await.body;
    assert_eq!(joined, json!({"applied": 2, "matched": 2, "unreachable": []}));
    let groups = api.call(READ, "GET", "/v1/groups?limit=1").await.body;
    assert_eq!(groups["items"], json!([{"group": "room:1", "clients": 2}]));
    let next = groups["next"].as_str().unwrap();
    let groups = api.call(READ, "GET", &format!("/v1/groups?limit=1&after={next}")).await.body;
    assert_eq!(groups, json!({"items": [{"group": "ä/b", "clients": 2}], "next": null}));
    let some = api.call(READ, "GET", "/v1/groups?prefix=room%3A").await.body;
    assert_eq!(some["items"].as_array().unwrap().len(), 1);

    let target = "/v1/groups/%C3%A4%2Fb/clients?fields=uid,groups,session";
    let members = api.call(READ, "GET", target).await.body;
    let ids: BTreeSet<_> =
        members["items"].as_array().unwrap().iter().map(|it| it["id"].to_string()).collect();
    assert_eq!(ids, [a, b].map(|id| json!(id).to_string()).into());
    let first = &members["items"][0];
    let expected = json!({"id": first["id"], "uid": "ann", "groups": ["ä/b"], "session": {}});
    assert_eq!(*first, expected);
    let uids = api.call(READ, "GET", "/v1/groups/room:1/uids").await.body;
    assert_eq!(uids, json!({"items": [{"uid": "bob", "clients": 1}], "next": null}));

    let leave = api.call(MANAGE, "DELETE", "/v1/groups/%C3%A4%2Fb/uids/ann").await.body;
    assert_eq!(leave["applied"], 2);
    for _ in 0..2 {
        let target = format!("/v1/groups/room:1/clients/{c}");
        assert_eq!(api.call(MANAGE, "DELETE", &target).await.status, 204, "also when not in it");
    }
    let removed = api.call(MANAGE, "DELETE", "/v1/groups/room:1").await.body;
    assert_eq!(removed, json!({"removed": 1, "unreachable": []}));
    assert_eq!(size("room:1").await, json!({"clients": 0, "uids": 0}));
    let groups = api.call(READ, "GET", &format!("/v1/clients/{d}")).await.body;
    assert_eq!(groups["groups"], json!([]));
}

async fn client_that_does_not_read_is_shown_with_its_queue(threads: usize) {
    let (scene, api) = start(threads).await;
    let _slow = Raw::with_small_buffers(scene.suite.gateways[0].clients).await;
    let id = eventually("the slow client", async || {
        let all = scene.cluster.all_clients().await.unwrap();
        all.into_iter().find(|client| !scene.ids.contains(client))
    })
    .await;
    let large = json!({"to": {"clients": [id]}, "text": "x".repeat(128 * 1024)});
    eventually("a queue", async || {
        api.push(&large).await;
        let shown = api.call(READ, "GET", &format!("/v1/clients/{id}")).await.body;
        (0 < shown["queue_bytes"].as_u64()?).then_some(())
    })
    .await;
}

async fn batch_runs_in_order_with_a_result_each(threads: usize) {
    let (mut scene, api) = start(threads).await;
    let [a, b, ..] = scene.ids;
    let commands = json!([
        {"op": "join", "client": a, "group": "g"},
        {"op": "send", "to": {"groups": ["g"]}, "text": "1"},
        {"op": "leave", "client": a, "group": "g"},
        {"op": "send", "to": {"groups": ["g"]}, "text": "no"},
        {"op": "bind_uid", "client": b, "uid": 7},
        {"op": "fly"},
        {"op": "close_uid", "uid": "7", "code": 4005, "message": {"text": "2"}},
        {"op": "set_session", "client": b, "session": {}},
    ]);
    let batch = json!({"commands": commands});
    let answer = api.call_with(ADMIN, "POST", "/v1/batch", &batch).await;
    let results = answer.body["results"].as_array().unwrap().clone();
    let statuses: Vec<_> = results.iter().map(|it| it["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [204, 200, 204, 200, 204, 400, 200, 404]);
    assert_eq!(results[1]["body"], delivery(1, 1));
    assert_eq!(results[3]["body"], delivery(0, 0));
    assert_eq!(results[5]["body"]["error"]["code"], "bad_request");
    assert_eq!(scene.browsers[1].receive_text().await, "2");
    assert_eq!(scene.browsers[1].receive().await, Received::Closed(Some(4005)));

    let commands = json!([{"op": "fly"}, {"op": "send", "to": {"all": true}, "text": "no"}]);
    let batch = json!({"commands": commands, "stop_on_error": true});
    let answer = api.call_with(ADMIN, "POST", "/v1/batch", &batch).await;
    assert_eq!(answer.body["results"][1]["body"]["error"]["code"], "not_executed");

    // Each command needs its own scope.
    let commands = json!([
        {"op": "send", "to": {"clients": [a]}, "text": "3"},
        {"op": "ungroup", "group": "g"},
        {"op": "revoke", "uids": ["x"]},
    ]);
    let answer = api.call_with(PUSH, "POST", "/v1/batch", &json!({"commands": commands})).await;
    let results = answer.body["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|it| it["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 403, 403]);
    assert_eq!(scene.received_until(0, "3").await, ["1"]);
}

async fn key_with_a_prefix_is_restricted_to_its_groups(threads: usize) {
    let (scene, api) = start_named(threads).await;
    let [a, ..] = scene.ids;
    let send = async |to: Value| {
        let body = json!({"to": to, "text": "x"});
        api.call_with(ROOMS, "POST", "/v1/send", &body).await.status
    };
    assert_eq!(send(json!({"groups": ["room:1"]})).await, 200);
    for to in [
        json!({"groups": ["room:1", "other"]}),
        json!({"groups": ["roo"]}),
        json!({"all": true}),
        json!({"uids": ["ann"]}),
        json!({"clients": [a]}),
    ] {
        assert_eq!(send(to.clone()).await, 403, "{to}");
    }
    let join = api.call(ROOMS, "PUT", &format!("/v1/groups/room:2/clients/{a}")).await;
    assert_eq!(join.status, 204);
    let other = api.call(MANAGE, "PUT", &format!("/v1/groups/other/clients/{a}")).await;
    assert_eq!(other.status, 204);
    let listed = api.call(ROOMS, "GET", "/v1/groups").await.body;
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|it| &it["group"]).collect();
    assert_eq!(names, ["room:1", "room:2"]);
    assert_eq!(api.call(ROOMS, "GET", "/v1/groups/room:2/clients").await.status, 200);
    for (method, target) in [
        ("GET", "/v1/groups/room:2/clients?fields=groups".to_owned()),
        ("GET", "/v1/groups/other".to_owned()),
        ("DELETE", "/v1/groups/other".to_owned()),
        ("PUT", format!("/v1/groups/other/clients/{a}")),
        ("GET", format!("/v1/clients/{a}")),
        ("DELETE", format!("/v1/clients/{a}")),
        ("GET", "/v1/clients".to_owned()),
        ("GET", "/v1/uids/ann".to_owned()),
        ("GET", "/v1/counts".to_owned()),
    ] {
        let answer = api.call(ROOMS, method, &target).await;
        assert_eq!((answer.status, answer.code()), (403, "forbidden"), "{method} {target}");
        assert_eq!(answer.body["error"]["details"]["group_prefix"], "room:");
    }
}

#[tokio::test]
async fn token_is_renewed_and_revoked_by_a_key_with_the_scope() {
    let scene = Scene::start(1).await;
    let api = PushApi::start(&scene.suite).await;
    let target = format!("/v1/clients/{}/token", scene.ids[0]);
    let token = json!({"token": "secret-token"});
    let renewed = api.call_with(MANAGE, "PUT", &target, &token).await;
    assert_eq!((renewed.status, renewed.code()), (409, "token_refused"), "no tokens here");
    let wrong = api.call_with(MANAGE, "PUT", &target, &json!({"token": ["secret-token"]})).await;
    assert_eq!(wrong.status, 400);
    assert!(!wrong.body.to_string().contains("secret-token"), "{wrong:?}");
    for (key, status) in [(MANAGE, 403), (PUSH, 403), (ADMIN, 200)] {
        let body = json!({"jti": ["a"], "uids": ["ann"], "ttl": 60});
        assert_eq!(api.call_with(key, "POST", "/v1/revocations", &body).await.status, status);
    }
    for wrong in [json!({}), json!({"all": true})] {
        assert_eq!(api.call_with(ADMIN, "POST", "/v1/revocations", &wrong).await.status, 400);
    }
    let all = json!({"all": true, "issued_before": 1, "disconnect": false});
    assert_eq!(api.call_with(ADMIN, "POST", "/v1/revocations", &all).await.status, 200);
    assert!(!api.process.log().contains("secret-token"));
}

#[tokio::test]
async fn probes_and_document_need_no_key() {
    let suite = Suite::builder().start().await;
    let mut api = PushApi::with_flags(&suite, "api", "none", &["--gateway-grace", "1"]).await;
    for path in ["/v1/health", "/v1/ready"] {
        assert_eq!(api.send(HttpRequest::new("GET", path)).await.body, json!({"status": "ok"}));
    }
    assert_eq!(api.document()["openapi"], "3.1.0");
    drop(suite);
    let ready = eventually("the API not to be ready", async || {
        let ready = api.send(HttpRequest::new("GET", "/v1/ready")).await;
        (ready.status == 503).then_some(ready)
    });
    assert_eq!(ready.await.code(), "no_gateway");
    // Messages for gateways that may come back are kept until these are declared dead.
    let refused = eventually("gateways to be declared dead", async || {
        let answer = api.push(&json!({"to": {"all": true}, "text": "x"})).await;
        (answer.status == 503).then_some(answer)
    });
    let refused = refused.await;
    assert_eq!((refused.code(), refused.header("retry-after")), ("no_gateway", Some("1")));
    assert!(api.process.stop().await.success());
}
