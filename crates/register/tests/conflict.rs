//! Two gateways that announce one inner address.

mod support;

use std::time::Duration;

use support::{Peer, Running};

const KEY: &str = "s3cret";
const PING: &str = "{\"event\":\"ping\",\"answer\":true}\n";
const PONG: &str = "{\"event\":\"pong\"}\n";
const PROBE: &str = "{\"event\":\"probe\"}\n";

/// A native gateway, which pings along with its announcement.
async fn gateway(register: &Running, instance: &str) -> Peer {
    let mut peer = register.peer().await;
    peer.send(format!(
        "{{\"event\":\"gateway_connect\",\"address\":\"10.0.0.1:2900\",\"native\":true,\
         \"instance\":\"{instance}\",\"secret_key\":\"{KEY}\"}}\n{PING}"
    ))
    .await;
    peer
}

fn list(instance: &str) -> String {
    format!(
        "{{\"event\":\"broadcast_addresses\",\"addresses\":[\"10.0.0.1:2900\"],\"gateways\":\
         [{{\"address\":\"10.0.0.1:2900\",\"native\":true,\"instance\":\"{instance}\"}}]}}\n"
    )
}

#[tokio::test]
async fn second_gateway_is_refused_with_reason_and_not_listed() {
    let register = Running::start(KEY, Duration::ZERO);
    let mut first = gateway(&register, "1a").await;
    assert_eq!(first.receive().await, PONG);
    let mut worker = register.worker(KEY).await;
    assert_eq!(worker.receive().await, list("1a"));
    for _ in 0..3 {
        let mut second = gateway(&register, "2b").await;
        if let Ok(probe) = tokio::time::timeout(support::MOMENT, first.receive()).await {
            assert_eq!(probe, PROBE);
            first.send("{\"event\":\"ping\"}\n").await;
        }
        let notice = String::from_utf8(second.read_to_end().await).unwrap();
        let by = first.socket().local_addr().unwrap();
        assert_eq!(
            notice,
            format!("{{\"event\":\"refused\",\"reason\":\"address_taken\",\"by\":\"{by}\"}}\n"),
            "no pong, which would confirm the announcement"
        );
    }
    worker.receives_nothing().await;
    first.send(PING).await;
    assert_eq!(first.receive().await, PONG);
}

#[tokio::test]
async fn restarted_gateway_is_admitted_while_old_connection_is_half_open() {
    let register = Running::start(KEY, Duration::ZERO);
    let mut old = gateway(&register, "1a").await;
    assert_eq!(old.receive().await, PONG);
    let mut worker = register.worker(KEY).await;
    assert_eq!(worker.receive().await, list("1a"));
    // The old connection stays open, and does not respond to the probe.
    let mut new = gateway(&register, "2b").await;
    assert_eq!(worker.receive().await, list("2b"));
    assert_eq!(new.receive().await, PONG);
    assert_eq!(old.receive().await, PROBE);
    // Its later close changes nothing.
    drop(old);
    worker.receive_until(&list("2b")).await;
    worker.receives_nothing().await;
    new.send(PING).await;
    assert_eq!(new.receive().await, PONG);
}

#[tokio::test]
async fn restarted_gateway_is_admitted_at_once_after_old_connection_closes() {
    let register = Running::start(KEY, Duration::from_secs(0));
    let mut worker = register.worker(KEY).await;
    worker.receive().await;
    for instance in ["1a", "2b", "3c"] {
        let mut gateway = gateway(&register, instance).await;
        assert_eq!(gateway.receive().await, PONG);
        worker.receive_until(&list(instance)).await;
        if instance != "3c" {
            drop(gateway);
        }
    }
}

#[tokio::test]
async fn php_gateways_with_same_address_are_all_admitted() {
    let register = Running::start(KEY, Duration::ZERO);
    let mut twins = [
        register.gateway("10.0.0.1:2900", KEY).await,
        register.gateway("10.0.0.1:2900", KEY).await,
    ];
    for twin in &mut twins {
        twin.send(PING).await;
        assert_eq!(twin.receive().await, PONG);
    }
}
