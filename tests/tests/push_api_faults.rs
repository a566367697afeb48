//! The push API when gateways and workers die, and requests that are sent again.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::json;
use suite_tests::{
    HttpRequest, PushApi, Scene, Suite, eventually, on_one_and_three_threads,
    push_api::{MANAGE, PUSH, READ},
};

on_one_and_three_threads!(
    killed_gateway_is_named_and_the_rest_is_sent,
    suspended_gateway_is_named_and_sends_once_it_continues,
    retry_with_the_same_key_is_executed_once,
);

async fn killed_gateway_is_named_and_the_rest_is_sent(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let api = PushApi::start(&scene.suite).await;
    let all = |text: &str| json!({"to": {"all": true}, "text": text});
    assert_eq!(api.push(&all("before")).await.body["delivered"], 4);
    let dead = scene.suite.gateways[1].inner.to_string();
    scene.suite.gateways[1].kill();
    let answer = api.push(&all("after")).await;
    assert_eq!((answer.status, &answer.body["delivered"]), (200, &json!(2)));
    assert_eq!(answer.body["unreachable"], json!([dead]));
    assert_eq!(scene.received_until(0, "after").await, ["before"]);
    assert_eq!(scene.received_until(2, "after").await, ["before"]);
    // Its clients are gone once it is declared dead.
    let target = format!("/v1/clients/{}/session", scene.ids[1]);
    eventually("the client to be gone", async || {
        let put = api.call_with(MANAGE, "PUT", &target, &json!({"a": 1})).await;
        (put.code() == "client_not_found").then_some(())
    })
    .await;
    let other = format!("/v1/clients/{}", scene.ids[0]);
    assert_eq!(api.call(READ, "GET", &other).await.status, 200);
}

async fn suspended_gateway_is_named_and_sends_once_it_continues(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let api = PushApi::start(&scene.suite).await;
    let late = scene.suite.gateways[1].inner.to_string();
    scene.suite.gateways[1].pause().await;
    let commands: Vec<_> = (0..5)
        .map(|at| json!({"op": "send", "to": {"all": true}, "text": at.to_string()}))
        .collect();
    // The batch waits for the gateway once, not for each of its commands.
    let batch = json!({"commands": commands});
    let answer = api.call_with(PUSH, "POST", "/v1/batch", &batch).await;
    for result in answer.body["results"].as_array().unwrap() {
        assert_eq!(
            (&result["status"], &result["body"]["unreachable"]),
            (&json!(200), &json!([late]))
        );
        assert_eq!(result["body"]["delivered"], 2);
    }
    // A change of one of its clients takes effect later, and may be sent again.
    let target = format!("/v1/clients/{}/session", scene.ids[1]);
    let put = api.call_with(MANAGE, "PUT", &target, &json!({"a": 1})).await;
    assert_eq!((put.status, put.code()), (503, "gateway_unreachable"));
    assert_eq!(put.body["error"]["details"]["gateway"], late);
    assert_eq!(put.body["error"]["retryable"], true);
    assert_eq!(put.header("retry-after"), Some("1"));
    // A list is complete or an error.
    let list = api.call(READ, "GET", "/v1/clients").await;
    assert_eq!((list.status, list.code()), (503, "gateway_unreachable"));
    assert_eq!(list.body["error"]["details"]["gateway"], late);
    scene.suite.gateways[1].resume();
    api.push(&json!({"to": {"all": true}, "text": "end"})).await;
    for client in 0..4 {
        assert_eq!(scene.received_until(client, "end").await, ["0", "1", "2", "3", "4"]);
    }
    assert_eq!(api.call(READ, "GET", &target).await.body, json!({"a": 1}));
}

