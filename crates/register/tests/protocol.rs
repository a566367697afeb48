//! GatewayWorker's text protocol over real sockets, byte for byte.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Running, broadcast, subscribe};

const KEY: &str = "s3cret";

fn register() -> Running {
    Running::start(KEY, Duration::ZERO)
}

/// The recorded lines: step, direction, and bytes.
fn golden() -> Vec<(String, String, Vec<u8>)> {
    let text = |line: &Value, field: &str| line[field].as_str().unwrap().to_owned();
    let bytes = |hex: &str| {
        let pairs = (0..hex.len()).step_by(2);
        pairs.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    include_str!("golden/register.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (text(&line, "step"), text(&line, "from"), bytes(&text(&line, "hex"))))
        .collect()
}

#[tokio::test]
async fn recorded_php_requests_get_recorded_responses() {
    let register = register();
    let golden = golden();
    let requests = |part: &str| {
        let all = golden.iter().filter(|(_, from, _)| from == "peer>register");
        all.map(|(_, _, bytes)| bytes.clone())
            .filter(|bytes| String::from_utf8_lossy(bytes).contains(part))
            .collect::<Vec<_>>()
    };
    let answers: Vec<_> = golden.iter().filter(|(_, from, _)| from == "register>peer").collect();
    assert_eq!((requests("worker_connect").len(), answers.len()), (5, 5));

    // The order in which the gateways connected to the recorded register.
    let mut gateways = Vec::new();
    let mut observer = register.worker(KEY).await;
    assert_eq!(observer.receive().await, broadcast(&[]));
    for port in ["22100", "22200"] {
        let mut gateway = register.peer().await;
        gateway.send(&requests(port)[0]).await;
        observer.receive().await;
        gateways.push(gateway);
    }
    for (request, (step, _, answer)) in requests("worker_connect").iter().zip(answers) {
        let mut worker = register.peer().await;
        worker.send(request).await;
        assert_eq!(worker.receive().await.as_bytes(), answer, "{step}");
    }
}

#[tokio::test]
async fn gateway_change_is_sent_to_all_workers() {
    let register = register();
    let (mut first, mut second) = (register.worker(KEY).await, register.worker(KEY).await);
    for worker in [&mut first, &mut second] {
        assert_eq!(worker.receive().await, broadcast(&[]));
    }
    let mut gateway = register.gateway("127.0.0.1:2900", KEY).await;
    for worker in [&mut first, &mut second] {
        assert_eq!(worker.receive().await, broadcast(&["127.0.0.1:2900"]));
    }
    gateway.receives_nothing().await;
    drop(gateway);
    for worker in [&mut first, &mut second] {
        assert_eq!(worker.receive().await, broadcast(&[]));
    }
}

#[tokio::test]
async fn each_request_is_answered_to_its_sender_only() {
    let register = register();
    let (mut first, mut second) = (register.worker(KEY).await, register.worker(KEY).await);
    assert_eq!(first.receive().await, broadcast(&[]));
    assert_eq!(second.receive().await, broadcast(&[]));
    first.send(subscribe(KEY).repeat(3)).await;
    for _ in 0..3 {
        assert_eq!(first.receive().await, broadcast(&[]));
    }
    first.receives_nothing().await;
    second.receives_nothing().await;
}

#[tokio::test]
async fn plain_ping_is_not_answered() {
    let register = register();
    let mut peer = register.peer().await;
    peer.send("{\"event\":\"ping\"}\n").await;
    peer.receives_nothing().await;
    peer.send(subscribe(KEY)).await;
    assert_eq!(peer.receive().await, broadcast(&[]));
    peer.send("{\"event\":\"ping\"}\n").await;
    peer.receives_nothing().await;
}

#[tokio::test]
async fn carriage_returns_and_fragments_are_tolerated() {
    let register = register();
    let mut peer = register.peer().await;
    for byte in subscribe(KEY).replace('\n', "\r\n").bytes() {
        peer.send([byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(peer.receive().await, broadcast(&[]));
}

#[tokio::test]
async fn non_request_line_is_answered_and_connection_closed() {
    let register = register();
    let lines = ["hello", "{}", "123", "[]", "", "{\"event\":0}", "{\"event\":\"\"}", "null", "{"];
    for line in lines {
        let mut peer = register.peer().await;
        peer.send(format!("{line}\r\nnever read\n")).await;
        let answer = format!(
            "Bad request for Register service. Request info(IP:127.0.0.1, Request Buffer:{line}). \
             See http://doc2.workerman.net/register-auth-timeout.html\n"
        );
        assert_eq!(String::from_utf8(peer.read_to_end().await).unwrap(), answer);
    }
}

#[tokio::test]
async fn unknown_event_is_closed_without_response() {
    let register = register();
    for line in ["{\"event\":\"x\"}", "{\"event\":1}", "{\"event\":[1]}"] {
        let mut peer = register.peer().await;
        peer.send(format!("{line}\n")).await;
        peer.is_closed_without_response().await;
    }
}

#[tokio::test]
async fn wrong_key_is_closed_without_response() {
    let register = register();
    let mut observer = register.worker(KEY).await;
    assert_eq!(observer.receive().await, broadcast(&[]));
    for key in ["\"\"", "\"S3cret\"", "\"s3cret \"", "null", "0", "true", "[\"s3cret\"]"] {
        for event in ["worker_connect", "gateway_connect"] {
            let mut peer = register.peer().await;
            peer.send(format!(
                "{{\"event\":\"{event}\",\"address\":\"a:1\",\"secret_key\":{key}}}\n"
            ))
            .await;
            peer.is_closed_without_response().await;
        }
    }
    let mut peer = register.peer().await;
    peer.send("{\"event\":\"worker_connect\"}\n").await;
    peer.is_closed_without_response().await;
    observer.receives_nothing().await;
}

#[tokio::test]
async fn empty_secret_accepts_missing_key_and_refuses_number() {
    let register = Running::start("", Duration::ZERO);
    for key in ["", ",\"secret_key\":\"\"", ",\"secret_key\":null"] {
        let mut peer = register.peer().await;
        peer.send(format!("{{\"event\":\"worker_connect\"{key}}}\n")).await;
        assert_eq!(peer.receive().await, broadcast(&[]));
    }
    let mut peer = register.peer().await;
    peer.send("{\"event\":\"worker_connect\",\"secret_key\":0}\n").await;
    peer.is_closed_without_response().await;
}

#[tokio::test]
async fn wrong_key_in_later_request_closes_authenticated_peer() {
    let register = register();
    let mut observer = register.worker(KEY).await;
    assert_eq!(observer.receive().await, broadcast(&[]));
    let mut gateway = register.gateway("a:1", KEY).await;
    assert_eq!(observer.receive().await, broadcast(&["a:1"]));
    gateway.send(subscribe("wrong")).await;
    gateway.is_closed_without_response().await;
    assert_eq!(observer.receive().await, broadcast(&[]));
}

#[tokio::test]
async fn gateway_without_address_is_closed_without_response() {
    let register = register();
    for address in ["", ",\"address\":\"\"", ",\"address\":null", ",\"address\":[]"] {
        let mut peer = register.peer().await;
        peer.send(format!("{{\"event\":\"gateway_connect\",\"secret_key\":\"{KEY}\"{address}}}\n"))
            .await;
        peer.is_closed_without_response().await;
    }
}

#[tokio::test]
async fn address_is_listed_once_until_its_last_connection_closes() {
    let register = register();
    let mut worker = register.worker(KEY).await;
    assert_eq!(worker.receive().await, broadcast(&[]));
    let first = register.gateway("a:1", KEY).await;
    assert_eq!(worker.receive().await, broadcast(&["a:1"]));
    let _other = register.gateway("b:2", KEY).await;
    assert_eq!(worker.receive().await, broadcast(&["a:1", "b:2"]));
    let second = register.gateway("a:1", KEY).await;
    assert_eq!(worker.receive().await, broadcast(&["a:1", "b:2"]), "a list without gaps");
    drop(first);
    assert_eq!(worker.receive().await, broadcast(&["b:2", "a:1"]));
    drop(second);
    assert_eq!(worker.receive().await, broadcast(&["b:2"]));
}

#[tokio::test]
async fn connection_may_be_gateway_and_worker() {
    let register = register();
    let mut both = register.gateway("a:1", KEY).await;
    both.send(subscribe(KEY)).await;
    assert_eq!(both.receive().await, broadcast(&["a:1"]));
    let other = register.gateway("b:2", KEY).await;
    assert_eq!(both.receive().await, broadcast(&["a:1", "b:2"]));
    drop(other);
    assert_eq!(both.receive().await, broadcast(&["a:1"]));
}

#[tokio::test]
async fn native_gateway_fields_are_listed_separately_from_addresses() {
    let register = register();
    let _php = register.gateway("a:1", KEY).await;
    let mut ours = register.peer().await;
    ours.send(format!(
        "{{\"event\":\"gateway_connect\",\"address\":\"b:2\",\"secret_key\":\"{KEY}\",\
         \"native\":true,\"instance\":\"9f\"}}\n"
    ))
    .await;
    let mut worker = register.worker(KEY).await;
    worker
        .receive_until(
            "{\"event\":\"broadcast_addresses\",\"addresses\":[\"a:1\",\"b:2\"],\
             \"gateways\":[{\"address\":\"b:2\",\"native\":true,\"instance\":\"9f\"}]}\n",
        )
        .await;
}

#[tokio::test]
async fn half_closed_back_end_still_receives_response() {
    let register = register();
    let mut back_end = register.worker(KEY).await;
    back_end.shutdown_write().await;
    assert_eq!(String::from_utf8(back_end.read_to_end().await).unwrap(), broadcast(&[]));
}

#[tokio::test]
async fn short_lived_back_ends_are_all_answered() {
    let register = register();
    let _gateway = register.gateway("a:1", KEY).await;
    let mut observer = register.worker(KEY).await;
    observer.receive_until(&broadcast(&["a:1"])).await;
    for _ in 0..40 {
        let mut back_ends = Vec::new();
        for _ in 0..25 {
            back_ends.push(register.worker(KEY).await);
        }
        for back_end in &mut back_ends {
            assert_eq!(back_end.receive().await, broadcast(&["a:1"]));
        }
    }
}

#[tokio::test]
async fn register_shutdown_closes_all_connections() {
    let register = register();
    let mut gateway = register.gateway("a:1", KEY).await;
    let mut worker = register.worker(KEY).await;
    let mut unauthenticated = register.peer().await;
    worker.receive_until(&broadcast(&["a:1"])).await;
    register.stop().await;
    worker.is_closed_without_response().await;
    gateway.is_closed_without_response().await;
    unauthenticated.is_closed_without_response().await;
}

#[tokio::test]
async fn registers_are_independent() {
    let (first, second) = (register(), register());
    let _on_both = (first.gateway("a:1", KEY).await, second.gateway("a:1", KEY).await);
    let (mut on_first, mut on_second) = (first.worker(KEY).await, second.worker(KEY).await);
    on_first.receive_until(&broadcast(&["a:1"])).await;
    on_second.receive_until(&broadcast(&["a:1"])).await;
    first.stop().await;
    on_first.is_closed_without_response().await;
    on_second.receives_nothing().await;
    let _late = second.gateway("b:2", KEY).await;
    assert_eq!(on_second.receive().await, broadcast(&["a:1", "b:2"]));
}
