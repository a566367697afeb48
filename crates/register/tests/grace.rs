//! A register that starts again tells nobody of fewer gateways than there are.

mod support;

use std::time::Duration;

use support::{Peer, Running, broadcast};
use tokio::time::Instant;

/// Never waited for.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(400);

async fn worker_that_knew(register: &Running, known: &str) -> Peer {
    let mut worker = register.peer().await;
    let line = format!("{{\"event\":\"worker_connect\",\"secret_key\":\"\",\"known\":{known}}}\n");
    worker.say(line).await;
    worker
}

#[tokio::test]
async fn answers_wait_for_the_end_of_the_grace_and_then_tell_the_truth() {
    let start = Instant::now();
    let register = Running::start("", SHORT);
    let mut worker = register.worker("").await;
    let mut other = register.worker("").await;
    let _gateway = register.gateway("a:1", "").await;
    assert_eq!(worker.hears().await, broadcast(&["a:1"]), "one line, with who came meanwhile");
    assert!(SHORT <= start.elapsed());
    assert_eq!(other.hears().await, broadcast(&["a:1"]));
    worker.hears_nothing().await;
}

#[tokio::test]
async fn after_the_grace_nobody_is_told_as_nobody() {
    let register = Running::start("", SHORT);
    let mut worker = worker_that_knew(&register, "[\"a:1\"]").await;
    assert_eq!(worker.hears().await, broadcast(&[]));
}

#[tokio::test]
async fn the_wait_is_over_once_all_that_were_known_are_back() {
    let register = Running::start("", LONG);
    let mut php = register.worker("").await;
    let mut worker = worker_that_knew(&register, "[\"a:1\",\"b:2\"]").await;
    let _first = register.gateway("b:2", "").await;
    worker.hears_nothing().await;
    let _second = register.gateway("a:1", "").await;
    assert_eq!(worker.hears().await, broadcast(&["b:2", "a:1"]));
    assert_eq!(php.hears().await, broadcast(&["b:2", "a:1"]));
    let mut late = register.worker("").await;
    assert_eq!(late.hears().await, broadcast(&["b:2", "a:1"]), "at once");
    let third = register.gateway("c:3", "").await;
    assert_eq!(worker.hears().await, broadcast(&["b:2", "a:1", "c:3"]), "and changes too");
    drop(third);
    assert_eq!(worker.hears().await, broadcast(&["b:2", "a:1"]));
}

#[tokio::test]
async fn a_gateway_lost_in_the_grace_is_not_told_as_a_part() {
    let register = Running::start("", LONG);
    let mut worker = worker_that_knew(&register, "[\"a:1\",\"b:2\"]").await;
    let _first = register.gateway("a:1", "").await;
    let second = register.gateway("b:2", "").await;
    assert_eq!(worker.hears().await, broadcast(&["a:1", "b:2"]));
    drop(second);
    worker.hears_nothing().await;
    let _again = register.gateway("b:2", "").await;
    assert_eq!(worker.hears().await, broadcast(&["a:1", "b:2"]));
}

#[tokio::test]
async fn knowing_nobody_is_no_reason_to_hurry() {
    let register = Running::start("", LONG);
    let _gateway = register.gateway("a:1", "").await;
    let mut worker = worker_that_knew(&register, "[]").await;
    worker.hears_nothing().await;
}

#[tokio::test]
async fn the_wait_holds_back_no_refusal() {
    let register = Running::start("key", LONG);
    register.worker("wrong").await.is_closed_without_a_word().await;
}

#[tokio::test]
async fn a_restart_on_the_same_port_is_not_noticed_by_who_comes_back() {
    let register = Running::start("", Duration::ZERO);
    let addr = register.addr;
    let gateways = [register.gateway("a:1", "").await, register.gateway("b:2", "").await];
    let mut worker = register.worker("").await;
    worker.hears_at_last(&broadcast(&["a:1", "b:2"])).await;
    register.stop().await;
    drop(gateways);

    let register = Running::start_on(addr, "", LONG);
    let mut worker = worker_that_knew(&register, "[\"a:1\",\"b:2\"]").await;
    let _gateways = [register.gateway("a:1", "").await, register.gateway("b:2", "").await];
    assert_eq!(worker.hears().await, broadcast(&["a:1", "b:2"]), "the first thing it hears");
}
