//! What the answer to a handshake says besides, where it is set.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;

use suite_tests::{
    Raw, Suite,
    raw::{Answer, handshake},
};

#[tokio::test]
async fn headers_of_ones_own_are_in_the_answer_to_a_handshake() {
    let builder = Suite::builder().gateways(1).gateway_flag("--header", "X-Served-By: one, two");
    let suite = builder.gateway_flag("--header", "Set-Cookie: s=1; Secure").start().await;
    let gateway = suite.gateways[0].clients;
    let answer = shake(gateway, "").await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("x-served-by"), "one, two");
    assert_eq!(answer.header("set-cookie"), "s=1; Secure");
    let page = Raw::get(gateway, "/").await.unwrap();
    assert_eq!((page.status, page.header("x-served-by")), (200, ""), "a page is no handshake");
}

#[tokio::test]
async fn the_first_subprotocol_that_is_asked_for_and_spoken_is_answered() {
    let builder = Suite::builder().gateways(1).gateway_flag("--subprotocol", "chat");
    let suite = builder.gateway_flag("--subprotocol", "mqtt").start().await;
    for (asked, answered) in [
        ("Sec-WebSocket-Protocol: soap, mqtt, chat\r\n", "mqtt"),
        ("Sec-WebSocket-Protocol: soap\r\nsec-websocket-protocol: chat\r\n", "chat"),
        ("Sec-WebSocket-Protocol: soap\r\n", ""),
        ("", ""),
    ] {
        let answer = shake(suite.gateways[0].clients, asked).await;
        assert_eq!(answer.status, 101, "{asked:?}");
        assert_eq!(answer.header("sec-websocket-protocol"), answered, "{asked:?}");
        assert_eq!(answer.headers.contains_key("sec-websocket-protocol"), !answered.is_empty());
    }
}

async fn shake(gateway: SocketAddr, headers: &str) -> Answer {
    let mut raw = Raw::connect(gateway).await;
    raw.send(handshake(headers).as_bytes()).await;
    Answer::parse(raw.head().await.as_bytes()).unwrap()
}