async fn retry_with_the_same_key_is_executed_once(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let api = PushApi::start(&scene.suite).await;
    let send = async |secret: &str, key: &str, text: &str| {
        let body = json!({"to": {"all": true}, "text": text});
        let request = HttpRequest::new("POST", "/v1/send").key(secret).json(&body);
        api.send(request.header("Idempotency-Key", key)).await
    };
    let first = send(PUSH, "k", "1").await;
    assert_eq!((first.status, first.header("idempotency-scope")), (200, Some("node")));
    assert_eq!(first.header("idempotent-replayed"), None);
    let again = send(PUSH, "k", "1").await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("idempotency-scope"), Some("node"));
    let other = send(PUSH, "k", "2").await;
    assert_eq!((other.status, other.code()), (422, "idempotency_mismatch"));
    // Keys are those of one caller.
    assert_eq!(send(suite_tests::push_api::ADMIN, "k", "2").await.status, 200);
    for key in ["", &"k".repeat(256), "ä"] {
        assert_eq!(send(PUSH, key, "no").await.status, 400, "{key:?}");
    }
    assert_eq!(send(PUSH, &"k".repeat(255), "3").await.status, 200);
    // One that is refused is remembered too, with its body.
    let refused = send(READ, "r", "no").await;
    assert_eq!((refused.status, refused.code()), (403, "forbidden"));
    let refused = send(READ, "r", "no").await;
    assert_eq!((refused.status, refused.header("idempotent-replayed")), (403, Some("true")));
    assert_eq!(refused.code(), "forbidden");
    assert_eq!(
        scene.received().await,
        [["1", "2", "3"]; 4].map(|it| it.map(str::to_owned).to_vec())
    );
    assert_eq!(api.process.metric("pushsuite_http_replayed_total").await, Some(2.0));

    // While the first is being executed, a second one is refused.
    scene.suite.gateways[0].pause().await;
    let (one, two) = tokio::join!(send(PUSH, "p", "4"), send(PUSH, "p", "4"));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let refused = if one.status == 409 { one } else { two };
    assert_eq!(refused.header("retry-after"), Some("1"));
    scene.suite.gateways[0].resume();
    assert_eq!(scene.received().await, [["4"]; 4].map(|it| it.map(str::to_owned).to_vec()));
}

#[tokio::test]
async fn caller_that_disconnects_does_not_cut_its_request_short() {
    use tokio::io::AsyncWriteExt as _;
    let mut scene = Scene::start(1).await;
    let api = PushApi::start(&scene.suite).await;
    scene.suite.gateways[0].pause().await;
    let commands: Vec<_> = (0..20)
        .map(|at| json!({"op": "send", "to": {"all": true}, "text": at.to_string()}))
        .collect();
    let body = json!({"commands": commands}).to_string();
    let head = format!(
        "POST /v1/batch HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {PUSH}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(api.addr).await.unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    // The other gateway has the first of them.
    assert_eq!(scene.browsers[1].receive_text().await, "0");
    drop(stream);
    for at in 1..20 {
        assert_eq!(scene.browsers[1].receive_text().await, at.to_string());
    }
    scene.suite.gateways[0].resume();
    for at in 0..20 {
        assert_eq!(scene.browsers[0].receive_text().await, at.to_string());
    }
}

#[tokio::test]
async fn accepted_pushes_survive_a_rolling_restart_of_workers() {
    let suite = Suite::builder().start().await;
    let mut apis = Vec::new();
    for name in ["one", "two"] {
        apis.push(PushApi::with_flags(&suite, name, "echo", &[]).await);
    }
    let mut clients = [suite.browser(0).await, suite.browser(1).await];
    let is_over = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..4)
        .map(|publisher| {
            let (addrs, is_over) = ([apis[0].addr, apis[1].addr], Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut accepted = Vec::new();
                let mut number = 0;
                while !is_over.load(Ordering::Relaxed) {
                    number += 1;
                    let text = format!("{publisher}-{number}");
                    let body = json!({"to": {"all": true}, "text": text});
                    // As a balancer does: the other one if a connection is refused.
                    let request = HttpRequest::new("POST", "/v1/send").key(PUSH).json(&body);
                    let addr = addrs[(publisher + number) % 2];
                    if let Some(answer) = request.try_send(addr).await
                        && answer.status == 200
                    {
                        assert_eq!(answer.body["delivered"], 2, "{answer:?}");
                        accepted.push(text);
                    }
                }
                accepted
            })
        })
        .collect();
    for _ in 0..2 {
        for api in &mut apis {
            assert!(api.process.stop().await.success());
            api.process.restart().await;
        }
    }
    is_over.store(true, Ordering::Relaxed);
    let mut accepted = Vec::new();
    for publisher in publishers {
        accepted.extend(publisher.await.unwrap());
    }
    assert!(20 < accepted.len(), "{}", accepted.len());
    apis[0].push(&json!({"to": {"all": true}, "text": "end"})).await;
    for client in &mut clients {
        let mut received = BTreeMap::<String, usize>::new();
        loop {
            match client.receive_text().await {
                end if end == "end" => break,
                text => *received.entry(text).or_default() += 1,
            }
        }
        for text in &accepted {
            assert_eq!(received.get(text), Some(&1), "{text}");
        }
    }
}
