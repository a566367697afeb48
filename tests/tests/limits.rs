//! Invalid input: each kind is refused in its own way, without harm to others.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bytes::BytesMut;
use protocol::{
    CloseReason, Event, InstanceId, Query, Secret,
    codec::native::{MAX_FRAME, MAX_UNAUTHENTICATED_FRAME, decode, encode},
    link::{MAGIC, Refusal, Role, ToGateway, ToPeer},
};
use suite_tests::{
    Browser, Peer, Raw, Received, Suite, eventually, on_one_and_three_threads,
    peer::back_end,
    raw::{Answer, masked},
};
use tokio_tungstenite::tungstenite::{Error, client::IntoClientRequest as _, http::HeaderValue};

on_one_and_three_threads!(
    oversized_message_is_closed_with_1009,
    invalid_framing_is_closed_with_1002,
    invalid_utf8_text_is_closed_with_1007,
    unfinished_handshake_is_disconnected,
    headers_over_16_kib_are_refused,
    malformed_request_is_refused,
    handshake_of_another_origin_is_refused,
    peer_without_the_secret_is_closed_and_the_log_does_not_contain_it,
    peer_that_sends_queries_before_the_handshake_is_closed,
    large_frame_of_an_unauthenticated_peer_is_refused_by_its_length,
    peer_that_breaks_the_protocol_is_closed,
    worker_without_a_key_is_refused,
    client_that_does_not_read_is_disconnected_without_harm_to_others,
);

async fn oversized_message_is_closed_with_1009(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_flag("--max-message-size", "1000").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let gateway = suite.gateways[0].clients;

    // In one frame, refused by its length alone; and in fragments.
    for pieces in [
        vec![masked(0x82, &[0; 1001])[..14].to_vec()],
        vec![masked(0x02, &[0; 600]), masked(0x80, &[0; 401])],
    ] {
        let mut client = Raw::websocket(gateway).await;
        let id = worker.accept_client().await;
        for piece in pieces {
            client.send(&piece).await;
        }
        assert_eq!(client.close_code().await, 1009);
        assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Protocol));
    }
    let mut client = Raw::websocket(gateway).await;
    let id = worker.accept_client().await;
    client.send(&masked(0x82, &[0; 1000])).await;
    assert!(matches!(worker.event_of(id).await, Event::Message(_)), "the limit itself is accepted");
}

async fn invalid_framing_is_closed_with_1002(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let unmasked = b"\x81\x02hi".to_vec();
    let reserved_bit = masked(0xc1, b"hi");
    let unknown_opcode = masked(0x83, b"hi");
    let nothing_to_continue = masked(0x80, b"hi");
    let long_ping = masked(0x89, &[0; 126]);
    let ping_in_pieces = masked(0x09, b"hi");
    let text_within_text = [masked(0x01, b"h"), masked(0x81, b"i")].concat();
    let close_with_half_a_code = masked(0x88, &[3]);
    let close_with_reserved_code = masked(0x88, &1006_u16.to_be_bytes());
    for wrong in [
        unmasked,
        reserved_bit,
        unknown_opcode,
        nothing_to_continue,
        long_ping,
        ping_in_pieces,
        text_within_text,
        close_with_half_a_code,
        close_with_reserved_code,
    ] {
        let mut client = Raw::websocket(suite.gateways[0].clients).await;
        let id = worker.accept_client().await;
        client.send(&wrong).await;
        assert_eq!(client.close_code().await, 1002, "{wrong:?}");
        assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Protocol), "{wrong:?}");
    }
}

async fn invalid_utf8_text_is_closed_with_1007(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut client = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;
    client.send(&masked(0x81, b"\xff\xfe")).await;
    assert_eq!(client.close_code().await, 1007);
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Protocol));
}

