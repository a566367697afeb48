//! Log lines for operators: a planned shutdown, an outage and its recovery are each logged once.

use std::time::Duration;

use suite_tests::{Suite, process::Signal};
use tokio::time::sleep;

#[tokio::test]
async fn draining_gateway_is_logged_as_planned_by_every_process() {
    let mut suite = Suite::builder().gateways(2).workers(2).logs("info").start().await;
    let mut browsers = Vec::new();
    for _ in 0..4 {
        let mut browser = suite.browser(1).await;
        browser.exchange("e hello", "e hello").await;
        browsers.push(browser);
    }
    suite.gateways[1].signal(Signal::Term);
    for browser in &mut browsers {
        assert_eq!(browser.closed().await, Some(1001));
    }
    assert!(suite.gateways[1].wait_exit().await.success());

    assert!(suite.gateways[1].wait_for_log(&["closing clients"]).await.contains("clients=4"));
    let drained = suite.gateways[1].wait_for_log(&["drained"]).await;
    assert!(drained.contains("clients=4 notified=4 left=0 aborted=0"), "{drained}");
    let left = suite.registers[0].wait_for_log(&["gateway left (drained)"]).await;
    let inner = suite.gateways[1].inner;
    assert!(left.contains("INFO") && left.contains(&format!("address=\"{inner}\"")), "{left}");
    for worker in &suite.workers {
        let draining = worker.wait_for_log(&["gateway draining"]).await;
        assert!(draining.contains(&format!("gateway={inner} clients=4")), "{draining}");
        assert!(worker.wait_for_log(&["gateway left"]).await.contains(&format!("gateway={inner}")));
    }
    // Longer than registers and workers wait for a disconnected gateway.
    sleep(Duration::from_secs(12)).await;
    for process in suite.workers.iter().chain(&suite.registers) {
        for level in ["WARN", "ERROR"] {
            let logged = process.log_lines(level);
            assert!(logged.is_empty(), "{}: {logged:?}", process.name);
        }
    }
}

#[tokio::test]
async fn killed_gateway_is_logged_as_lost_with_its_clients() {
    let mut suite = Suite::builder().gateways(2).workers(1).logs("info").start().await;
    let mut browsers = [suite.browser(1).await, suite.browser(1).await];
    for browser in &mut browsers {
        browser.exchange("e hello", "e hello").await;
    }
    suite.gateways[1].kill();
    let gateway = format!("gateway={}", suite.gateways[1].inner);
    let lost = suite.registers[0].wait_for_log(&["gateway lost"]).await;
    assert!(lost.contains("WARN"), "{lost}");
    let lost = suite.workers[0].wait_for_log(&["link lost"]).await;
    assert!(lost.contains("WARN") && lost.contains(&gateway), "{lost}");
    let lost = suite.workers[0].wait_for_log(&["gateway declared dead"]).await;
    assert!(lost.contains("WARN") && lost.contains(&gateway), "{lost}");
    let closing = suite.workers[0].wait_for_log(&["closing clients of a dead gateway"]).await;
    assert!(closing.contains("WARN") && closing.contains("clients=2"), "{closing}");
    assert!(suite.workers[0].log_lines("gateway left").is_empty());
}

