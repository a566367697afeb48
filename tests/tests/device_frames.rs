//! Listeners with a declared layout of frames, and the kinds of messages on listeners of each kind.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    net::SocketAddr,
    process::{self, Stdio},
};

use protocol::{
    CloseReason, Command, ConnectionId, Event, Group, Message, MessageKind, Recipients,
    codec::gateway_worker::Opcode,
};
use suite_tests::{
    Peer, Php, Raw, Received, Suite, eventually, on_one_and_three_threads, ports, raw::masked,
};

on_one_and_three_threads!(
    frames_of_every_layout_reach_the_worker_and_are_echoed_unchanged,
    length_in_the_header_of_a_message_is_written_by_the_gateway,
    invalid_length_closes_the_connection,
    message_without_a_frame_is_counted_and_skipped,
    message_without_a_frame_is_reported_as_dropped,
    kind_of_a_message_is_kept_to_the_worker_and_back,
    group_messages_of_both_kinds_reach_every_listener,
    kind_of_a_message_of_a_php_worker_follows_its_content,
);

/// The query of a listener, a stream of frames, and the messages in it.
type Layout = (&'static str, &'static [u8], &'static [&'static [u8]]);

const LAYOUTS: &[Layout] = &[
    ("", b"\0\0\0\x06hi\0\0\0\x04", &[b"hi", b""]),
    ("?length=u8", b"\x02hi\0\x01!", &[b"hi", b"", b"!"]),
    ("?length=u16be", b"\0\x02hi\0\0", &[b"hi", b""]),
    ("?length=u16le", b"\x02\0hi\0\0", &[b"hi", b""]),
    ("?length=u24be", b"\0\0\x02hi\0\0\0", &[b"hi", b""]),
    ("?length=u24le", b"\x02\0\0hi\0\0\0", &[b"hi", b""]),
    ("?length=u32be", b"\0\0\0\x02hi\0\0\0\0", &[b"hi", b""]),
    ("?length=u32le", b"\x02\0\0\0hi\0\0\0\0", &[b"hi", b""]),
    ("?length=u16le&counts=frame", b"\x04\0hi\x02\0", &[b"hi", b""]),
    // Modbus over TCP: a transaction, a protocol, the length, and what it counts.
    (
        "?length=u16be&offset=4",
        b"\0\x01\0\0\0\x03\x11\x83\x02\0\x02\0\0\0\0",
        &[b"\0\x01\0\0\0\x03\x11\x83\x02", b"\0\x02\0\0\0\0"],
    ),
    // A tracker: two start bytes, the length, what it counts, and two end bytes.
    ("?length=u8&offset=2&adjust=2", b"xx\x02hi\r\nxx\0\r\n", &[b"xx\x02hi\r\n", b"xx\0\r\n"]),
    // A header that goes on behind the length, which counts the payload alone.
    ("?length=u8&header=keep&adjust=1", b"\x02!hi\0?", &[b"\x02!hi", b"\0?"]),
    ("?length=u16le&offset=1&counts=frame", b"!\x05\0hi?\x03\0", &[b"!\x05\0hi", b"?\x03\0"]),
];

async fn frames_of_every_layout_reach_the_worker_and_are_echoed_unchanged(threads: usize) {
    let queries: Vec<_> = LAYOUTS.iter().map(|(query, ..)| format!("frame://*{query}")).collect();
    let (_suite, addrs, mut worker) = start(threads, &queries).await;
    for ((query, stream, messages), addr) in LAYOUTS.iter().zip(addrs) {
        for pieces in [1, 2, 3, stream.len()] {
            let (mut client, id) = connect(addr, &mut worker).await;
            for piece in stream.chunks(pieces) {
                client.send(piece).await;
            }
            for expected in *messages {
                let message = message(worker.event_of(id).await);
                assert_eq!(message, Message::binary(expected.to_vec()), "{query}");
                worker.command(Command::SendToClient { to: id, message }).await;
            }
            let echoed = client.bytes(stream.len()).await;
            assert_eq!(echoed, *stream, "{query}");
            drop(client);
            assert!(matches!(worker.event_of(id).await, Event::Close(_)), "{query}");
        }
    }
}

