//! Listeners without HTTP: line framing, length framing, and raw bytes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;

use protocol::{CloseFrame, CloseReason, Command, ConnectionId, Event, Message};
use suite_tests::{Peer, Raw, Suite, on_one_and_three_threads, ports};

on_one_and_three_threads!(
    text_listener_frames_messages_by_lines,
    frame_listener_frames_messages_by_length,
    tcp_listener_passes_bytes_unframed,
    close_code_is_not_sent_without_websocket,
    oversized_message_closes_the_connection,
    broadcast_reaches_clients_of_every_listener_in_its_framing,
);

async fn text_listener_frames_messages_by_lines(threads: usize) {
    let (_suite, addr, mut worker) = start(threads, "text").await;
    let (mut client, id) = connect(addr, &mut worker).await;
    client.send(b"hel").await;
    client.send("lo\nw\u{f6}rld\r\n\n".as_bytes()).await;
    assert_eq!(body(worker.event_of(id).await), "hello");
    // A carriage return is part of the line ending.
    assert_eq!(body(worker.event_of(id).await), "w\u{f6}rld");
    assert_eq!(body(worker.event_of(id).await), "");
    worker.command(Command::SendToClient { to: id, message: "hi".into() }).await;
    worker.command(Command::Close { client: id, farewell: Some("bye".into()) }).await;
    assert_eq!(client.read_to_end().await, b"hi\nbye\n");
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Worker));
}

async fn frame_listener_frames_messages_by_length(threads: usize) {
    let (_suite, addr, mut worker) = start(threads, "frame").await;
    let (mut client, id) = connect(addr, &mut worker).await;
    for byte in b"\0\0\0\x09hello\0\0\0\x04\0\0\0\x06hi" {
        client.send(&[*byte]).await;
    }
    for text in ["hello", "", "hi"] {
        assert_eq!(body(worker.event_of(id).await), text);
    }
    worker
        .command(Command::SendToClient { to: id, message: Message::binary(&b"\0\xff"[..]) })
        .await;
    worker.command(Command::Close { client: id, farewell: None }).await;
    assert_eq!(client.read_to_end().await, b"\0\0\0\x06\0\xff");
}

async fn tcp_listener_passes_bytes_unframed(threads: usize) {
    let (_suite, addr, mut worker) = start(threads, "tcp").await;
    let (mut client, id) = connect(addr, &mut worker).await;
    client.send(b"\x01\x02").await;
    assert_eq!(body(worker.event_of(id).await), "\x01\x02");
    worker.command(Command::SendToClient { to: id, message: "a".into() }).await;
    worker.command(Command::SendToClient { to: id, message: Message::binary(&b"b"[..]) }).await;
    worker.command(Command::Close { client: id, farewell: None }).await;
    assert_eq!(client.read_to_end().await, b"ab");
}

async fn close_code_is_not_sent_without_websocket(threads: usize) {
    for (scheme, last) in [("text", &b"bye\n"[..]), ("frame", b"\0\0\0\x07bye"), ("tcp", b"bye")] {
        let (_suite, addr, mut worker) = start(threads, scheme).await;
        let (mut client, id) = connect(addr, &mut worker).await;
        let frame = CloseFrame::new(4403, "banned").unwrap();
        let farewell = Some("bye".into());
        worker.command(Command::CloseWith { client: id, frame, farewell }).await;
        assert_eq!(client.read_to_end().await, last);
        assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Worker));
    }
}

async fn oversized_message_closes_the_connection(threads: usize) {
    let (_suite, addr, mut worker) = start(threads, "frame").await;
    // Refused by its length; and a length below that of the header is invalid.
    for wrong in [&b"\x7f\xff\xff\xff"[..], b"\0\0\0\x03", b"\0\0\0\0"] {
        let (mut client, id) = connect(addr, &mut worker).await;
        client.send(wrong).await;
        client.read_to_end().await;
        assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Protocol));
    }
    let (_suite, addr, mut worker) = start(threads, "text").await;
    let (mut client, id) = connect(addr, &mut worker).await;
    // The gateway may disconnect before everything is sent.
    let _ = client.try_send(&vec![b'x'; (1 << 20) + 1]).await;
    client.read_to_end().await;
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Protocol));
}

async fn broadcast_reaches_clients_of_every_listener_in_its_framing(threads: usize) {
    let addrs = [ports::free(), ports::free(), ports::free()];
    let mut builder = Suite::builder().gateways(1).threads(threads);
    for (scheme, addr) in ["text", "frame", "tcp"].iter().zip(addrs) {
        builder = builder.gateway_flag("--listen", &format!("{scheme}://{addr}"));
    }
    let suite = builder.start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut browser = suite.browser(0).await;
    worker.accept_client().await;
    let (mut text, _) = connect(addrs[0], &mut worker).await;
    let (mut frame, _) = connect(addrs[1], &mut worker).await;
    let (mut tcp, _) = connect(addrs[2], &mut worker).await;
    let to = protocol::Recipients::All;
    worker.command(Command::SendToAll { to, message: "hi".into() }).await;
    assert_eq!(browser.receive_text().await, "hi");
    assert_eq!(text.bytes(3).await, b"hi\n");
    assert_eq!(frame.bytes(6).await, b"\0\0\0\x06hi");
    assert_eq!(tcp.bytes(2).await, b"hi");
}

async fn start(threads: usize, scheme: &str) -> (Suite, SocketAddr, Peer) {
    let addr = ports::free();
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_flag("--listen", &format!("{scheme}://{addr}")).start().await;
    let worker = suite.worker_link(0, "w:1").await;
    (suite, addr, worker)
}

/// Connects a client and acknowledges its one connect event; there is no handshake.
async fn connect(addr: SocketAddr, worker: &mut Peer) -> (Raw, ConnectionId) {
    let client = Raw::connect(addr).await;
    let connect = worker.event().await;
    assert_eq!(connect.event, Event::Connect);
    assert_eq!(connect.context.as_ref().unwrap().listener_port, addr.port());
    worker.ack(&connect).await;
    (client, connect.client)
}

fn body(event: Event) -> String {
    match event {
        Event::Message(message) => String::from_utf8(message.body.to_vec()).unwrap(),
        other => panic!("expected a message, received {other:?}"),
    }
}