async fn unfinished_handshake_is_disconnected(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_flag("--handshake-timeout", "1").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let gateway = suite.gateways[0].clients;
    let mut silent = Raw::connect(gateway).await;
    let mut slow = Raw::connect(gateway).await;
    slow.send(b"GET / HTTP/1.1\r\nHost: x\r\n").await;
    // Single bytes do not extend the timeout: both are disconnected, with or without a response.
    let (one, other) = tokio::join!(silent.read_to_end(), slow.read_to_end());
    for answer in [one, other] {
        let answer = Answer::parse(&answer).map(|answer| answer.status);
        assert!(matches!(answer, None | Some(408)), "{answer:?}");
    }
    // After the handshake, a client may be idle.
    let mut ann = suite.browser(0).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    ann.send("slowly").await;
    loop {
        let delivery = worker.event().await;
        worker.ack(&delivery).await;
        match delivery.event {
            Event::Message(message) => break assert_eq!(message.as_text(), Some("slowly")),
            Event::WebSocketConnect(_)
            | Event::WebSocketRequest(_)
            | Event::Connect
            | Event::Reassigned => {}
            event => assert_eq!(event.close_reason(), Some(CloseReason::Handshake)),
        }
    }
}

async fn headers_over_16_kib_are_refused(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let gateway = suite.gateways[0].clients;
    let mut endless = Raw::connect(gateway).await;
    endless.send(b"GET / HTTP/1.1\r\n").await;
    let line = format!("X-Filler: {}\r\n", "x".repeat(1000));
    // The gateway may disconnect at any time from 16 KiB on, so sending may fail.
    for _ in 0..64 {
        if endless.try_send(line.as_bytes()).await.is_err() {
            break;
        }
    }
    // A reset may have overtaken the response.
    if let Some(answer) = Answer::parse(&endless.read_to_end().await) {
        assert_eq!(answer.status, 431);
    }
    // A request below the limit is accepted.
    let mut request = format!("ws://{gateway}/").into_client_request().unwrap();
    let value = HeaderValue::from_str(&"x".repeat(15_000)).unwrap();
    request.headers_mut().insert("x-filler", value);
    Browser::open_with(gateway, request).await.unwrap();
}

async fn malformed_request_is_refused(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let gateway = suite.gateways[0].clients;
    for wrong in ["\x16\x03\x01 hello\r\n\r\n", "GET\r\n\r\n", "\0\0\0\0\0\0\0\0\r\n\r\n"] {
        let mut client = Raw::connect(gateway).await;
        client.send(wrong.as_bytes()).await;
        if let Some(answer) = Answer::parse(&client.read_to_end().await) {
            assert_eq!(answer.status, 400, "{wrong:?}");
        }
    }
    for (headers, status) in [
        ("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", 400),
        ("Upgrade: websocket\r\nSec-WebSocket-Version: 7\r\nSec-WebSocket-Key: k\r\n", 426),
    ] {
        let mut client = Raw::connect(gateway).await;
        let head = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n";
        client.send(format!("{head}{headers}\r\n").as_bytes()).await;
        let answer = Answer::parse(&client.read_to_end().await).unwrap();
        assert_eq!(answer.status, status, "{headers}");
    }
}

async fn handshake_of_another_origin_is_refused(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_flag("--allowed-origin", "https://good.example").start().await;
    let gateway = suite.gateways[0].clients;
    let open = async |origin: &'static str| {
        let mut request = format!("ws://{gateway}/").into_client_request().unwrap();
        request.headers_mut().insert("origin", HeaderValue::from_static(origin));
        Browser::open_with(gateway, request).await
    };
    assert!(open("https://good.example").await.is_ok());
    for origin in ["https://evil.example", "https://good.example.evil.example", "null"] {
        match open(origin).await.unwrap_err() {
            Error::Http(answer) => assert_eq!(answer.status(), 403, "{origin}"),
            other => panic!("expected a response, not {other}"),
        }
    }
}

async fn peer_without_the_secret_is_closed_and_the_log_does_not_contain_it(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let gateway = &suite.gateways[0];
    for guess in ["", "wr0ng-guess"] {
        let refused = Peer::open(gateway.inner, &Secret::from(guess), back_end()).await;
        assert_eq!(refused.unwrap_err(), Refusal::Secret);
    }
    let lines = eventually("a line in the log", async || {
        let log = gateway.log();
        let refused: Vec<_> = log.lines().filter(|line| line.contains("secret")).collect();
        (!refused.is_empty()).then(|| refused.join("\n"))
    })
    .await;
    assert!(!lines.contains("wr0ng-guess"), "{lines}");
    // `Suite` checks on drop that the right secret is in no log either.
}

