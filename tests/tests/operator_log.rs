//! What operators read of what happens: that something was planned, that something is missing, and that it
//! is back; each once.

use std::time::Duration;

use suite_tests::{Browser, Process, Suite, process::Signal};
use tokio::time::sleep;

/// The lines of a process that say that.
fn lines(process: &Process, text: &str) -> Vec<String> {
    process.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

async fn echoes(browser: &mut Browser) {
    browser.send("e hello").await;
    assert_eq!(browser.hears_text().await, "e hello");
}

#[tokio::test]
async fn gateway_that_drains_is_logged_as_planned_by_all() {
    let mut suite = Suite::builder().gateways(2).workers(2).logs("info").start().await;
    let mut browsers = Vec::new();
    for _ in 0..4 {
        let mut browser = suite.browser(1).await;
        echoes(&mut browser).await;
        browsers.push(browser);
    }
    suite.gateways[1].signal(Signal::Term);
    for browser in &mut browsers {
        assert_eq!(browser.ends().await, Some(1001));
    }
    assert!(suite.gateways[1].ended().await.success());

    assert!(suite.gateways[1].logs(&["closing clients"]).await.contains("clients=4"));
    let drained = suite.gateways[1].logs(&["drained"]).await;
    assert!(drained.contains("clients=4 told=4 left=0 cut=0"), "{drained}");
    let left = suite.registers[0].logs(&["gateway left (drained)"]).await;
    let inner = suite.gateways[1].inner;
    assert!(left.contains("INFO") && left.contains(&format!("address=\"{inner}\"")), "{left}");
    for worker in &suite.workers {
        let draining = worker.logs(&["gateway draining"]).await;
        assert!(draining.contains(&format!("gateway={inner} clients=4")), "{draining}");
        assert!(worker.logs(&["gateway left"]).await.contains(&format!("gateway={inner}")));
    }
    // Longer than registers and workers wait with a gateway that is gone.
    sleep(Duration::from_secs(12)).await;
    for process in suite.workers.iter().chain(&suite.registers) {
        for level in ["WARN", "ERROR"] {
            let said = lines(process, level);
            assert!(said.is_empty(), "{}: {said:?}", process.name);
        }
    }
}

#[tokio::test]
async fn gateway_that_is_killed_is_logged_as_lost_with_its_clients() {
    let mut suite = Suite::builder().gateways(2).workers(1).logs("info").start().await;
    let mut browsers = [suite.browser(1).await, suite.browser(1).await];
    for browser in &mut browsers {
        echoes(browser).await;
    }
    suite.gateways[1].kill();
    let gateway = format!("gateway={}", suite.gateways[1].inner);
    let lost = suite.registers[0].logs(&["gateway lost"]).await;
    assert!(lost.contains("WARN"), "{lost}");
    let lost = suite.workers[0].logs(&["link lost"]).await;
    assert!(lost.contains("WARN") && lost.contains(&gateway), "{lost}");
    let gone = suite.workers[0].logs(&["gateway gone"]).await;
    assert!(gone.contains("WARN") && gone.contains(&gateway), "{gone}");
    let closing = suite.workers[0].logs(&["closing clients of a gateway that is gone"]).await;
    assert!(closing.contains("WARN") && closing.contains("clients=2"), "{closing}");
    assert!(lines(&suite.workers[0], "gateway left").is_empty());
}

#[tokio::test]
async fn gateway_without_a_worker_says_so_once_and_when_one_is_back() {
    const GONE: &str = "no worker is linked any more";
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
        echoes(&mut browser).await;
        browsers.push(browser);
    }
    suite.workers[0].kill();
    suite.gateways[0].logs(&["worker gone"]).await;
    assert!(lines(&suite.gateways[0], GONE).is_empty(), "there is another");
    suite.workers[1].kill();
    let gone = suite.gateways[0].logs(&[GONE]).await;
    assert!(gone.contains("WARN") && gone.contains("clients=3"), "{gone}");
    for browser in &mut browsers {
        browser.send("e hello").await;
        assert_eq!(browser.ends().await, Some(1013));
    }
    suite.gateways[0].logs(&["closed clients since no worker took their events"]).await;
    // It is logged once a second, with how many there were.
    sleep(Duration::from_millis(1500)).await;
    let closed = lines(&suite.gateways[0], "closed clients since no worker took their events");
    let count = |line: &String| {
        let (_, count) = line.split_once("clients=").expect("a count");
        count.trim().parse::<u32>().expect("a number")
    };
    assert_eq!(closed.iter().map(count).sum::<u32>(), 3, "{closed:?}");
    suite.workers[0].start_again().await;
    assert!(suite.gateways[0].logs(&["a worker is linked again"]).await.contains("INFO"));
    assert_eq!(lines(&suite.gateways[0], GONE).len(), 1);
}

