//! HTTP without a WebSocket: the chat page, static files, health checks, pages for operators.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{os::unix::fs::symlink, process::Command, time::Duration};

use protocol::{CloseReason, Event};
use suite_tests::{Answer, Raw, Suite, on_one_and_three_threads, process::Signal, raw::handshake};
use tempfile::TempDir;

on_one_and_three_threads!(
    chat_page_is_served_on_its_websocket_port,
    content_security_policy_allows_own_scripts_only,
    head_returns_the_headers_of_get_without_body,
    unknown_paths_get_404_and_other_methods_405,
    connection_serves_several_requests,
    page_request_creates_no_client,
    half_closed_connection_still_receives_the_response,
    client_that_pipelines_without_reading_is_disconnected,
    handshake_behind_another_request_is_answered_after_it,
    health_check_is_answered_without_creating_a_client,
    slow_reader_receives_the_whole_page,
    stalled_reader_of_a_page_is_disconnected,
    ambiguously_framed_request_gets_one_response_and_a_close,
);

async fn chat_page_is_served_on_its_websocket_port(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let gateway = suite.gateways[0].clients;
    let page = Raw::get(gateway, "/").await.unwrap();
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.body.contains("<html"), "{}", page.body);
    // Every file that it references is served, too.
    let named = |attribute: &str| -> Vec<String> {
        let parts = page.body.split(attribute).skip(1);
        parts.filter_map(|rest| Some(rest.split('"').next()?.to_owned())).collect()
    };
    let files = [named("src=\""), named("href=\"")].concat();
    assert!(files.len() >= 2, "a page has a script and a style: {files:?}");
    for file in files {
        let file = format!("/{}", file.trim_start_matches("./").trim_start_matches('/'));
        let answer = Raw::get(gateway, &file).await.unwrap();
        assert_eq!(answer.status, 200, "{file}");
        assert!(!answer.body.is_empty(), "{file}");
    }
}

async fn content_security_policy_allows_own_scripts_only(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    for target in ["/", "/main.js", "/nothing"] {
        let answer = Raw::get(suite.gateways[0].clients, target).await.unwrap();
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{target}: {policy}");
        assert!(policy.contains("script-src 'self'"), "{target}: {policy}");
        assert!(!policy.contains("unsafe"), "{target}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{target}");
    }
}

async fn head_returns_the_headers_of_get_without_body(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let gateway = suite.gateways[0].clients;
    let get = Raw::get(gateway, "/").await.unwrap();
    let head = Raw::request(gateway, "HEAD", "/").await.unwrap();
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), get.header("content-length"));
    assert_eq!(head.header("content-type"), get.header("content-type"));
}

async fn unknown_paths_get_404_and_other_methods_405(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let gateway = suite.gateways[0].clients;
    for target in ["/nothing", "/../Cargo.toml", "/%2e%2e/Cargo.toml", "/main.js/", "//etc/passwd"]
    {
        assert_eq!(Raw::get(gateway, target).await.unwrap().status, 404, "{target}");
    }
    for method in ["DELETE", "POST"] {
        assert_eq!(Raw::request(gateway, method, "/").await.unwrap().status, 405, "{method}");
    }
}

async fn connection_serves_several_requests(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut client = Raw::connect(suite.gateways[0].clients).await;
    // Pipelined; the last one asks for a close.
    let again = "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3);
    let last = "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    client.send(format!("{again}{last}").as_bytes()).await;
    let answers = String::from_utf8(client.read_to_end().await).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 404 ").count(), 4, "{answers}");
}

async fn page_request_creates_no_client(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    for _ in 0..3 {
        Raw::get(suite.gateways[0].clients, "/").await.unwrap();
    }
    assert!(worker.has_no_event().await, "no worker receives an event");
}

