//! permessage-deflate: what is negotiated, what is compressed, and what a gateway does with invalid
//! or hostile payloads.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;

use protocol::{CloseReason, Command, ConnectionId, Event, Message, Recipients};
use suite_tests::{
    Peer, Raw, Suite,
    deflate::{deflate, inflate},
    names::{group, uid},
    on_one_and_three_threads,
    raw::{Frame, handshake, masked},
    suite::Builder,
};

on_one_and_three_threads!(
    compression_is_off_by_default_and_in_strict_mode,
    offer_is_accepted_without_context_takeover_and_others_are_declined,
    fan_out_is_compressed_for_clients_that_negotiated_it_and_for_no_others,
    single_messages_are_compressed_only_if_all_are,
    message_marked_as_uncompressed_is_never_compressed,
    client_with_a_small_window_gets_larger_messages_uncompressed,
    compressed_messages_of_clients_reach_the_worker_decompressed,
    bomb_is_closed_with_1009_without_the_memory_of_its_content,
    invalid_payload_is_closed_with_1007_and_a_misplaced_mark_with_1002,
    bytes_before_and_after_compression_are_counted,
    control_frames_are_never_compressed,
    handshake_that_a_worker_accepts_negotiates_as_well,
    compression_works_over_tls,
);

const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

fn builder(threads: usize, mode: &str) -> Builder {
    Suite::builder().gateways(1).threads(threads).gateway_flag("--compression", mode)
}

/// A WebSocket client with these headers, and the extensions in the response.
async fn open(gateway: SocketAddr, headers: &str) -> (Raw, Option<String>) {
    let mut raw = Raw::connect(gateway).await;
    raw.send(handshake(headers).as_bytes()).await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let mut lines = head.lines();
    let extensions = lines.find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    (raw, extensions.map(str::to_owned))
}

/// A client that has negotiated compression, and its id.
async fn compressing(suite: &Suite, worker: &mut Peer) -> (Raw, ConnectionId) {
    let (raw, extensions) = open(suite.gateways[0].clients, DEFLATE).await;
    assert!(extensions.is_some());
    let id = worker.accept_client().await;
    (raw, id)
}

/// Text that shrinks to a fraction.
fn text(size: usize) -> String {
    let mut text = "{\"type\":\"say\",\"content\":\"hello\"},".repeat(size / 33 + 1);
    text.truncate(size);
    text
}

/// Checks a text message, whether it was compressed, and its content.
fn check(frame: Option<Frame>, is_compressed: bool, expected: &str) {
    let Frame { first, payload } = frame.unwrap();
    match is_compressed {
        true => {
            assert_eq!(first, 0xc1, "{} bytes are not compressed", payload.len());
            assert!(payload.len() < expected.len() / 2, "{} bytes", payload.len());
            assert_eq!(inflate(&payload), expected.as_bytes());
        }
        false => assert_eq!((first, &payload[..]), (0x81, expected.as_bytes())),
    }
}

async fn compression_is_off_by_default_and_in_strict_mode(threads: usize) {
    for suite in [
        Suite::builder().gateways(1).threads(threads).start().await,
        Suite::builder()
            .gateways(1)
            .threads(threads)
            .gateway_flag("--compat", "strict")
            .start()
            .await,
    ] {
        let mut worker = suite.worker_link(0, "w:1").await;
        let (mut client, extensions) = open(suite.gateways[0].clients, DEFLATE).await;
        assert_eq!(extensions, None);
        worker.accept_client().await;
        let message = Message::text(text(2000));
        worker.command(Command::SendToAll { to: Recipients::All, message }).await;
        check(client.frame().await, false, &text(2000));
    }
    // A mark of compression that was not negotiated.
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let (mut client, _) = open(suite.gateways[0].clients, DEFLATE).await;
    client.send(&masked(0xc1, &deflate(b"hi"))).await;
    assert_eq!(client.close_code().await, 1002);
}