async fn length_in_the_header_of_a_message_is_written_by_the_gateway(threads: usize) {
    let (_suite, addrs, mut worker) = start(threads, &["frame://*?length=u16le&offset=2"]).await;
    let (mut client, id) = connect(addrs[0], &mut worker).await;
    for (message, frame) in [
        (Message::binary(&b"ab\0\0cde"[..]), &b"ab\x03\0cde"[..]),
        (Message::text("ab??"), b"ab\0\0"),
        // Bytes that are framed already are not touched.
        (Message::raw(&b"ab\x09\x09"[..]), b"ab\x09\x09"),
    ] {
        worker.command(Command::SendToClient { to: id, message }).await;
        assert_eq!(client.bytes(frame.len()).await, frame);
    }
    let farewell = Some(Message::binary(&b"ab\0\0bye"[..]));
    worker.command(Command::Close { client: id, farewell }).await;
    assert_eq!(client.read_to_end().await, b"ab\x03\0bye");
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Worker));
}

async fn invalid_length_closes_the_connection(threads: usize) {
    // Each with a header, and the last header that is accepted.
    let cases: [(&str, &[u8], &[u8]); 6] = [
        ("frame://*?length=u16be&counts=frame", b"\0\x01", b"\0\x02"),
        ("frame://*?length=u16le&counts=frame&offset=2", b"ab\x03\0", b"ab\x04\0"),
        ("frame://*?length=u8&adjust=-2", b"\x01", b"\x02"),
        ("frame://*?length=u32le", b"\xff\xff\xff\xff", b"\0\0\0\0"),
        // A megabyte is the default of --max-message-size.
        ("frame://*?length=u32be", b"\0\x10\0\x01", b"\0\0\0\0"),
        ("frame://*?length=u32be&header=keep", b"\0\x0f\xff\xfd", b"\0\0\0\0"),
    ];
    let (_suite, addrs, mut worker) = start(threads, &cases.map(|(url, ..)| url)).await;
    for ((url, refused, accepted), addr) in cases.into_iter().zip(addrs) {
        let (mut client, id) = connect(addr, &mut worker).await;
        client.send(refused).await;
        assert_eq!(client.read_to_end().await, b"", "{url}");
        assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Protocol), "{url}");
        let (mut client, id) = connect(addr, &mut worker).await;
        client.send(accepted).await;
        message(worker.event_of(id).await);
        drop(client);
        assert!(matches!(worker.event_of(id).await, Event::Close(_)), "{url}");
    }
}

async fn message_without_a_frame_is_counted_and_skipped(threads: usize) {
    const COUNTER: &str = "pushsuite_gateway_messages_unframable_total";
    let urls = ["frame://*?length=u8", "frame://*?length=u8&offset=4", "text://*"];
    let (suite, addrs, mut worker) = start(threads, &urls).await;
    let (mut narrow, _) = connect(addrs[0], &mut worker).await;
    let (mut headed, _) = connect(addrs[1], &mut worker).await;
    let (mut lines, _) = connect(addrs[2], &mut worker).await;
    let long = "x".repeat(256);
    for text in [&long, "hi", "header and payload"] {
        let to = Recipients::All;
        worker.command(Command::SendToAll { to, message: text.into() }).await;
    }
    let expected = format!("{long}\nhi\nheader and payload\n");
    assert_eq!(lines.bytes(expected.len()).await, expected.as_bytes());
    // A length of one byte fits no message of 256 bytes, and a header of five no message of two.
    assert_eq!(narrow.bytes(22).await, b"\x02hi\x12header and payload");
    let frame = [&b"xxxx\xfb"[..], &[b'x'; 251], b"head\x0dr and payload"].concat();
    assert_eq!(headed.bytes(frame.len()).await, frame);
    let gateway = &suite.gateways[0];
    gateway.wait_for_metric(COUNTER, 2.0).await;
    let line = gateway.wait_for_log(&["message not sent"]).await;
    assert!(line.contains("WARN") && line.contains("listener="), "{line}");
}

