//! Host names as addresses, and both versions of IP.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;

use suite_tests::{Browser, Conditions, Suite, eventually, ports, process::Process};
use tempfile::TempDir;

/// Starts a gateway with these flags in a suite with a register and a worker.
async fn gateway(suite: &Suite, flags: &[&str]) -> (Process, TempDir) {
    let mut args: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    args.extend(["--threads".to_owned(), "1".to_owned()]);
    let logs = tempfile::tempdir().unwrap();
    let mut gateway =
        Process::start("gateway", "gateway", args, suite.env(), logs.path(), Conditions::default());
    gateway.ready().await;
    eventually("the worker to be linked", async || {
        gateway.unready_reasons().await?.is_empty().then_some(())
    })
    .await;
    (gateway, logs)
}

async fn echo(gateway: SocketAddr) {
    let mut client = Browser::open(gateway, "/").await;
    client.exchange("e", "e").await;
}

#[tokio::test]
async fn gateway_with_host_names_is_reached_at_the_resolved_addresses() {
    let suite = Suite::builder().gateways(1).workers(1).start().await;
    let (clients, inner) = (ports::free(), ports::free());
    let listen = format!("ws://localhost:{}", clients.port());
    let register = format!("localhost:{}", suite.register_addrs[0].port());
    let port = inner.port().to_string();
    let flags = ["--listen", &listen, "--lan-ip", "localhost", "--lan-port", &port];
    let (gateway, _logs) =
        gateway(&suite, &[&flags[..], &["--register-address", &register]].concat()).await;
    echo(clients).await;
    // It announces an address that can be compared, not a name.
    gateway.wait_for_log(&[&format!("address={inner}")]).await;
}

#[tokio::test]
async fn wildcard_listeners_of_ipv4_and_ipv6_share_a_port() {
    let suite = Suite::builder().gateways(1).workers(1).start().await;
    let (clients, inner) = (ports::free(), ports::free());
    let (port, inner_port) = (clients.port(), inner.port().to_string());
    let (v4, v6) = (format!("ws://0.0.0.0:{port}"), format!("ws://[::]:{port}"));
    let register = suite.register_addrs[0].to_string();
    let flags = ["--lan-port", &inner_port, "--register-address", &register];
    for order in [["--listen", &v4, "--listen", &v6], ["--listen", &v6, "--listen", &v4]] {
        let (mut gateway, _logs) = gateway(&suite, &[&flags[..], &order].concat()).await;
        echo(clients).await;
        echo(([0, 0, 0, 0, 0, 0, 0, 1], port).into()).await;
        gateway.stop().await;
    }
    // An IPv6 wildcard listener alone accepts both.
    let alone = ["--listen", &v6];
    let _gateway = gateway(&suite, &[&flags[..], &alone].concat()).await;
    echo(clients).await;
    echo(([0, 0, 0, 0, 0, 0, 0, 1], port).into()).await;
}