#[tokio::test]
async fn register_that_is_away_is_logged_once_and_when_it_is_back() {
    const AWAY: &str = "register unreachable";
    const BACK: &str = "register is back";
    let mut suite = Suite::builder().gateways(1).workers(1).logs("info").start().await;
    assert_eq!(lines(&suite.gateways[0], "announced").len(), 1);
    assert_eq!(lines(&suite.workers[0], "following").len(), 1);
    suite.registers[0].kill();
    for process in [&*suite.gateways[0], &suite.workers[0]] {
        assert!(process.logs(&[AWAY]).await.contains("WARN"));
    }
    // Many attempts are made in that time.
    sleep(Duration::from_secs(3)).await;
    suite.registers[0].start_again().await;
    for process in [&*suite.gateways[0], &suite.workers[0]] {
        assert!(process.logs(&[BACK]).await.contains("INFO"));
        assert_eq!(lines(process, AWAY).len(), 1, "{}", process.name);
    }
    // One that comes and goes is no news each time.
    for _ in 0..2 {
        suite.registers[0].start_again().await;
        sleep(Duration::from_secs(2)).await;
    }
    for process in [&*suite.gateways[0], &suite.workers[0]] {
        assert_eq!(lines(process, AWAY).len(), 1, "{}", process.name);
        assert_eq!(lines(process, BACK).len(), 1, "{}", process.name);
    }
}

#[tokio::test]
async fn gateway_with_a_wrong_secret_never_says_that_it_is_announced() {
    let suite = Suite::builder().gateways(0).logs("info").start().await;
    let flags = ["--listen", "ws://127.0.0.1:0", "--lan-port", "0", "--secret-key", "another"];
    let stranger = suite.start_process("stranger", "gateway", &flags);
    let away = stranger.logs(&["register unreachable"]).await;
    assert!(away.contains("do the two share a secret?"), "{away}");
    sleep(Duration::from_secs(3)).await;
    assert!(lines(&stranger, "announced").is_empty());
    assert_eq!(lines(&stranger, "register unreachable").len(), 1);
}

#[tokio::test]
async fn worker_that_stands_still_among_others_is_logged_and_counted() {
    let mut suite = Suite::builder()
        .gateways(1)
        .workers(2)
        .logs("info")
        .gateway_flag("--peer-timeout", "6")
        .start()
        .await;
    assert_eq!(suite.gateways[0].metric("gateway_workers_late").await, Some(0.0));
    suite.workers[0].pause().await;
    let late = suite.gateways[0].logs(&["worker is late to answer"]).await;
    assert!(
        late.contains("WARN") && late.contains("worker=") && late.contains("remote="),
        "{late}"
    );
    assert_eq!(suite.gateways[0].metric("gateway_workers_late").await, Some(1.0));
    suite.workers[0].go_on();
    suite.gateways[0].logs(&["worker answers again"]).await;
    assert_eq!(suite.gateways[0].metric("gateway_workers_late").await, Some(0.0));
}