async fn offer_is_accepted_without_context_takeover_and_others_are_declined(threads: usize) {
    let suite = builder(threads, "fan-out").start().await;
    let gateway = suite.gateways[0].clients;
    let both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for (offered, expected) in [
        ("permessage-deflate", Some(both.to_owned())),
        (
            "permessage-deflate; server_max_window_bits=12",
            Some(format!("{both}; server_max_window_bits=12")),
        ),
        ("permessage-deflate; unknown, permessage-deflate", Some(both.to_owned())),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; \"", None),
        ("x-webkit-deflate-frame", None),
    ] {
        let header = format!("Sec-WebSocket-Extensions: {offered}\r\n");
        assert_eq!(open(gateway, &header).await.1, expected, "{offered}");
    }
    assert_eq!(open(gateway, "").await.1, None);
}

async fn fan_out_is_compressed_for_clients_that_negotiated_it_and_for_no_others(threads: usize) {
    let suite = builder(threads, "fan-out").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let (mut first, one) = compressing(&suite, &mut worker).await;
    let (mut second, two) = compressing(&suite, &mut worker).await;
    let mut plain = Raw::websocket(suite.gateways[0].clients).await;
    let three = worker.accept_client().await;
    for client in [one, two, three] {
        worker.command(Command::BindUid { client, uid: uid("ann") }).await;
        worker.command(Command::JoinGroup { client, group: group("room") }).await;
    }
    let to_all =
        |size| Command::SendToAll { to: Recipients::All, message: Message::text(text(size)) };
    let message = Message::text(text(300));
    let (groups, uids) = (vec![group("room")], vec![uid("ann")]);
    let to_groups = Command::SendToGroups { groups, exclude: vec![], message: message.clone() };
    let to_uids = Command::SendToUids { uids, message };
    for (command, size, is_long) in [
        (to_all(255), 255, false),
        (to_all(256), 256, true),
        (to_all(100_000), 100_000, true),
        (to_groups, 300, true),
        (to_uids, 300, true),
    ] {
        worker.command(command).await;
        // With three threads, each client is the only one on its thread.
        let is_compressed = is_long && threads == 1;
        check(first.frame().await, is_compressed, &text(size));
        check(second.frame().await, is_compressed, &text(size));
        check(plain.frame().await, false, &text(size));
    }
    // A message that does not shrink is sent as it is.
    let noise: Vec<u8> =
        (1..200_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let message = Message::binary(noise.clone());
    worker.command(Command::SendToAll { to: Recipients::All, message }).await;
    for client in [&mut first, &mut second, &mut plain] {
        assert_eq!(client.frame().await.unwrap(), Frame { first: 0x82, payload: noise.clone() });
    }
}

async fn single_messages_are_compressed_only_if_all_are(threads: usize) {
    for (mode, is_compressed) in [("fan-out", false), ("all", true)] {
        let suite = builder(threads, mode).start().await;
        let mut worker = suite.worker_link(0, "w:1").await;
        let (mut client, to) = compressing(&suite, &mut worker).await;
        for (size, is_long) in [(1023, false), (1024, true), (5000, true)] {
            let message = Message::text(text(size));
            worker.command(Command::SendToClient { to, message }).await;
            check(client.frame().await, is_compressed && is_long, &text(size));
        }
        let farewell = Some(Message::text(text(1500)));
        worker.command(Command::Close { client: to, farewell }).await;
        check(client.frame().await, is_compressed, &text(1500));
        assert_eq!(client.close_code().await, 1000);
    }
}

async fn message_marked_as_uncompressed_is_never_compressed(threads: usize) {
    let suite = builder(threads, "all").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let (mut client, to) = compressing(&suite, &mut worker).await;
    for (message, is_compressed) in
        [(Message::text(text(2000)), true), (Message::text(text(2000)).uncompressed(), false)]
    {
        worker.command(Command::SendToClient { to, message: message.clone() }).await;
        check(client.frame().await, is_compressed, &text(2000));
        let command = Command::SendToAll { to: Recipients::All, message };
        worker.command(command).await;
        check(client.frame().await, is_compressed, &text(2000));
    }
    // Bytes that are framed already.
    let raw = [&[0x82, 126, 8, 0][..], &[0; 2048]].concat();
    worker.command(Command::SendToClient { to, message: Message::raw(raw) }).await;
    assert_eq!(client.frame().await.unwrap(), Frame { first: 0x82, payload: vec![0; 2048] });
}

async fn client_with_a_small_window_gets_larger_messages_uncompressed(threads: usize) {
    let suite = builder(threads, "all").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=11\r\n";
    let (mut client, extensions) = open(suite.gateways[0].clients, offer).await;
    assert!(extensions.unwrap().ends_with("; server_max_window_bits=11"));
    let to = worker.accept_client().await;
    for (size, fits) in [(2048, true), (2049, false)] {
        let message = Message::text(text(size));
        worker.command(Command::SendToClient { to, message }).await;
        check(client.frame().await, fits, &text(size));
    }
}

async fn compressed_messages_of_clients_reach_the_worker_decompressed(threads: usize) {
    let suite = builder(threads, "fan-out").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let (mut client, id) = compressing(&suite, &mut worker).await;
    let long = text(50_000);
    let payload = deflate(long.as_bytes());
    let (start, rest) = payload.split_at(payload.len() / 2);
    let frames = [
        masked(0xc1, &deflate(b"one")),
        masked(0x81, b"two"),
        masked(0x41, start),
        masked(0x89, b"ping"),
        masked(0x00, b""),
        masked(0x80, rest),
        masked(0xc2, &[0]),
        // With a final block, as the RFC has it.
        masked(0xc1, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
    ];
    client.send(&frames.concat()).await;
    for expected in [
        Message::text("one"),
        Message::text("two"),
        Message::text(long),
        Message::binary(vec![]),
        Message::text("Hello"),
    ] {
        assert_eq!(worker.event_of(id).await, Event::Message(expected));
    }
    assert_eq!(client.frame().await.unwrap(), Frame { first: 0x8a, payload: b"ping".to_vec() });
}

async fn bomb_is_closed_with_1009_without_the_memory_of_its_content(threads: usize) {
    let builder = builder(threads, "fan-out").gateway_flag("--max-message-size", "100000");
    let suite = builder.start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    // The limit itself is accepted.
    let (mut client, id) = compressing(&suite, &mut worker).await;
    client.send(&masked(0xc2, &deflate(&vec![0; 100_000]))).await;
    assert!(matches!(worker.event_of(id).await, Event::Message(_)));
    // 16 MiB in 16 KiB.
    let bomb = deflate(&vec![0; 16 << 20]);
    assert!(bomb.len() < 20_000, "{}", bomb.len());
    let before = suite.gateways[0].resident();
    let (start, rest) = bomb.split_at(1000);
    for frames in [masked(0xc2, &bomb), [masked(0x42, start), masked(0x80, rest)].concat()] {
        let (mut client, id) = compressing(&suite, &mut worker).await;
        client.send(&frames).await;
        assert_eq!(client.close_code().await, 1009);
        assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Protocol));
    }
    let grown = suite.gateways[0].resident().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes");
}

