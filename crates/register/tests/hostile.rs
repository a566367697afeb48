//! Whatever a stranger sends costs at most its own connection.

mod support;

use std::time::Duration;

use support::{PATIENCE, Peer, Running, broadcast};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

const KEY: &str = "s3cret";

/// Tries `bytes` as a stranger and as a worker, while another worker looks on.
async fn costs_only_its_own_connection(bytes: &[u8]) {
    let register = Running::start(KEY, Duration::ZERO);
    let mut watcher = register.worker(KEY).await;
    assert_eq!(watcher.hears().await, broadcast(&[]));
    for mut peer in [register.peer().await, register.worker(KEY).await] {
        // The register may close while we still write.
        let _ =
            timeout(PATIENCE, write(&mut peer, bytes)).await.expect("it keeps reading or closes");
        ends(peer).await;
    }
    watcher.hears_nothing().await;
    let gateway = register.gateway("a:1", KEY).await;
    assert_eq!(watcher.hears().await, broadcast(&["a:1"]));
    drop(gateway);
    assert_eq!(watcher.hears().await, broadcast(&[]));
}

async fn write(peer: &mut Peer, bytes: &[u8]) -> std::io::Result<()> {
    peer.socket().write_all(bytes).await
}

/// Closed, by an end or by a reset; after an answer or without.
async fn ends(peer: Peer) {
    let mut socket = peer.into_socket();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("closed");
    assert!(answer.len() <= 200 + 64 * 1024, "{}", answer.len());
}

#[tokio::test]
async fn a_flood_without_a_line_feed() {
    costs_only_its_own_connection(&vec![b'a'; 4 << 20]).await;
}

#[tokio::test]
async fn a_line_over_the_limit() {
    let mut line = vec![b' '; 64 * 1024 + 1];
    line.push(b'\n');
    costs_only_its_own_connection(&line).await;
}

#[tokio::test]
async fn a_line_of_just_the_limit_is_read() {
    let register = Running::start(KEY, Duration::ZERO);
    let mut peer = register.peer().await;
    let mut line = support::ask(KEY).trim_end().as_bytes().to_vec();
    line.resize(64 * 1024, b' ');
    line.push(b'\n');
    peer.say(&line).await;
    assert_eq!(peer.hears().await, broadcast(&[]));
}

#[tokio::test]
async fn json_nested_a_hundred_thousand_deep() {
    for open in ["[", "{\"event\":", "{\"event\":["] {
        costs_only_its_own_connection(format!("{}\n", open.repeat(100_000)).as_bytes()).await;
    }
}

#[tokio::test]
async fn json_nested_as_deep_as_a_line_allows() {
    for open in ["[", "{\"event\":", "{\"x\":[", "{\"event\":[", "{\"known\":[["] {
        let line = format!("{}\n", open.repeat(60_000 / open.len()));
        costs_only_its_own_connection(line.as_bytes()).await;
    }
}

#[tokio::test]
async fn bytes_that_are_no_text() {
    costs_only_its_own_connection(b"\xff\xfe\x00\x80\n").await;
    costs_only_its_own_connection(b"{\"event\":\"pi\xffng\"}\n").await;
    costs_only_its_own_connection(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n").await;
    costs_only_its_own_connection(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
}

#[tokio::test]
async fn numbers_beyond_all_measure() {
    for number in ["1e999999999", "-1e999", "99999999999999999999999999999999", "0.0000001e-99"] {
        let line = format!("{{\"event\":{number},\"secret_key\":{number}}}\n");
        costs_only_its_own_connection(line.as_bytes()).await;
    }
}

#[tokio::test]
async fn a_right_line_in_front_of_nonsense_counts_for_nothing_after() {
    let line = format!("{{\"event\":\"ping\"}}\n{}\n", "{\"event\":\"x\"}");
    costs_only_its_own_connection(line.as_bytes()).await;
}

#[tokio::test]
async fn an_address_of_excessive_length() {
    let line = format!(
        "{{\"event\":\"gateway_connect\",\"secret_key\":\"{KEY}\",\"address\":\"{}\"}}\n",
        "a".repeat(256)
    );
    costs_only_its_own_connection(line.as_bytes()).await;
}

#[tokio::test]
async fn hundreds_of_strangers_that_say_nothing() {
    let register = Running::start(KEY, Duration::ZERO);
    let mut strangers = Vec::new();
    for _ in 0..300 {
        strangers.push(register.peer().await);
    }
    let mut worker = register.worker(KEY).await;
    assert_eq!(worker.hears().await, broadcast(&[]));
    drop(strangers);
    worker.hears_nothing().await;
}

/// One change is one list for each worker. Two hundred at once are one, or a few.
#[tokio::test]
async fn gateways_that_announce_themselves_at_once_close_no_worker_that_reads() {
    const GATEWAYS: usize = 200;
    let register = Running::start(KEY, Duration::ZERO);
    let mut worker = register.worker(KEY).await;
    assert_eq!(worker.hears().await, broadcast(&[]));
    let mut gateways = Vec::new();
    for _ in 0..GATEWAYS {
        let mut gateway = register.peer().await;
        gateway.say("{\"event\":\"ping\"}\n").await;
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
        let line = worker.hears().await;
        assert!(!line.is_empty(), "the worker is closed");
        if line.matches("a:").count() == GATEWAYS {
            break;
        }
    }
    worker.hears_nothing().await;
}

#[tokio::test]
async fn gateway_whose_address_is_no_host_and_port_is_refused_and_told_to_nobody() {
    let register = Running::start(KEY, Duration::ZERO);
    let mut worker = register.worker(KEY).await;
    assert_eq!(worker.hears().await, broadcast(&[]));
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
        gateway.is_closed_without_a_word().await;
    }
    worker.hears_nothing().await;
    for address in ["10.0.0.1:2900", "[::1]:2900", "gateway_1.example:2900"] {
        let gateway = register.gateway(address, KEY).await;
        assert_eq!(worker.hears().await, broadcast(&[address]));
        drop(gateway);
        assert_eq!(worker.hears().await, broadcast(&[]));
    }
}
