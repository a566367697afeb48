//! Two gateways that announce one inner address.

mod support;

use std::time::Duration;

use support::{Peer, Running};

const KEY: &str = "s3cret";
const PING: &str = "{\"event\":\"ping\",\"answer\":true}\n";
const PONG: &str = "{\"event\":\"pong\"}\n";
const PROBE: &str = "{\"event\":\"probe\"}\n";

/// A gateway of ours, which pings with its announcement.
async fn gateway(register: &Running, instance: &str) -> Peer {
    let mut peer = register.peer().await;
    peer.say(format!(
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
async fn second_gateway_is_refused_with_the_reason_and_no_worker_hears_of_it() {
    let register = Running::start(KEY, Duration::ZERO);
    let mut first = gateway(&register, "1a").await;
    assert_eq!(first.hears().await, PONG);
    let mut worker = register.worker(KEY).await;
    assert_eq!(worker.hears().await, list("1a"));
    for _ in 0..3 {
        let mut second = gateway(&register, "2b").await;
        if let Ok(probe) = tokio::time::timeout(support::MOMENT, first.hears()).await {
            assert_eq!(probe, PROBE);
            first.say("{\"event\":\"ping\"}\n").await;
        }
        let heard = String::from_utf8(second.hears_to_the_end().await).unwrap();
        let by = first.socket().local_addr().unwrap();
        assert_eq!(
            heard,
            format!("{{\"event\":\"refused\",\"reason\":\"address_taken\",\"by\":\"{by}\"}}\n"),
            "and no pong, which would say that it is announced"
        );
    }
    worker.hears_nothing().await;
    first.say(PING).await;
    assert_eq!(first.hears().await, PONG);
}

#[tokio::test]
async fn gateway_started_again_is_let_in_though_its_old_connection_is_half_dead() {
    let register = Running::start(KEY, Duration::ZERO);
    let mut old = gateway(&register, "1a").await;
    assert_eq!(old.hears().await, PONG);
    let mut worker = register.worker(KEY).await;
    assert_eq!(worker.hears().await, list("1a"));
    // The old connection stays open, and says nothing to the probe.
    let mut new = gateway(&register, "2b").await;
    assert_eq!(worker.hears().await, list("2b"));
    assert_eq!(new.hears().await, PONG);
    assert_eq!(old.hears().await, PROBE);
    // Found dead, it changes nothing.
    drop(old);
    worker.hears_at_last(&list("2b")).await;
    worker.hears_nothing().await;
    new.say(PING).await;
    assert_eq!(new.hears().await, PONG);
}

#[tokio::test]
async fn gateway_started_again_is_let_in_at_once_where_its_old_connection_is_found_dead() {
    let register = Running::start(KEY, Duration::from_secs(0));
    let mut worker = register.worker(KEY).await;
    worker.hears().await;
    for instance in ["1a", "2b", "3c"] {
        let mut gateway = gateway(&register, instance).await;
        assert_eq!(gateway.hears().await, PONG);
        worker.hears_at_last(&list(instance)).await;
        if instance != "3c" {
            drop(gateway);
        }
    }
}

#[tokio::test]
async fn gateways_of_php_that_announce_one_address_are_all_let_in() {
    let register = Running::start(KEY, Duration::ZERO);
    let mut twins = [
        register.gateway("10.0.0.1:2900", KEY).await,
        register.gateway("10.0.0.1:2900", KEY).await,
    ];
    for twin in &mut twins {
        twin.say(PING).await;
        assert_eq!(twin.hears().await, PONG);
    }
}
