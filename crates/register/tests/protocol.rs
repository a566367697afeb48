//! GatewayWorker's text protocol, row by row, over real sockets and byte for byte.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Running, ask, broadcast};

const KEY: &str = "s3cret";

fn register() -> Running {
    Running::start(KEY, Duration::ZERO)
}

/// The recorded lines: what was being done, who spoke, and the bytes.
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
async fn what_php_peers_said_is_answered_as_php_answered() {
    let register = register();
    let golden = golden();
    let said = |what: &str| {
        let all = golden.iter().filter(|(_, from, _)| from == "peer>register");
        all.map(|(_, _, bytes)| bytes.clone())
            .filter(|bytes| String::from_utf8_lossy(bytes).contains(what))
            .collect::<Vec<_>>()
    };
    let answers: Vec<_> = golden.iter().filter(|(_, from, _)| from == "register>peer").collect();
    assert_eq!((said("worker_connect").len(), answers.len()), (5, 5));

    // The order in which the gateways reached the recorded register.
    let mut gateways = Vec::new();
    let mut watcher = register.worker(KEY).await;
    assert_eq!(watcher.hears().await, broadcast(&[]));
    for port in ["22100", "22200"] {
        let mut gateway = register.peer().await;
        gateway.say(&said(port)[0]).await;
        watcher.hears().await;
        gateways.push(gateway);
    }
    for (question, (step, _, answer)) in said("worker_connect").iter().zip(answers) {
        let mut worker = register.peer().await;
        worker.say(question).await;
        assert_eq!(worker.hears().await.as_bytes(), answer, "{step}");
    }
}

#[tokio::test]
async fn a_gateway_that_comes_or_goes_is_told_to_all_workers() {
    let register = register();
    let (mut first, mut second) = (register.worker(KEY).await, register.worker(KEY).await);
    for worker in [&mut first, &mut second] {
        assert_eq!(worker.hears().await, broadcast(&[]));
    }
    let mut gateway = register.gateway("127.0.0.1:2900", KEY).await;
    for worker in [&mut first, &mut second] {
        assert_eq!(worker.hears().await, broadcast(&["127.0.0.1:2900"]));
    }
    gateway.hears_nothing().await;
    drop(gateway);
    for worker in [&mut first, &mut second] {
        assert_eq!(worker.hears().await, broadcast(&[]));
    }
}

#[tokio::test]
async fn a_question_is_answered_to_who_asked_each_time() {
    let register = register();
    let (mut first, mut second) = (register.worker(KEY).await, register.worker(KEY).await);
    assert_eq!(first.hears().await, broadcast(&[]));
    assert_eq!(second.hears().await, broadcast(&[]));
    first.say(ask(KEY).repeat(3)).await;
    for _ in 0..3 {
        assert_eq!(first.hears().await, broadcast(&[]));
    }
    first.hears_nothing().await;
    second.hears_nothing().await;
}

#[tokio::test]
async fn a_ping_is_not_answered_not_even_a_strangers() {
    let register = register();
    let mut peer = register.peer().await;
    peer.say("{\"event\":\"ping\"}\n").await;
    peer.hears_nothing().await;
    peer.say(ask(KEY)).await;
    assert_eq!(peer.hears().await, broadcast(&[]));
    peer.say("{\"event\":\"ping\"}\n").await;
    peer.hears_nothing().await;
}