async fn message_without_a_frame_is_reported_as_dropped(threads: usize) {
    let (suite, addrs, mut worker) = start(threads, &["frame://*?length=u8", "tcp://*"]).await;
    let (_narrow, _) = connect(addrs[0], &mut worker).await;
    let (_tcp, _) = connect(addrs[1], &mut worker).await;
    let cluster = suite.cluster().await;
    for (size, reached, dropped) in [(255, 2, 0), (256, 1, 1)] {
        let sent = cluster.send_to_all(push_suite_cluster::Recipients::All, "x".repeat(size));
        let report = sent.report().await.unwrap();
        assert_eq!((report.matched, report.reached, report.dropped), (2, reached, dropped));
    }
}

/// Listeners of every kind with input, and the message in it.
const KINDS: [(&str, &[u8], MessageKind, &[u8]); 4] = [
    ("text://*", b"hi\n", MessageKind::Text, b"hi"),
    ("frame://*", b"\0\0\0\x06hi", MessageKind::Binary, b"hi"),
    ("frame://*?length=u8&kind=text", b"\x02hi", MessageKind::Text, b"hi"),
    ("tcp://*", b"hi", MessageKind::Binary, b"hi"),
];

async fn kind_of_a_message_is_kept_to_the_worker_and_back(threads: usize) {
    let (suite, addrs, mut worker) = start(threads, &KINDS.map(|(url, ..)| url)).await;
    for ((url, input, kind, body), addr) in KINDS.into_iter().zip(addrs) {
        let (mut client, id) = connect(addr, &mut worker).await;
        client.send(input).await;
        let message = message(worker.event_of(id).await);
        assert_eq!((message.kind, &message.body[..]), (kind, body), "{url}");
        worker.command(Command::SendToClient { to: id, message }).await;
        assert_eq!(client.bytes(input.len()).await, input, "{url}");
        drop(client);
        assert!(matches!(worker.event_of(id).await, Event::Close(_)), "{url}");
    }
    // On a WebSocket the kind is in each frame, also of bytes that would be valid text.
    let mut client = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;
    for (first, kind) in [(0x81, MessageKind::Text), (0x82, MessageKind::Binary)] {
        client.send(&masked(first, b"hi")).await;
        let message = message(worker.event_of(id).await);
        assert_eq!((message.kind, &message.body[..]), (kind, &b"hi"[..]));
        worker.command(Command::SendToClient { to: id, message }).await;
        let frame = client.frame().await.unwrap();
        assert_eq!((frame.first, &frame.payload[..]), (first, &b"hi"[..]));
    }
}

#[tokio::test]
async fn worker_library_keeps_the_kind_of_a_message() {
    let suite = Suite::builder().gateways(1).workers(1).app("echo").start().await;
    let mut client = suite.browser(0).await;
    client.send("hi").await;
    assert_eq!(client.receive().await, "hi".into());
    client.send_binary(&b"hi"[..]).await;
    assert_eq!(client.receive().await, Received::Binary("hi".into()));
}

async fn group_messages_of_both_kinds_reach_every_listener(threads: usize) {
    let urls = KINDS.map(|(url, ..)| url);
    let (suite, addrs, mut worker) = start(threads, &urls).await;
    let (mut browser, mut ids) = (suite.browser(0).await, vec![worker.accept_client().await]);
    let mut clients = Vec::new();
    for addr in addrs {
        let (client, id) = connect(addr, &mut worker).await;
        clients.push(client);
        ids.push(id);
    }
    let group = Group::new("g").unwrap();
    for client in ids {
        worker.command(Command::JoinGroup { client, group: group.clone() }).await;
    }
    for message in [Message::binary("bin"), Message::text("txt")] {
        let groups = vec![group.clone()];
        worker.command(Command::SendToGroups { groups, exclude: Vec::new(), message }).await;
    }
    assert_eq!(browser.receive().await, Received::Binary("bin".into()));
    assert_eq!(browser.receive().await, "txt".into());
    let expected: [&[u8]; 4] =
        [b"bin\ntxt\n", b"\0\0\0\x07bin\0\0\0\x07txt", b"\x03bin\x03txt", b"bintxt"];
    for ((client, expected), url) in clients.iter_mut().zip(expected).zip(urls) {
        assert_eq!(client.bytes(expected.len()).await, expected, "{url}");
    }
}

