//! Conflicting settings of several processes: they are logged and harm nothing else.

use std::{
    net::{Ipv6Addr, SocketAddr, TcpListener},
    time::Duration,
};

use suite_tests::{Browser, Php, Process, Suite, eventually, ports};
use tokio::time::sleep;

/// A gateway that announces the inner address of the first gateway of the suite.
fn twin(suite: &Suite) -> Process {
    let inner = suite.gateways[0].inner;
    let (listen, port) = (format!("ws://{}", ports::free()), inner.port().to_string());
    let (ip, lan) = (inner.ip().to_string(), ports::free().to_string());
    let flags = ["--listen", &listen, "--lan-ip", &ip, "--lan-port", &port, "--lan-listen", &lan];
    suite.start_process("twin", "gateway", &flags)
}

fn worker(suite: &Suite, name: &str, id: &str) -> Process {
    suite.start_process(name, "business-worker", &["--app", "echo", "--id", id])
}

#[tokio::test]
async fn workers_with_the_same_id_log_it_and_back_off() {
    const TAKEN: &str = "another worker with this name and id";
    let suite = Suite::builder().gateways(1).logs("info").start().await;
    let mut first = worker(&suite, "first", "same");
    first.ready().await;
    let mut second = worker(&suite, "second", "same");
    second.ready().await;
    eventually("the first worker to log it", async || {
        (!first.log_lines(TAKEN).is_empty()).then_some(())
    })
    .await;
    let line = first.log_lines(TAKEN).remove(0);
    assert!(line.contains("WARN") && line.contains("by=\"127.0.0.1:"), "{line}");
    let line = suite.gateways[0].wait_for_log(&["a newer worker replaces an older one"]).await;
    assert!(line.contains("older=127.0.0.1:") && line.contains("newer=127.0.0.1:"), "{line}");
    // No more often than their backoff allows: five to ten seconds, then longer.
    sleep(Duration::from_secs(3)).await;
    let links = suite.gateways[0].log_lines("worker linked").len();
    assert!((2..=3).contains(&links), "{links}");
    // The linked worker serves clients.
    let mut ann = suite.browser(0).await;
    ann.send("hello").await;
    assert_eq!(ann.receive_text().await, "hello");
}

#[tokio::test]
async fn restarted_worker_links_at_once() {
    let suite = Suite::builder().gateways(1).logs("info").start().await;
    let mut worker = worker(&suite, "worker", "same");
    worker.ready().await;
    for _ in 0..3 {
        worker.restart().await;
    }
    let mut ann = suite.browser(0).await;
    ann.send("hello").await;
    assert_eq!(ann.receive_text().await, "hello");
    assert!(worker.log_lines("another worker").is_empty());
}