async fn invalid_payload_is_closed_with_1007_and_a_misplaced_mark_with_1002(threads: usize) {
    let suite = builder(threads, "fan-out").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let hi = deflate(b"hi");
    let (reserved_block, cut) = (masked(0xc1, b"\x06"), masked(0xc1, &deflate(&[7; 300])[..4]));
    let not_utf8 = masked(0xc1, &deflate(b"\xff"));
    let start = masked(0x41, &hi[..1]);
    for (code, frames) in [
        (1007, reserved_block),
        (1007, cut),
        (1007, not_utf8),
        (1002, masked(0xc9, b"")),
        (1002, masked(0xc8, b"")),
        (1002, [start.clone(), masked(0xc0, &hi[1..])].concat()),
        (1002, [start, masked(0xc1, &hi)].concat()),
        (1002, masked(0xe1, &hi)),
    ] {
        let (mut client, id) = compressing(&suite, &mut worker).await;
        client.send(&frames).await;
        assert_eq!(client.close_code().await, code, "{frames:x?}");
        assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Protocol));
    }
    // The next client's messages are decompressed as ever.
    let (mut client, id) = compressing(&suite, &mut worker).await;
    client.send(&masked(0xc1, &hi)).await;
    assert_eq!(worker.event_of(id).await, Event::Message(Message::text("hi")));
}