async fn kind_of_a_message_of_a_php_worker_follows_its_content(threads: usize) {
    let addr = ports::free();
    let listen = format!("frame://{addr}?length=u16le&offset=2");
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_flag("--listen", &listen).start().await;
    let mut worker = Php::worker(suite.gateways[0].inner, &suite.secret(), "php:0").await;
    // Its protocol has no kind: text is what is UTF-8.
    let mut client = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;
    for (sent, body, returned) in
        [(0x81, &b"hi"[..], 0x81), (0x82, b"\xff\0", 0x82), (0x82, b"hi", 0x81)]
    {
        client.send(&masked(sent, body)).await;
        let message = worker.message().await;
        assert_eq!(message, body);
        worker.send(Opcode::SendToOne, id, "", message).await;
        let frame = client.frame().await.unwrap();
        assert_eq!((frame.first, &frame.payload[..]), (returned, body));
    }
    let mut device = Raw::connect(addr).await;
    let (connect, frame) = worker.event().await;
    assert_eq!(connect, Opcode::OnConnect);
    device.send(b"\xff\xfe\x02\0hi").await;
    let message = worker.message().await;
    assert_eq!(message, b"\xff\xfe\x02\0hi"[..]);
    worker.send(Opcode::SendToOne, frame.connection_id, "", message).await;
    assert_eq!(device.bytes(6).await, b"\xff\xfe\x02\0hi");
}

/// The program of a device in docs/running.md, against `--app echo`.
#[tokio::test]
async fn documented_device_gets_its_frame_back() {
    let addr = ports::free();
    let builder = Suite::builder().gateways(1).workers(1).app("echo");
    let listen = format!("frame://{addr}?length=u16le&offset=2");
    let _suite = builder.gateway_flag("--listen", &listen).start().await;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/running.md");
    let document = fs::read_to_string(path).unwrap();
    assert!(document.contains("frame://0.0.0.0:7300?length=u16le&offset=2"));
    let (_, program) = document.split_once("```python\n").unwrap();
    let (program, _) = program.split_once("```").unwrap();
    let program = program.replace("7300", &addr.port().to_string());
    let mut python = process::Command::new("python3");
    let mut python = python.args(["-c", &program]).stdout(Stdio::piped()).spawn().unwrap();
    eventually("the device to end", async || python.try_wait().unwrap()).await;
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "7 b'21.5 C'\n");
}

/// A gateway with listeners at these URLs, where `*` stands for a free address, and a worker.
async fn start(threads: usize, urls: &[impl AsRef<str>]) -> (Suite, Vec<SocketAddr>, Peer) {
    let addrs: Vec<_> = urls.iter().map(|_| ports::free()).collect();
    let mut builder = Suite::builder().gateways(1).threads(threads);
    for (url, addr) in urls.iter().zip(&addrs) {
        let url = url.as_ref().replace('*', &addr.to_string());
        builder = builder.gateway_flag("--listen", &url);
    }
    let suite = builder.start().await;
    let worker = suite.worker_link(0, "w:1").await;
    (suite, addrs, worker)
}

/// Connects a client and acknowledges its one connect event; there is no handshake.
async fn connect(addr: SocketAddr, worker: &mut Peer) -> (Raw, ConnectionId) {
    let client = Raw::connect(addr).await;
    let connect = worker.event().await;
    assert_eq!(connect.event, Event::Connect);
    worker.ack(&connect).await;
    (client, connect.client)
}

fn message(event: Event) -> Message {
    match event {
        Event::Message(message) => message,
        other => panic!("expected a message, received {other:?}"),
    }
}
