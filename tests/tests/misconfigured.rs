//! Settings that cannot work together: what is said of them, and that nothing else suffers.

use std::{
    net::{Ipv6Addr, SocketAddr, TcpListener},
    time::Duration,
};

use suite_tests::{Browser, Php, Process, Suite, eventually, ports};
use tokio::time::sleep;

/// A gateway that announces the inner address of the first one of the suite.
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

/// The lines of a process that say that.
fn lines(process: &Process, text: &str) -> Vec<String> {
    process.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

#[tokio::test]
async fn two_workers_with_one_id_say_so_and_stay_away_for_a_while() {
    const TAKEN: &str = "another worker with this name and id";
    let suite = Suite::builder().gateways(1).logs("info").start().await;
    let mut first = worker(&suite, "first", "same");
    first.ready().await;
    let mut second = worker(&suite, "second", "same");
    second.ready().await;
    eventually("the first to say so", async || (!lines(&first, TAKEN).is_empty()).then_some(()))
        .await;
    let said = lines(&first, TAKEN).remove(0);
    assert!(said.contains("WARN") && said.contains("by=\"127.0.0.1:"), "{said}");
    let said = lines(&suite.gateways[0], "a newer worker replaces an older one").remove(0);
    assert!(said.contains("older=127.0.0.1:") && said.contains("newer=127.0.0.1:"), "{said}");
    // No more often than they wait in between: five to ten seconds, and then longer.
    sleep(Duration::from_secs(3)).await;
    let links = lines(&suite.gateways[0], "worker linked").len();
    assert!((2..=3).contains(&links), "{links}");
    // Clients are served by the one that is linked.
    let mut ann = suite.browser(0).await;
    ann.send("hello").await;
    assert_eq!(ann.hears_text().await, "hello");
}

#[tokio::test]
async fn worker_that_is_started_again_links_at_once() {
    let suite = Suite::builder().gateways(1).logs("info").start().await;
    let mut worker = worker(&suite, "worker", "same");
    worker.ready().await;
    for _ in 0..3 {
        worker.start_again().await;
    }
    let mut ann = suite.browser(0).await;
    ann.send("hello").await;
    assert_eq!(ann.hears_text().await, "hello");
    assert!(lines(&worker, "another worker").is_empty());
}

#[tokio::test]
async fn gateway_with_the_inner_address_of_another_is_refused_and_says_so() {
    const TAKEN: &str = "another gateway announces the same inner address";
    let mut suite = Suite::builder().gateways(1).workers(1).logs("info").start().await;
    let mut ann = suite.browser(0).await;
    let twin = twin(&suite);
    eventually("the second to say so", async || (!lines(&twin, TAKEN).is_empty()).then_some(()))
        .await;
    let said = lines(&twin, TAKEN).remove(0);
    let address = format!("address={}", suite.gateways[0].inner);
    assert!(said.contains("ERROR") && said.contains(&address), "{said}");
    assert!(said.contains("holder=127.0.0.1:"), "{said}");
    let said = lines(&suite.registers[0], "refused a gateway that announces").remove(0);
    assert!(said.contains("WARN") && said.contains("from=127.0.0.1:"), "{said}");
    assert!(said.contains("holder=127.0.0.1:") && said.contains("address="), "{said}");
    assert!(lines(&twin, "announced register").is_empty(), "{:?}", lines(&twin, "announced"));
    let lacks = twin.lacks().await.unwrap().join(" ");
    assert!(lacks.contains("another gateway has this inner address"), "{lacks}");
    // It is said once, however often it is tried.
    sleep(Duration::from_secs(4)).await;
    assert_eq!(lines(&twin, TAKEN).len(), 1);
    // Nobody else notices.
    ann.send("e hello").await;
    assert_eq!(ann.hears_text().await, "e hello");
    assert_eq!(lines(&suite.workers[0], "linked").len(), 1);
    // The second takes the address over once the first has left it.
    suite.gateways[0].stop().await;
    eventually("the second to be announced", async || {
        (!lines(&twin, "register is back").is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn gateway_that_is_started_again_is_let_in_at_once() {
    let mut suite = Suite::builder().gateways(1).workers(1).logs("info").start().await;
    for _ in 0..3 {
        // Killed, and started before anything has noticed.
        suite.gateways[0].start_again().await;
        let mut ann = suite.browser(0).await;
        ann.send("e hello").await;
        assert_eq!(ann.hears_text().await, "e hello");
    }
    assert!(lines(&suite.gateways[0], "another gateway").is_empty());
}

/// A gateway of the test's own, with these flags besides.
fn gateway(suite: &Suite, flags: &[&str]) -> (Process, SocketAddr) {
    let clients = ports::free();
    let listen = format!("ws://{clients}");
    let flags = [&["--listen", &listen], flags].concat();
    (suite.start_process("gateway", "gateway", &flags), clients)
}

#[tokio::test]
async fn gateway_whose_address_leads_nowhere_says_that_clients_wait() {
    let suite = Suite::builder().gateways(0).logs("info").start().await;
    let worker = worker(&suite, "worker", "1");
    let (nowhere, lan) = (ports::free(), ports::free().to_string());
    let port = nowhere.port().to_string();
    let flags = ["--lan-ip", "127.0.0.1", "--lan-port", &port, "--lan-listen", &lan];
    let (mut gateway, clients) = gateway(&suite, &flags);
    gateway.ready().await;
    let _waits = Browser::open(clients, "/").await;
    let said = eventually("the gateway to say so", async || {
        lines(&gateway, "no worker has linked yet; clients wait").into_iter().next()
    })
    .await;
    let address = format!("address={nowhere}");
    assert!(said.contains("WARN") && said.contains("clients=1"), "{said}");
    assert!(said.contains(&address), "{said}");
    let said = lines(&worker, "cannot link").remove(0);
    assert!(said.contains(&format!("gateway=\"{nowhere}\"")), "{said}");
}

#[tokio::test]
async fn gateway_that_cannot_bind_the_address_it_announces_names_the_flag_that_helps() {
    let suite = Suite::builder().gateways(0).logs("info").start().await;
    // Reserved for documents; no host has it.
    let (mut gateway, _) = gateway(&suite, &["--lan-ip", "192.0.2.1", "--lan-port", "2900"]);
    assert_eq!(gateway.ended().await.code(), Some(1));
    let log = gateway.log();
    assert!(log.contains("192.0.2.1:2900") && log.contains("--lan-listen"), "{log}");
}

#[tokio::test]
async fn php_worker_at_a_gateway_with_an_ipv6_address_is_warned_of() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return;
    }
    let suite = Suite::builder().gateways(0).logs("info").start().await;
    let inner = SocketAddr::from((Ipv6Addr::LOCALHOST, ports::free().port()));
    let port = inner.port().to_string();
    let (mut gateway, _) = gateway(&suite, &["--lan-ip", "::1", "--lan-port", &port]);
    gateway.ready().await;
    assert!(lines(&gateway, "IPv6").is_empty());
    let _php = Php::worker(inner, &suite.secret(), "worker:1").await;
    let said = eventually("the gateway to warn", async || {
        lines(&gateway, "a gateway with an IPv6 --lan-ip").into_iter().next()
    })
    .await;
    assert!(said.contains("WARN") && said.contains(&format!("address={inner}")), "{said}");
}

#[tokio::test]
async fn gateway_whose_address_leads_nowhere_makes_questions_fail_for_no_longer_than_the_grace() {
    const LEFT_OUT: &str = "gateway was never linked; questions to all gateways leave it out";
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
    assert!(ann.hears_text().await.contains("ann"));
    let (nowhere, lan) = (ports::free(), ports::free().to_string());
    let port = nowhere.port().to_string();
    let flags = ["--lan-ip", "127.0.0.1", "--lan-port", &port, "--lan-listen", &lan];
    let (mut gateway, _) = gateway(&suite, &flags);
    gateway.ready().await;
    let worker = &suite.workers[0];
    let said =
        eventually("the worker to say so", async || lines(worker, LEFT_OUT).into_iter().next())
            .await;
    assert!(said.contains("WARN") && said.contains(&format!("gateway=\"{nowhere}\"")), "{said}");
    // It asks who is in the room for whoever comes in.
    let mut bob = suite.browser(0).await;
    bob.send(r#"{"type":"login","client_name":"bob","room_id":1}"#).await;
    let welcome = bob.hears_text().await;
    assert!(welcome.contains("ann") && welcome.contains("bob"), "{welcome}");
    assert!(worker.metric("worker_queries_partial_total").await >= Some(1.0));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(lines(worker, LEFT_OUT).len(), 1, "once, however often it is tried");
}