#[tokio::test]
async fn carriage_returns_and_any_pieces_are_tolerated() {
    let register = register();
    let mut peer = register.peer().await;
    for byte in ask(KEY).replace('\n', "\r\n").bytes() {
        peer.say([byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(peer.hears().await, broadcast(&[]));
}

#[tokio::test]
async fn a_line_that_is_no_request_is_answered_and_closed() {
    let register = register();
    let lines = ["hello", "{}", "123", "[]", "", "{\"event\":0}", "{\"event\":\"\"}", "null", "{"];
    for line in lines {
        let mut peer = register.peer().await;
        peer.say(format!("{line}\r\nnever read\n")).await;
        let answer = format!(
            "Bad request for Register service. Request info(IP:127.0.0.1, Request Buffer:{line}). \
             See http://doc2.workerman.net/register-auth-timeout.html\n"
        );
        assert_eq!(String::from_utf8(peer.hears_to_the_end().await).unwrap(), answer);
    }
}

#[tokio::test]
async fn an_unknown_event_is_closed_without_a_word() {
    let register = register();
    for line in ["{\"event\":\"x\"}", "{\"event\":1}", "{\"event\":[1]}"] {
        let mut peer = register.peer().await;
        peer.say(format!("{line}\n")).await;
        peer.is_closed_without_a_word().await;
    }
}

#[tokio::test]
async fn a_wrong_key_is_closed_without_a_word() {
    let register = register();
    let mut watcher = register.worker(KEY).await;
    assert_eq!(watcher.hears().await, broadcast(&[]));
    for key in ["\"\"", "\"S3cret\"", "\"s3cret \"", "null", "0", "true", "[\"s3cret\"]"] {
        for event in ["worker_connect", "gateway_connect"] {
            let mut peer = register.peer().await;
            peer.say(format!(
                "{{\"event\":\"{event}\",\"address\":\"a:1\",\"secret_key\":{key}}}\n"
            ))
            .await;
            peer.is_closed_without_a_word().await;
        }
    }
    let mut peer = register.peer().await;
    peer.say("{\"event\":\"worker_connect\"}\n").await;
    peer.is_closed_without_a_word().await;
    watcher.hears_nothing().await;
}

#[tokio::test]
async fn where_there_is_no_secret_a_missing_one_is_right_and_a_number_is_not() {
    let register = Running::start("", Duration::ZERO);
    for key in ["", ",\"secret_key\":\"\"", ",\"secret_key\":null"] {
        let mut peer = register.peer().await;
        peer.say(format!("{{\"event\":\"worker_connect\"{key}}}\n")).await;
        assert_eq!(peer.hears().await, broadcast(&[]));
    }
    let mut peer = register.peer().await;
    peer.say("{\"event\":\"worker_connect\",\"secret_key\":0}\n").await;
    peer.is_closed_without_a_word().await;
}

#[tokio::test]
async fn a_wrong_key_later_on_ends_what_was_right_before() {
    let register = register();
    let mut watcher = register.worker(KEY).await;
    assert_eq!(watcher.hears().await, broadcast(&[]));
    let mut gateway = register.gateway("a:1", KEY).await;
    assert_eq!(watcher.hears().await, broadcast(&["a:1"]));
    gateway.say(ask("wrong")).await;
    gateway.is_closed_without_a_word().await;
    assert_eq!(watcher.hears().await, broadcast(&[]));
}

#[tokio::test]
async fn a_gateway_without_an_address_is_closed_without_a_word() {
    let register = register();
    for address in ["", ",\"address\":\"\"", ",\"address\":null", ",\"address\":[]"] {
        let mut peer = register.peer().await;
        peer.say(format!("{{\"event\":\"gateway_connect\",\"secret_key\":\"{KEY}\"{address}}}\n"))
            .await;
        peer.is_closed_without_a_word().await;
    }
}

#[tokio::test]
async fn an_address_is_told_once_and_until_its_last_connection_is_gone() {
    let register = register();
    let mut worker = register.worker(KEY).await;
    assert_eq!(worker.hears().await, broadcast(&[]));
    let first = register.gateway("a:1", KEY).await;
    assert_eq!(worker.hears().await, broadcast(&["a:1"]));
    let _other = register.gateway("b:2", KEY).await;
    assert_eq!(worker.hears().await, broadcast(&["a:1", "b:2"]));
    let second = register.gateway("a:1", KEY).await;
    assert_eq!(worker.hears().await, broadcast(&["a:1", "b:2"]), "a list, without holes");
    drop(first);
    assert_eq!(worker.hears().await, broadcast(&["b:2", "a:1"]));
    drop(second);
    assert_eq!(worker.hears().await, broadcast(&["b:2"]));
}

#[tokio::test]
async fn one_connection_may_be_gateway_and_worker() {
    let register = register();
    let mut both = register.gateway("a:1", KEY).await;
    both.say(ask(KEY)).await;
    assert_eq!(both.hears().await, broadcast(&["a:1"]));
    let other = register.gateway("b:2", KEY).await;
    assert_eq!(both.hears().await, broadcast(&["a:1", "b:2"]));
    drop(other);
    assert_eq!(both.hears().await, broadcast(&["a:1"]));
}

#[tokio::test]
async fn our_own_gateways_say_more_and_php_peers_do_not_see_it() {
    let register = register();
    let _php = register.gateway("a:1", KEY).await;
    let mut ours = register.peer().await;
    ours.say(format!(
        "{{\"event\":\"gateway_connect\",\"address\":\"b:2\",\"secret_key\":\"{KEY}\",\
         \"native\":true,\"instance\":\"9f\"}}\n"
    ))
    .await;
    let mut worker = register.worker(KEY).await;
    worker
        .hears_at_last(
            "{\"event\":\"broadcast_addresses\",\"addresses\":[\"a:1\",\"b:2\"],\
             \"gateways\":[{\"address\":\"b:2\",\"native\":true,\"instance\":\"9f\"}]}\n",
        )
        .await;
}

#[tokio::test]
async fn who_shuts_its_own_half_still_gets_its_answer() {
    let register = register();
    let mut client = register.worker(KEY).await;
    client.shut().await;
    assert_eq!(String::from_utf8(client.hears_to_the_end().await).unwrap(), broadcast(&[]));
}

#[tokio::test]
async fn many_clients_that_ask_once_are_all_answered() {
    let register = register();
    let _gateway = register.gateway("a:1", KEY).await;
    let mut watcher = register.worker(KEY).await;
    watcher.hears_at_last(&broadcast(&["a:1"])).await;
    for _ in 0..40 {
        let mut clients = Vec::new();
        for _ in 0..25 {
            clients.push(register.worker(KEY).await);
        }
        for client in &mut clients {
            assert_eq!(client.hears().await, broadcast(&["a:1"]));
        }
    }
}

#[tokio::test]
async fn a_register_that_stops_closes_everybody() {
    let register = register();
    let mut gateway = register.gateway("a:1", KEY).await;
    let mut worker = register.worker(KEY).await;
    let mut stranger = register.peer().await;
    worker.hears_at_last(&broadcast(&["a:1"])).await;
    register.stop().await;
    worker.is_closed_without_a_word().await;
    gateway.is_closed_without_a_word().await;
    stranger.is_closed_without_a_word().await;
}

#[tokio::test]
async fn registers_know_nothing_of_each_other() {
    let (first, second) = (register(), register());
    let _on_both = (first.gateway("a:1", KEY).await, second.gateway("a:1", KEY).await);
    let (mut here, mut there) = (first.worker(KEY).await, second.worker(KEY).await);
    here.hears_at_last(&broadcast(&["a:1"])).await;
    there.hears_at_last(&broadcast(&["a:1"])).await;
    first.stop().await;
    here.is_closed_without_a_word().await;
    there.hears_nothing().await;
    let _late = second.gateway("b:2", KEY).await;
    assert_eq!(there.hears().await, broadcast(&["a:1", "b:2"]));
}