async fn peer_that_sends_queries_before_the_handshake_is_closed(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut raw = Raw::connect(suite.gateways[0].inner).await;
    raw.send(&MAGIC).await;
    let mut query = BytesMut::new();
    encode(&ToGateway::Query { request: 1, query: Query::Groups }, &mut query).unwrap();
    raw.send(&query).await;
    let mut answer = BytesMut::from(&raw.read_to_end().await[..]);
    while let Some(message) = decode(&mut answer, MAX_FRAME).unwrap() {
        assert!(matches!(message, ToPeer::Challenge { .. } | ToPeer::Refused(_)), "{message:?}");
    }
}

async fn large_frame_of_an_unauthenticated_peer_is_refused_by_its_length(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut raw = Raw::connect(suite.gateways[0].inner).await;
    raw.send(&MAGIC).await;
    raw.send(&(MAX_UNAUTHENTICATED_FRAME as u32 + 1).to_be_bytes()).await;
    raw.read_to_end().await;
    // Silence, or a connection that is no peer, has no effect either.
    let _silent = Raw::connect(suite.gateways[0].inner).await;
    let mut browser = Raw::connect(suite.gateways[0].inner).await;
    browser.send(b"GET / HTTP/1.1\r\n\r\n").await;
    browser.read_to_end().await;
    assert!(suite.peer(0).await.has_no_event().await);
}

async fn peer_that_breaks_the_protocol_is_closed(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut ann = suite.browser(0).await;
    let id = worker.accept_client().await;
    // A second hello, and an unknown shard.
    for wrong in [
        ToGateway::Hello { role: back_end(), nonce: [0; 32], proof: [0; 32] },
        ToGateway::EventAck { shard: u16::MAX, first: 0, last: u64::MAX },
    ] {
        let mut peer = suite.peer(0).await;
        peer.send(&wrong).await;
        peer.closed().await;
    }
    // Acknowledgements of events that were never sent are ignored.
    let mut peer = suite.peer(0).await;
    for (first, last) in [(9, 3), (0, 0), (1, u64::MAX), (u64::MAX, u64::MAX)] {
        peer.send(&ToGateway::EventAck { shard: 0, first, last }).await;
    }
    let mut peer = suite.peer(0).await;
    peer.send_bytes(b"\0\0\0\x07\x01\0\0\0\0\x01\xff").await;
    peer.closed().await;
    ann.send("still here").await;
    assert_eq!(worker.event_of(id).await, Event::Message("still here".into()));
}

async fn worker_without_a_key_is_refused(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let inner = suite.gateways[0].inner;
    for key in [String::new(), "x".repeat(2_000)] {
        let refused = Peer::open(
            inner,
            &suite.secret(),
            Role::Worker { key, instance: InstanceId::from_random(1) },
        )
        .await;
        assert_eq!(refused.unwrap_err(), Refusal::Key);
    }
}

async fn client_that_does_not_read_is_disconnected_without_harm_to_others(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_flag("--send-to-client-buffer-size", "65536").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let _stuck = Raw::websocket(suite.gateways[0].clients).await;
    let stuck = worker.accept_client().await;
    let mut ann = suite.browser(0).await;
    let id = worker.accept_client().await;
    let large = protocol::Message::binary(vec![0; 60_000]);
    // The kernel buffers some megabytes for a socket that is not read.
    let mut closed = false;
    for at in 0..2_000 {
        let to = protocol::Recipients::Only(vec![stuck]);
        let message = large.clone();
        worker.command(protocol::Command::SendToAll { to, message }).await;
        let message = protocol::Message::text(at.to_string());
        worker.command(protocol::Command::SendToClient { to: id, message }).await;
        assert_eq!(ann.receive().await, Received::Text(at.to_string()));
        if !worker.has_no_event().await {
            assert_eq!(worker.event_of(stuck).await, Event::Close(CloseReason::Slow));
            closed = true;
            break;
        }
    }
    assert!(closed, "120 MB were queued for a client that reads nothing");
    ann.send("still here").await;
    assert_eq!(worker.event_of(id).await, Event::Message("still here".into()));
}
