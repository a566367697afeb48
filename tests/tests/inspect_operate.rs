//! Requests of operators: a gateway drains, changes its log filter, and shows its settings.

use push_suite_cluster::Error;
use suite_tests::{Scene, Suite, eventually, with_timeout};

#[tokio::test]
async fn drained_gateway_closes_its_clients_and_exits_and_others_stay() {
    let (mut scene, _workers) = Scene::with_workers(1).await;
    let gateway = scene.suite.gateways[0].inner;
    assert_eq!(scene.cluster.drain(gateway).await.unwrap(), 2);
    for at in [0, 2] {
        let (code, reason) = scene.browsers[at].receive_close().await.unwrap();
        assert_eq!(code, 1001);
        assert!(reason.starts_with("retry-after="), "{reason}");
    }
    let status = with_timeout("the gateway to exit", scene.suite.gateways[0].wait_exit()).await;
    assert_eq!(status.code(), Some(0));
    assert!(!scene.suite.gateways[0].log_lines("a peer asks this gateway to drain").is_empty());
    scene.cluster.send_to_client(scene.ids[1], "still here").await.unwrap();
    assert_eq!(scene.browsers[1].receive_text().await, "still here");
    let again = eventually("it is gone", async || scene.cluster.drain(gateway).await.err()).await;
    assert!(matches!(again, Error::Unreachable { .. }), "{again}");
}

#[tokio::test]
async fn gateway_that_drains_says_so() {
    let (mut scene, _workers) = Scene::with_workers(1).await;
    let gateway = scene.suite.gateways[1].inner;
    // It reads no close frame, so the gateway waits for it.
    scene.cluster.drain(gateway).await.unwrap();
    eventually("the gateway says that it drains", async || {
        let reports = scene.cluster.gateways().await.unwrap();
        let report = reports.into_iter().find(|report| report.address == gateway.to_string())?;
        let status = report.status.unwrap();
        let is_named = status.not_ready.iter().any(|reason| reason.contains("draining"));
        (status.draining && is_named).then_some(())
    })
    .await;
    scene.browsers[1].receive_close().await.unwrap();
}

#[tokio::test]
async fn log_filter_is_changed_while_the_gateway_runs() {
    let suite = Suite::builder().gateways(1).logs("info").start().await;
    let (cluster, gateway) = (suite.cluster().await, suite.gateways[0].inner);
    let _worker = suite.worker_link(0, "w:1").await;
    assert_eq!(cluster.log_filter(gateway).await.unwrap(), "info");
    let connected = || suite.gateways[0].log_lines("client connected").len();
    let _first = suite.browser(0).await;
    assert_eq!(cluster.set_log_filter(gateway, "warn,gateway=debug").await.unwrap(), "info");
    let _second = suite.browser(0).await;
    eventually("the second client is logged", async || (connected() == 1).then_some(())).await;
    assert_eq!(cluster.log_filter(gateway).await.unwrap(), "warn,gateway=debug");
    let error = cluster.set_log_filter(gateway, "gateway=loud").await.unwrap_err();
    assert!(matches!(&error, Error::LogFilter { reason, .. } if !reason.is_empty()), "{error}");
    assert_eq!(cluster.log_filter(gateway).await.unwrap(), "warn,gateway=debug");
    assert_eq!(cluster.set_log_filter(gateway, "info").await.unwrap(), "warn,gateway=debug");
}

#[tokio::test]
async fn settings_in_effect_are_shown_without_the_secret() {
    let suite = Suite::builder().gateways(1).gateway_flag("--event-ring", "77").start().await;
    let (cluster, gateway) = (suite.cluster().await, suite.gateways[0].inner);
    let settings = cluster.gateway_settings(gateway).await.unwrap();
    assert!(settings.lines().any(|line| line.starts_with("event_ring = 77")), "{settings}");
    assert!(settings.lines().any(|line| line.starts_with("max_message_size = 1048576")));
    let secret = suite.env();
    for (_, value) in secret.iter().filter(|(name, _)| name == "GW_SECRET_KEY") {
        assert!(!settings.contains(value), "{settings}");
    }
    assert!(secret.iter().any(|(name, _)| name == "GW_SECRET_KEY"));
}