#[tokio::test]
async fn every_process_serves_health_and_metrics_pages() {
    let suite = Suite::builder().gateways(1).workers(1).start().await;
    for process in [&suite.registers[0], &suite.gateways[0], &suite.workers[0]] {
        let name = &process.name;
        for target in ["/livez", "/readyz"] {
            let answer = Raw::get(process.admin, target).await.unwrap();
            assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"), "{name}{target}");
        }
        let metrics = Raw::get(process.admin, "/metrics").await.unwrap();
        assert_eq!(metrics.status, 200, "{name}");
        assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
        assert!(metrics.body.contains("# HELP") && metrics.body.ends_with('\n'), "{name}");
        assert_eq!(Raw::get(process.admin, "/").await.unwrap().status, 404, "{name}");
    }
}

#[tokio::test]
async fn page_can_be_disabled_or_replaced() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("index.html"), "<p>mine</p>").unwrap();
    let root = folder.path().to_str().unwrap();
    let suite = Suite::builder().gateways(1).gateway_flag("--web-root", root).start().await;
    let page = Raw::get(suite.gateways[0].clients, "/").await.unwrap();
    assert_eq!(page.body, "<p>mine</p>");

    let suite = Suite::builder().gateways(1).gateway_switch("--no-web").start().await;
    let page = Raw::get(suite.gateways[0].clients, "/").await.unwrap();
    assert!(matches!(page.status, 400 | 404 | 426), "{}", page.status);
}

async fn health_check_is_answered_without_creating_a_client(threads: usize) {
    let shapes: [&[(&str, &str)]; 3] =
        [&[], &[("--no-web", "")], &[("--no-web", ""), ("--health-path", "/up")]];
    for flags in shapes {
        let builder = Suite::builder().gateways(1).threads(threads);
        let suite = flags.iter().fold(builder, |builder, (flag, value)| match *value {
            "" => builder.gateway_switch(flag),
            value => builder.gateway_flag(flag, value),
        });
        let suite = suite.start().await;
        let mut worker = suite.worker_link(0, "w:1").await;
        let gateway = suite.gateways[0].clients;
        let path = if flags.len() == 2 { "/up" } else { "/healthz" };
        for _ in 0..3 {
            // Probes as HAProxy and the load balancers of AWS send them.
            let mut haproxy = Raw::connect(gateway).await;
            haproxy.send(b"OPTIONS / HTTP/1.0\r\n\r\n").await;
            let answer = Answer::parse(&haproxy.read_to_end().await).unwrap();
            assert_eq!(answer.status, 200, "{flags:?}");
            let answer = Raw::get(gateway, path).await.unwrap();
            assert_eq!((answer.status, &*answer.body), (200, "ok\n"), "{flags:?}");
            // A probe of the port only.
            drop(Raw::connect(gateway).await);
        }
        assert!(worker.has_no_event().await, "{flags:?}: no worker receives an event");
        // A handshake on the same connection still creates a client.
        let mut raw = Raw::connect(gateway).await;
        raw.send(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await;
        assert!(raw.head().await.starts_with("HTTP/1.1 200 "));
        assert_eq!(raw.bytes(3).await, b"ok\n");
        raw.send(handshake("").as_bytes()).await;
        assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
        worker.accept_client().await;
    }
}

#[tokio::test]
async fn connection_without_request_becomes_a_client_if_no_pages_are_served() {
    let suite = Suite::builder().gateways(1).gateway_switch("--no-web").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let silent = Raw::connect(suite.gateways[0].clients).await;
    let connect = worker.event().await;
    assert_eq!(connect.event, Event::Connect);
    drop(silent);
    assert_eq!(worker.event_of(connect.client).await, Event::Close(CloseReason::Client));
    // A request that is no handshake creates a client, too.
    let page = Raw::get(suite.gateways[0].clients, "/").await.unwrap();
    assert_eq!(page.status, 400);
    let connect = worker.event().await;
    assert_eq!(connect.event, Event::Connect);
    assert_eq!(worker.event_of(connect.client).await, Event::Close(CloseReason::Handshake));
}

/// A gateway with one page, which takes several handshake timeouts to read.
async fn with_a_page(threads: usize, size: usize) -> (Suite, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("page.txt"), "x".repeat(size)).unwrap();
    let builder = Suite::builder().gateways(1).threads(threads);
    let builder = builder.gateway_flag("--web-root", folder.path().to_str().unwrap());
    (builder.gateway_flag("--handshake-timeout", "1").start().await, folder)
}

