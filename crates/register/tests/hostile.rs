//! Malformed input costs at most the connection that sent it.

mod support;

use std::time::Duration;

use support::{PATIENCE, Peer, Running, broadcast};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

const KEY: &str = "s3cret";

/// Sends `bytes` unauthenticated and as a worker, while another worker observes the list.
async fn costs_only_its_own_connection(bytes: &[u8]) {
    let register = Running::start(KEY, Duration::ZERO);
    let mut observer = register.worker(KEY).await;
    assert_eq!(observer.receive().await, broadcast(&[]));
    for mut peer in [register.peer().await, register.worker(KEY).await] {
        // The register may close while we still write.
        let _ =
            timeout(PATIENCE, write(&mut peer, bytes)).await.expect("the register reads or closes");
        closes(peer).await;
    }
    observer.receives_nothing().await;
    let gateway = register.gateway("a:1", KEY).await;
    assert_eq!(observer.receive().await, broadcast(&["a:1"]));
    drop(gateway);
    assert_eq!(observer.receive().await, broadcast(&[]));
}

async fn write(peer: &mut Peer, bytes: &[u8]) -> std::io::Result<()> {
    peer.socket().write_all(bytes).await
}

/// Checks that the register closes the connection: by EOF or reset, with or without a response.
async fn closes(peer: Peer) {
    let mut socket = peer.into_socket();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("closed");
    assert!(answer.len() <= 200 + 64 * 1024, "{}", answer.len());
}

#[tokio::test]
async fn flood_without_line_feed_costs_only_its_connection() {
    costs_only_its_own_connection(&vec![b'a'; 4 << 20]).await;
}

#[tokio::test]
async fn line_over_limit_costs_only_its_connection() {
    let mut line = vec![b' '; 64 * 1024 + 1];
    line.push(b'\n');
    costs_only_its_own_connection(&line).await;
}

#[tokio::test]
async fn line_of_exactly_the_limit_is_read() {
    let register = Running::start(KEY, Duration::ZERO);
    let mut peer = register.peer().await;
    let mut line = support::subscribe(KEY).trim_end().as_bytes().to_vec();
    line.resize(64 * 1024, b' ');
    line.push(b'\n');
    peer.send(&line).await;
    assert_eq!(peer.receive().await, broadcast(&[]));
}

#[tokio::test]
async fn json_nested_100_000_deep_costs_only_its_connection() {
    for open in ["[", "{\"event\":", "{\"event\":["] {
        costs_only_its_own_connection(format!("{}\n", open.repeat(100_000)).as_bytes()).await;
    }
}

#[tokio::test]
async fn json_nested_to_line_limit_costs_only_its_connection() {
    for open in ["[", "{\"event\":", "{\"x\":[", "{\"event\":[", "{\"known\":[["] {
        let line = format!("{}\n", open.repeat(60_000 / open.len()));
        costs_only_its_own_connection(line.as_bytes()).await;
    }
}

#[tokio::test]
async fn non_text_bytes_cost_only_their_connection() {
    costs_only_its_own_connection(b"\xff\xfe\x00\x80\n").await;
    costs_only_its_own_connection(b"{\"event\":\"pi\xffng\"}\n").await;
    costs_only_its_own_connection(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n").await;
    costs_only_its_own_connection(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
}

#[tokio::test]
async fn out_of_range_numbers_cost_only_their_connection() {
    for number in ["1e999999999", "-1e999", "99999999999999999999999999999999", "0.0000001e-99"] {
        let line = format!("{{\"event\":{number},\"secret_key\":{number}}}\n");
        costs_only_its_own_connection(line.as_bytes()).await;
    }
}

#[tokio::test]
async fn valid_line_does_not_excuse_invalid_line() {
    let line = format!("{{\"event\":\"ping\"}}\n{}\n", "{\"event\":\"x\"}");
    costs_only_its_own_connection(line.as_bytes()).await;
}

#[tokio::test]
async fn overlong_address_costs_only_its_connection() {
    let line = format!(
        "{{\"event\":\"gateway_connect\",\"secret_key\":\"{KEY}\",\"address\":\"{}\"}}\n",
        "a".repeat(256)
    );
    costs_only_its_own_connection(line.as_bytes()).await;
}

#[tokio::test]
async fn idle_unauthenticated_connections_do_not_block_workers() {
    let register = Running::start(KEY, Duration::ZERO);
    let mut unauthenticated = Vec::new();
    for _ in 0..300 {
        unauthenticated.push(register.peer().await);
    }
    let mut worker = register.worker(KEY).await;
    assert_eq!(worker.receive().await, broadcast(&[]));
    drop(unauthenticated);
    worker.receives_nothing().await;
}

/// One change is one list per worker. Two hundred concurrent changes are one or a few lists.
#[tokio::test]
async fn concurrent_announcements_do_not_close_reading_worker() {
    const GATEWAYS: usize = 200;
    let register = Running::start(KEY, Duration::ZERO);
    let mut worker = register.worker(KEY).await;
    assert_eq!(worker.receive().await, broadcast(&[]));
    let mut gateways = Vec::new();
    for _ in 0..GATEWAYS {
        let mut gateway = register.peer().await;
        gateway.send("{\"event\":\"ping\"}\n").await;
        gateways.push(gateway.into_socket());
    }
    // Without a pause, so that the register reads all of them before it writes.
    for (n, gateway) in gateways.iter().enumerate() {
        let line = format!(
            "{{\"event\":\"gateway_connect\",\"address\":\"a:{}\",\"secret_key\":\"{KEY}\"}}\n",
            n + 1
        );
        assert_eq!(gateway.try_write(line.as_bytes()).unwrap(), line.len());
    }
    loop {
        let line = worker.receive().await;
        assert!(!line.is_empty(), "the worker is closed");
        if line.matches("a:").count() == GATEWAYS {
            break;
        }
    }
    worker.receives_nothing().await;
}

#[tokio::test]
async fn gateway_with_invalid_address_is_refused_and_not_listed() {
    let register = Running::start(KEY, Duration::ZERO);
    let mut worker = register.worker(KEY).await;
    assert_eq!(worker.receive().await, broadcast(&[]));
    for address in [
        "\\u001b[31mred\\u001b[0m:2900",
        "10.0.0.1:2900\\r\\nFAKE ERROR",
        "10.0.0.1:29\\u000000",
        "a b:2900",
        "\\u202e10.0.0.1:2900",
        "10.0.0.1",
        "10.0.0.1:",
        ":2900",
        "10.0.0.1:0",
        "10.0.0.1:65536",
    ] {
        let mut gateway = register.gateway(address, KEY).await;
        gateway.is_closed_without_response().await;
    }
    worker.receives_nothing().await;
    for address in ["10.0.0.1:2900", "[::1]:2900", "gateway_1.example:2900"] {
        let gateway = register.gateway(address, KEY).await;
        assert_eq!(worker.receive().await, broadcast(&[address]));
        drop(gateway);
        assert_eq!(worker.receive().await, broadcast(&[]));
    }
}