async fn bytes_before_and_after_compression_are_counted(threads: usize) {
    let suite = builder(threads, "all").start().await;
    let gateway = &suite.gateways[0];
    let mut worker = suite.worker_link(0, "w:1").await;
    let (mut client, to) = compressing(&suite, &mut worker).await;
    let payload = deflate(text(3000).as_bytes());
    client.send(&masked(0xc1, &payload)).await;
    client.send(&masked(0x81, b"not compressed")).await;
    for _ in 0..2 {
        worker.command(Command::SendToClient { to, message: Message::text(text(2000)) }).await;
    }
    let sent = client.frame().await.unwrap().payload.len() + 2;
    assert!(sent < 125, "{sent}");
    for (metric, value) in [
        ("handshakes", 1),
        ("in_wire_bytes", payload.len()),
        ("in_bytes", 3000),
        ("out_bytes", 4000),
        ("out_wire_bytes", 2 * sent),
    ] {
        let name = if metric == "handshakes" { "deflate" } else { "deflated" };
        let name = format!("pushsuite_gateway_{name}_{metric}_total");
        gateway.wait_for_metric(&name, value as f64).await;
    }
}

async fn control_frames_are_never_compressed(threads: usize) {
    let flags = builder(threads, "all").gateway_flag("--compression-min-size", "0");
    let suite = flags.gateway_flag("--websocket-ping", "1").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let (mut client, id) = compressing(&suite, &mut worker).await;
    client.send(&masked(0x89, &[b'p'; 125])).await;
    assert_eq!(client.frame().await.unwrap(), Frame { first: 0x8a, payload: vec![b'p'; 125] });
    let ping = client.frame().await.unwrap();
    assert_eq!((ping.first, ping.payload.len()), (0x89, 4), "with the time, as it is");
    let reason = "a".repeat(100);
    let frame = protocol::CloseFrame::new(4000, reason.clone()).unwrap();
    worker.command(Command::CloseWith { client: id, frame, farewell: None }).await;
    assert_eq!(client.close_frame().await, (4000, reason));
}

async fn handshake_that_a_worker_accepts_negotiates_as_well(threads: usize) {
    let suite = builder(threads, "all").gateway_flag("--handshake-auth", "worker").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut client = Raw::connect(suite.gateways[0].clients).await;
    // A compressed message behind the request waits for the answer.
    let request = [handshake(DEFLATE).as_bytes(), &masked(0xc1, &deflate(b"early"))].concat();
    client.send(&request).await;
    let id = loop {
        let delivery = worker.event().await;
        if matches!(delivery.event, Event::WebSocketRequest(_)) {
            break delivery.client;
        }
    };
    let grant = Box::new(protocol::Grant::new());
    worker.command(Command::AcceptHandshake { client: id, edit: 0, grant }).await;
    assert!(client.head().await.contains("\r\nSec-WebSocket-Extensions: permessage-deflate; "));
    assert_eq!(worker.event_of(id).await, Event::Message(Message::text("early")));
    worker.command(Command::SendToClient { to: id, message: Message::text(text(2000)) }).await;
    check(client.frame().await, true, &text(2000));
}

async fn compression_works_over_tls(threads: usize) {
    let suite = builder(threads, "all").wss().start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let (mut client, to) = compressing(&suite, &mut worker).await;
    client.send(&masked(0xc1, &deflate(b"over TLS"))).await;
    assert_eq!(worker.event_of(to).await, Event::Message(Message::text("over TLS")));
    worker.command(Command::SendToClient { to, message: Message::text(text(100_000)) }).await;
    check(client.frame().await, true, &text(100_000));
}
