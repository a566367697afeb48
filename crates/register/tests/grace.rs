//! A restarted register sends no incomplete list.

mod support;

use std::time::Duration;

use support::{Peer, Running, broadcast};
use tokio::time::Instant;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(400);

async fn worker_that_knew(register: &Running, known: &str) -> Peer {
    let mut worker = register.peer().await;
    let line = format!("{{\"event\":\"worker_connect\",\"secret_key\":\"\",\"known\":{known}}}\n");
    worker.send(line).await;
    worker
}

#[tokio::test]
async fn responses_wait_for_end_of_grace_and_contain_current_list() {
    let start = Instant::now();
    let register = Running::start("", SHORT);
    let mut worker = register.worker("").await;
    let mut other = register.worker("").await;
    let _gateway = register.gateway("a:1", "").await;
    assert_eq!(
        worker.receive().await,
        broadcast(&["a:1"]),
        "one line, including the gateway announced in the meantime"
    );
    assert!(SHORT <= start.elapsed());
    assert_eq!(other.receive().await, broadcast(&["a:1"]));
    worker.receives_nothing().await;
}

#[tokio::test]
async fn empty_list_is_sent_after_the_grace() {
    let register = Running::start("", SHORT);
    let mut worker = worker_that_knew(&register, "[\"a:1\"]").await;
    assert_eq!(worker.receive().await, broadcast(&[]));
}

#[tokio::test]
async fn grace_ends_once_all_known_gateways_have_reconnected() {
    let register = Running::start("", LONG);
    let mut php = register.worker("").await;
    let mut worker = worker_that_knew(&register, "[\"a:1\",\"b:2\"]").await;
    let _first = register.gateway("b:2", "").await;
    worker.receives_nothing().await;
    let _second = register.gateway("a:1", "").await;
    assert_eq!(worker.receive().await, broadcast(&["b:2", "a:1"]));
    assert_eq!(php.receive().await, broadcast(&["b:2", "a:1"]));
    let mut late = register.worker("").await;
    assert_eq!(late.receive().await, broadcast(&["b:2", "a:1"]), "at once");
    let third = register.gateway("c:3", "").await;
    assert_eq!(
        worker.receive().await,
        broadcast(&["b:2", "a:1", "c:3"]),
        "changes are sent as well"
    );
    drop(third);
    assert_eq!(worker.receive().await, broadcast(&["b:2", "a:1"]));
}

#[tokio::test]
async fn gateway_lost_during_grace_is_not_removed_from_the_list() {
    let register = Running::start("", LONG);
    let mut worker = worker_that_knew(&register, "[\"a:1\",\"b:2\"]").await;
    let _first = register.gateway("a:1", "").await;
    let second = register.gateway("b:2", "").await;
    assert_eq!(worker.receive().await, broadcast(&["a:1", "b:2"]));
    drop(second);
    worker.receives_nothing().await;
    let _again = register.gateway("b:2", "").await;
    assert_eq!(worker.receive().await, broadcast(&["a:1", "b:2"]));
}

#[tokio::test]
async fn worker_that_knew_no_gateway_does_not_end_grace() {
    let register = Running::start("", LONG);
    let _gateway = register.gateway("a:1", "").await;
    let mut worker = worker_that_knew(&register, "[]").await;
    worker.receives_nothing().await;
}

#[tokio::test]
async fn wrong_key_is_refused_during_grace() {
    let register = Running::start("key", LONG);
    register.worker("wrong").await.is_closed_without_response().await;
}

#[tokio::test]
async fn restart_on_same_port_sends_complete_list_to_reconnecting_worker() {
    let register = Running::start("", Duration::ZERO);
    let addr = register.addr;
    let gateways = [register.gateway("a:1", "").await, register.gateway("b:2", "").await];
    let mut worker = register.worker("").await;
    worker.receive_until(&broadcast(&["a:1", "b:2"])).await;
    register.stop().await;
    drop(gateways);

    let register = Running::start_on(addr, "", LONG);
    let mut worker = worker_that_knew(&register, "[\"a:1\",\"b:2\"]").await;
    let _gateways = [register.gateway("a:1", "").await, register.gateway("b:2", "").await];
    assert_eq!(worker.receive().await, broadcast(&["a:1", "b:2"]), "the first list received");
}