fn asks_for_page(connection: &str) -> Vec<u8> {
    format!("GET /page.txt HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n\r\n").into_bytes()
}

async fn slow_reader_receives_the_whole_page(threads: usize) {
    const SIZE: usize = 600_000;
    let (suite, _folder) = with_a_page(threads, SIZE).await;
    let gateway = suite.gateways[0].clients;
    let reads = async |connection: &str, seconds: usize| {
        let mut raw = Raw::connect_with_small_buffers(gateway).await;
        raw.send(&asks_for_page(connection)).await;
        let head = raw.head().await;
        assert!(head.contains(&format!("Content-Length: {SIZE}\r\n")), "{head}");
        let mut read = 0;
        while read < SIZE {
            let piece = raw.some_bytes(SIZE / seconds / 20).await.len();
            assert_ne!(piece, 0, "{connection}: {read} of {SIZE} bytes");
            read += piece;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // Over five handshake timeouts, and over twice the time that a closing connection has.
    tokio::join!(reads("keep-alive", 6), reads("close", 12));
}

async fn stalled_reader_of_a_page_is_disconnected(threads: usize) {
    const SIZE: usize = 8_000_000;
    let (suite, _folder) = with_a_page(threads, SIZE).await;
    let gateway = &suite.gateways[0];
    for connection in ["keep-alive", "close"] {
        let mut raw = Raw::connect_with_small_buffers(gateway.clients).await;
        raw.send(&asks_for_page(connection)).await;
        raw.head().await;
        gateway.wait_for_metric("pushsuite_gateway_connections_open", 0.0).await;
        let read = raw.read_to_end().await.len();
        assert!(read < SIZE / 2, "{connection}: {read} of {SIZE} bytes");
    }
    // It was a page request, no refused handshake.
    let timeouts = "pushsuite_gateway_handshakes_refused_total{reason=\"timeout\"}";
    assert_eq!(gateway.metric(timeouts).await, Some(0.0));
}

#[tokio::test]
async fn web_root_is_served_by_decoded_names_and_reloaded_on_sighup() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("site");
    std::fs::create_dir(&root).unwrap();
    let put = |name: &str, text: &str| std::fs::write(root.join(name), text).unwrap();
    put("a b.txt", "one");
    put("\u{804a}\u{5929}.html", "chat");
    put("app.wasm", "\0asm");
    // None of these blocks the start or makes it fail.
    assert!(Command::new("mkfifo").arg(root.join("fifo")).status().unwrap().success());
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("/etc/hostname", root.join("outside")).unwrap();
    symlink("/dev/zero", root.join("endless")).unwrap();
    let flag = root.to_str().unwrap();
    let mut suite = Suite::builder().gateways(1).gateway_flag("--web-root", flag).start().await;
    let addr = suite.gateways[0].clients;
    let get = async |path: &str| Raw::get(addr, path).await.unwrap();
    assert_eq!(get("/a%20b.txt").await.body, "one");
    assert_eq!(get("/%E8%81%8A%E5%A4%A9.html").await.body, "chat");
    assert_eq!(get("/app.wasm").await.header("content-type"), "application/wasm");
    for path in ["/fifo", "/dangling", "/outside", "/endless", "/..%2fsite%2fapp.wasm"] {
        assert_eq!(get(path).await.status, 404, "{path}");
    }
    for name in ["fifo", "dangling", "outside", "endless"] {
        let path = format!("path={}", root.canonicalize().unwrap().join(name).display());
        suite.gateways[0].wait_for_log(&["left out of --web-root", &path]).await;
    }

    put("a b.txt", "two");
    put("new.txt", "new");
    assert_eq!(get("/a%20b.txt").await.body, "one", "files are not reloaded before SIGHUP");
    suite.gateways[0].signal(Signal::Hup);
    let text = "pages of --web-root";
    suite.gateways[0].wait_for_log(&["reloaded", text]).await;
    assert_eq!(
        (get("/a%20b.txt").await.body, get("/new.txt").await.body),
        ("two".into(), "new".into())
    );

    // A missing folder changes nothing, and is logged as an error.
    std::fs::remove_dir_all(&root).unwrap();
    suite.gateways[0].signal(Signal::Hup);
    suite.gateways[0].wait_for_log(&["ERROR", text]).await;
    assert_eq!(get("/a%20b.txt").await.body, "two");
}

async fn half_closed_connection_still_receives_the_response(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    for connection in ["close", "keep-alive"] {
        let mut raw = Raw::connect(suite.gateways[0].clients).await;
        let head = format!("GET / HTTP/1.1\r\nConnection: {connection}\r\n\r\n");
        // So that the gateway reads the request and the end of the stream at once.
        suite.gateways[0].pause().await;
        raw.send(head.as_bytes()).await;
        raw.shutdown_write().await;
        suite.gateways[0].resume();
        let answer = Answer::parse(&raw.read_to_end().await).expect(connection);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    }
}

async fn client_that_pipelines_without_reading_is_disconnected(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut raw = Raw::connect(suite.gateways[0].clients).await;
    let requests = "GET / HTTP/1.1\r\n\r\n".repeat(1000);
    // The responses would be gigabytes, and are not read.
    for _ in 0..2000 {
        if raw.try_send(requests.as_bytes()).await.is_err() {
            return;
        }
    }
    panic!("the gateway never stops responding");
}

async fn handshake_behind_another_request_is_answered_after_it(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut raw = Raw::connect(suite.gateways[0].clients).await;
    let check = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    raw.send(format!("{check}{}", handshake("")).as_bytes()).await;
    let first = raw.head().await;
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    let length = first.split("ength: ").nth(1).unwrap().split('\r').next().unwrap();
    raw.bytes(length.parse().unwrap()).await;
    let second = raw.head().await;
    assert!(second.starts_with("HTTP/1.1 101 "), "{second}");
}

/// Each is followed by bytes that are a second request or the body of the first, depending on the
/// parser.
async fn ambiguously_framed_request_gets_one_response_and_a_close(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for (fields, status) in [
        (&b"Content-Length: 0\r\nContent-Length: 38"[..], 400),
        (b"Content-Length: 38\r\nContent-Length: 0", 400),
        (b"Content-Length: 38\xff", 400),
        (b"Content-Length: +0", 400),
        (b"Content-Length: 0\r\nX: y\nContent-Length: 38", 400),
        (b"X: y\r\n Content-Length: 38", 400),
        (b"Content-Length : 38", 400),
        (b"Content-Length: 38", 413),
        (b"Transfer-Encoding: chunked", 400),
        (b"Transfer-Encoding: chunked\xff", 400),
        (b"Transfer-Encoding: identity\r\nContent-Length: 0", 400),
        (b"Host: a\r\nHost: b", 400),
        // Unambiguous, since all parsers agree: the last one.
        (b"Connection: keep-alive\r\nConnection: close", 404),
    ] {
        let head = [b"GET /first HTTP/1.1\r\n", fields, b"\r\n\r\n", &smuggled[..]].concat();
        let mut raw = Raw::connect(suite.gateways[0].clients).await;
        raw.send(&head).await;
        let answers = String::from_utf8(raw.read_to_end().await).unwrap();
        let fields = String::from_utf8_lossy(fields);
        assert!(answers.starts_with(&format!("HTTP/1.1 {status} ")), "{fields:?}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{fields:?}: {answers}");
        assert!(answers.contains("Connection: close"), "{fields:?}: {answers}");
    }
}
