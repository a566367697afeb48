//! Configured headers and subprotocols of the handshake response, and refusals.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{net::SocketAddr, time::Instant};

use suite_tests::{
    Raw, Suite,
    raw::{Answer, handshake},
};

#[tokio::test]
async fn custom_headers_are_in_the_handshake_response() {
    let builder = Suite::builder().gateways(1).gateway_flag("--header", "X-Served-By: one, two");
    let suite = builder.gateway_flag("--header", "Set-Cookie: s=1; Secure").start().await;
    let gateway = suite.gateways[0].clients;
    let answer = shake(gateway, "").await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("x-served-by"), "one, two");
    assert_eq!(answer.header("set-cookie"), "s=1; Secure");
    let page = Raw::get(gateway, "/").await.unwrap();
    assert_eq!(
        (page.status, page.header("x-served-by")),
        (200, ""),
        "a page is not a handshake response"
    );
}

#[tokio::test]
async fn first_supported_subprotocol_of_the_request_is_selected() {
    let builder = Suite::builder().gateways(1).gateway_flag("--subprotocol", "chat");
    let suite = builder.gateway_flag("--subprotocol", "mqtt").start().await;
    for (requested, selected) in [
        ("Sec-WebSocket-Protocol: soap, mqtt, chat\r\n", "mqtt"),
        ("Sec-WebSocket-Protocol: soap\r\nsec-websocket-protocol: chat\r\n", "chat"),
        ("Sec-WebSocket-Protocol: soap\r\n", ""),
        ("", ""),
    ] {
        let answer = shake(suite.gateways[0].clients, requested).await;
        assert_eq!(answer.status, 101, "{requested:?}");
        assert_eq!(answer.header("sec-websocket-protocol"), selected, "{requested:?}");
        assert_eq!(answer.headers.contains_key("sec-websocket-protocol"), !selected.is_empty());
    }
}

#[tokio::test]
async fn subprotocol_token_is_echoed_if_any_is_accepted() {
    let suite = Suite::builder().gateways(1).gateway_flag("--subprotocol", "*").start().await;
    for (requested, selected) in [
        ("Sec-WebSocket-Protocol: eyJhbGciOi.J9-_x\r\n", "eyJhbGciOi.J9-_x"),
        ("Sec-WebSocket-Protocol: not a token, bearer\r\n", "bearer"),
        ("Sec-WebSocket-Protocol: \"x\"\r\n", ""),
        ("", ""),
    ] {
        let answer = shake(suite.gateways[0].clients, requested).await;
        assert_eq!(answer.status, 101, "{requested:?}");
        assert_eq!(answer.header("sec-websocket-protocol"), selected, "{requested:?}");
    }
}

#[tokio::test]
async fn refused_handshake_is_counted_by_reason_and_logged_at_most_once_a_second() {
    let builder = Suite::builder().gateways(1).gateway_flag("--handshake-timeout", "1");
    let builder = builder.gateway_switch("--no-web").logs("warn");
    let suite = builder.gateway_flag("--allowed-origin", "https://ours.example").start().await;
    let gateway = &suite.gateways[0];
    let request_with = |fields: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
    let key = "Sec-WebSocket-Key: k\r\nSec-WebSocket-Version:";
    let cases = [
        ("origin", 403, request_with(&format!("{key} 13\r\nOrigin: https://theirs.example"))),
        ("version", 426, request_with(&format!("{key} 8"))),
        ("method", 405, request_with(&format!("{key} 13")).replace("GET", "PUT")),
        ("body", 413, request_with(&format!("{key} 13\r\nContent-Length: 5"))),
        ("malformed", 400, request_with(&format!("{key} 13\r\nContent-Length: x"))),
        ("too_large", 431, request_with(&format!("{key} 13\r\nX: {}", "x".repeat(17_000)))),
        ("not_websocket", 400, request_with("Accept: text/html")),
    ];
    let started = Instant::now();
    for _ in 0..3 {
        for (reason, status, request) in &cases {
            let mut raw = Raw::connect(gateway.clients).await;
            raw.send(request.as_bytes()).await;
            let answer = Answer::parse(&raw.read_to_end().await).expect(reason);
            assert_eq!(answer.status, *status, "{reason}");
        }
        let mut silent = Raw::connect(gateway.clients).await;
        assert!(silent.read_to_end().await.is_empty());
    }
    // A connection closed before its first byte counts as no refusal.
    drop(Raw::connect(gateway.clients).await);
    for reason in cases.iter().map(|(reason, ..)| *reason).chain(["timeout"]) {
        let name = format!("pushsuite_gateway_handshakes_refused_total{{reason=\"{reason}\"}}");
        gateway.wait_for_metric(&name, 3.0).await;
    }
    let most = started.elapsed().as_secs() + 1;
    gateway.wait_for_log(&["handshake refused"]).await;
    let log = gateway.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("handshake refused")).collect();
    assert!((1..=most as usize).contains(&lines.len()), "{most}: {lines:#?}");
    assert!(lines.iter().all(|line| line.contains("remote=127.0.0.1:")), "{lines:#?}");
    assert!(lines.iter().any(|line| !line.contains("suppressed=0")), "{lines:#?}");
}

async fn shake(gateway: SocketAddr, headers: &str) -> Answer {
    let mut raw = Raw::connect(gateway).await;
    raw.send(handshake(headers).as_bytes()).await;
    Answer::parse(raw.head().await.as_bytes()).unwrap()
}