#[tokio::test]
async fn gateway_without_worker_logs_loss_and_recovery_once() {
    const NO_WORKER: &str = "no worker is linked any more";
    let mut suite = Suite::builder()
        .gateways(1)
        .workers(2)
        .logs("info")
        .gateway_flag("--no-worker-timeout", "2")
        .start()
        .await;
    let mut browsers = Vec::new();
    for _ in 0..3 {
        let mut browser = suite.browser(0).await;
        browser.exchange("e hello", "e hello").await;
        browsers.push(browser);
    }
    suite.workers[0].kill();
    suite.gateways[0].wait_for_log(&["worker disconnected"]).await;
    assert!(suite.gateways[0].log_lines(NO_WORKER).is_empty(), "another is linked");
    suite.workers[1].kill();
    let lost = suite.gateways[0].wait_for_log(&[NO_WORKER]).await;
    assert!(lost.contains("WARN") && lost.contains("clients=3"), "{lost}");
    for browser in &mut browsers {
        browser.send("e hello").await;
        assert_eq!(browser.closed().await, Some(1013));
    }
    suite.gateways[0].wait_for_log(&["closed clients because no worker took their events"]).await;
    // It is logged at most once a second, with a count.
    sleep(Duration::from_millis(1500)).await;
    let closed = suite.gateways[0].log_lines("closed clients because no worker took their events");
    let count = |line: &String| {
        let (_, count) = line.split_once("clients=").expect("a count");
        count.trim().parse::<u32>().expect("a number")
    };
    assert_eq!(closed.iter().map(count).sum::<u32>(), 3, "{closed:?}");
    suite.workers[0].restart().await;
    assert!(suite.gateways[0].wait_for_log(&["a worker is linked again"]).await.contains("INFO"));
    assert_eq!(suite.gateways[0].log_lines(NO_WORKER).len(), 1);
}

#[tokio::test]
async fn register_outage_and_recovery_are_logged_once() {
    const AWAY: &str = "register unreachable";
    const BACK: &str = "register is back";
    let mut suite = Suite::builder().gateways(1).workers(1).logs("info").start().await;
    assert_eq!(suite.gateways[0].log_lines("announced").len(), 1);
    assert_eq!(suite.workers[0].log_lines("following").len(), 1);
    suite.registers[0].kill();
    for process in [&*suite.gateways[0], &suite.workers[0]] {
        assert!(process.wait_for_log(&[AWAY]).await.contains("WARN"));
    }
    // Many attempts are made in this time.
    sleep(Duration::from_secs(3)).await;
    suite.registers[0].restart().await;
    for process in [&*suite.gateways[0], &suite.workers[0]] {
        assert!(process.wait_for_log(&[BACK]).await.contains("INFO"));
        assert_eq!(process.log_lines(AWAY).len(), 1, "{}", process.name);
    }
    // A flapping register is not logged each time.
    for _ in 0..2 {
        suite.registers[0].restart().await;
        sleep(Duration::from_secs(2)).await;
    }
    for process in [&*suite.gateways[0], &suite.workers[0]] {
        assert_eq!(process.log_lines(AWAY).len(), 1, "{}", process.name);
        assert_eq!(process.log_lines(BACK).len(), 1, "{}", process.name);
    }
}

#[tokio::test]
async fn gateway_with_wrong_secret_never_logs_that_it_is_announced() {
    let suite = Suite::builder().gateways(0).logs("info").start().await;
    let flags = ["--listen", "ws://127.0.0.1:0", "--lan-port", "0", "--secret-key", "another"];
    let gateway = suite.start_process("wrong-secret", "gateway", &flags);
    let away = gateway.wait_for_log(&["register unreachable"]).await;
    assert!(away.contains("the secret keys may differ"), "{away}");
    sleep(Duration::from_secs(3)).await;
    assert!(gateway.log_lines("announced").is_empty());
    assert_eq!(gateway.log_lines("register unreachable").len(), 1);
}

#[tokio::test]
async fn stalled_worker_among_others_is_logged_and_counted() {
    let mut suite = Suite::builder()
        .gateways(1)
        .workers(2)
        .logs("info")
        .gateway_flag("--peer-timeout", "6")
        .start()
        .await;
    assert_eq!(suite.gateways[0].metric("pushsuite_gateway_workers_late").await, Some(0.0));
    suite.workers[0].pause().await;
    let late = suite.gateways[0].wait_for_log(&["worker is unresponsive"]).await;
    assert!(
        late.contains("WARN") && late.contains("worker=") && late.contains("remote="),
        "{late}"
    );
    assert_eq!(suite.gateways[0].metric("pushsuite_gateway_workers_late").await, Some(1.0));
    suite.workers[0].resume();
    suite.gateways[0].wait_for_log(&["worker responds again"]).await;
    assert_eq!(suite.gateways[0].metric("pushsuite_gateway_workers_late").await, Some(0.0));
}