#[tokio::test]
async fn gateway_with_duplicate_inner_address_is_refused_and_logs_it() {
    const TAKEN: &str = "another gateway announces the same inner address";
    let mut suite = Suite::builder().gateways(1).workers(1).logs("info").start().await;
    let mut ann = suite.browser(0).await;
    let twin = twin(&suite);
    eventually("the second gateway to log it", async || {
        (!twin.log_lines(TAKEN).is_empty()).then_some(())
    })
    .await;
    let line = twin.log_lines(TAKEN).remove(0);
    let address = format!("address={}", suite.gateways[0].inner);
    assert!(line.contains("ERROR") && line.contains(&address), "{line}");
    assert!(line.contains("holder=127.0.0.1:"), "{line}");
    let line = suite.registers[0].wait_for_log(&["refused a gateway that announces"]).await;
    assert!(line.contains("WARN") && line.contains("from=127.0.0.1:"), "{line}");
    assert!(line.contains("holder=127.0.0.1:") && line.contains("address="), "{line}");
    assert!(twin.log_lines("announced register").is_empty(), "{:?}", twin.log_lines("announced"));
    let reasons = twin.unready_reasons().await.unwrap().join(" ");
    assert!(reasons.contains("another gateway has this inner address"), "{reasons}");
    // It is logged once for all attempts.
    sleep(Duration::from_secs(4)).await;
    assert_eq!(twin.log_lines(TAKEN).len(), 1);
    // Other processes are not affected.
    ann.send("e hello").await;
    assert_eq!(ann.receive_text().await, "e hello");
    assert_eq!(suite.workers[0].log_lines("linked").len(), 1);
    // The second takes over the address once the first has released it.
    suite.gateways[0].stop().await;
    eventually("the second to be announced", async || {
        (!twin.log_lines("register is back").is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn restarted_gateway_is_accepted_at_once() {
    let mut suite = Suite::builder().gateways(1).workers(1).logs("info").start().await;
    for _ in 0..3 {
        // Killed and restarted before any process notices.
        suite.gateways[0].restart().await;
        let mut ann = suite.browser(0).await;
        ann.send("e hello").await;
        assert_eq!(ann.receive_text().await, "e hello");
    }
    assert!(suite.gateways[0].log_lines("another gateway").is_empty());
}

/// Starts an extra gateway with these additional flags.
fn gateway(suite: &Suite, flags: &[&str]) -> (Process, SocketAddr) {
    let clients = ports::free();
    let listen = format!("ws://{clients}");
    let flags = [&["--listen", &listen], flags].concat();
    (suite.start_process("gateway", "gateway", &flags), clients)
}

#[tokio::test]
async fn gateway_with_unreachable_address_logs_that_clients_wait() {
    let suite = Suite::builder().gateways(0).logs("info").start().await;
    let worker = worker(&suite, "worker", "1");
    let (nowhere, lan) = (ports::free(), ports::free().to_string());
    let port = nowhere.port().to_string();
    let flags = ["--lan-ip", "127.0.0.1", "--lan-port", &port, "--lan-listen", &lan];
    let (mut gateway, clients) = gateway(&suite, &flags);
    gateway.ready().await;
    let _waits = Browser::open(clients, "/").await;
    let line = eventually("the gateway to log it", async || {
        gateway.log_lines("no worker has linked yet; clients wait").into_iter().next()
    })
    .await;
    let address = format!("address={nowhere}");
    assert!(line.contains("WARN") && line.contains("clients=1"), "{line}");
    assert!(line.contains(&address), "{line}");
    let line = worker.wait_for_log(&["cannot link"]).await;
    assert!(line.contains(&format!("gateway=\"{nowhere}\"")), "{line}");
}

#[tokio::test]
async fn gateway_that_cannot_bind_its_announced_address_names_the_flag() {
    let suite = Suite::builder().gateways(0).logs("info").start().await;
    // Reserved for documentation; no host has this address.
    let (mut gateway, _) = gateway(&suite, &["--lan-ip", "192.0.2.1", "--lan-port", "2900"]);
    assert_eq!(gateway.wait_exit().await.code(), Some(1));
    let log = gateway.log();
    assert!(log.contains("192.0.2.1:2900") && log.contains("--lan-listen"), "{log}");
}

#[tokio::test]
async fn php_worker_at_an_ipv6_gateway_is_logged_as_a_warning() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return;
    }
    let suite = Suite::builder().gateways(0).logs("info").start().await;
    let inner = SocketAddr::from((Ipv6Addr::LOCALHOST, ports::free().port()));
    let port = inner.port().to_string();
    let (mut gateway, _) = gateway(&suite, &["--lan-ip", "::1", "--lan-port", &port]);
    gateway.ready().await;
    assert!(gateway.log_lines("IPv6").is_empty());
    let _php = Php::worker(inner, &suite.secret(), "worker:1").await;
    let line = eventually("the gateway to log a warning", async || {
        gateway.log_lines("a gateway with an IPv6 --lan-ip").into_iter().next()
    })
    .await;
    assert!(line.contains("WARN") && line.contains(&format!("address={inner}")), "{line}");
}

#[tokio::test]
async fn gateway_with_unreachable_address_fails_queries_no_longer_than_the_grace() {
    const LEFT_OUT: &str = "gateway was never linked; queries to all gateways skip it";
    let suite = Suite::builder()
        .gateways(1)
        .workers(1)
        .app("chat")
        .worker_flag("--gateway-grace", "2")
        .logs("info")
        .start()
        .await;
    let mut ann = suite.browser(0).await;
    ann.send(r#"{"type":"login","client_name":"ann","room_id":1}"#).await;
    assert!(ann.receive_text().await.contains("ann"));
    let (nowhere, lan) = (ports::free(), ports::free().to_string());
    let port = nowhere.port().to_string();
    let flags = ["--lan-ip", "127.0.0.1", "--lan-port", &port, "--lan-listen", &lan];
    let (mut gateway, _) = gateway(&suite, &flags);
    gateway.ready().await;
    let worker = &suite.workers[0];
    let line =
        eventually("the worker to log it", async || worker.log_lines(LEFT_OUT).into_iter().next())
            .await;
    assert!(line.contains("WARN") && line.contains(&format!("gateway=\"{nowhere}\"")), "{line}");
    // The app queries the members of the room at each login.
    let mut bob = suite.browser(0).await;
    bob.send(r#"{"type":"login","client_name":"bob","room_id":1}"#).await;
    let welcome = bob.receive_text().await;
    assert!(welcome.contains("ann") && welcome.contains("bob"), "{welcome}");
    assert!(worker.metric("pushsuite_worker_queries_partial_total").await >= Some(1.0));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(worker.log_lines(LEFT_OUT).len(), 1, "logged once for all attempts");
}
