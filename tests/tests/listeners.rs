//! Listeners without HTTP: lines, lengths, and bytes as they come.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;

use protocol::{CloseReason, Command, ConnectionId, Event, Message};
use suite_tests::{Peer, Raw, Suite, on_one_and_three_threads, ports};

on_one_and_three_threads!(
    a_text_client_speaks_in_lines,
    a_frame_client_speaks_in_lengths,
    a_tcp_client_speaks_in_bytes,
    what_is_too_long_ends_the_connection,
    clients_of_all_listeners_hear_a_broadcast_each_in_its_framing,
);

async fn a_text_client_speaks_in_lines(threads: usize) {
    let (_suite, addr, mut worker) = start(threads, "text").await;
    let (mut client, id) = connect(addr, &mut worker).await;
    client.send(b"hel").await;
    client.send("lo\nw\u{f6}rld\r\n\n".as_bytes()).await;
    assert_eq!(body(worker.event_of(id).await), "hello");
    // A carriage return belongs to the line's end.
    assert_eq!(body(worker.event_of(id).await), "w\u{f6}rld");
    assert_eq!(body(worker.event_of(id).await), "");
    worker.command(Command::SendToClient { to: id, message: "hi".into() }).await;
    worker.command(Command::Close { client: id, farewell: Some("bye".into()) }).await;
    assert_eq!(client.until_the_end().await, b"hi\nbye\n");
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Worker));
}

async fn a_frame_client_speaks_in_lengths(threads: usize) {
    let (_suite, addr, mut worker) = start(threads, "frame").await;
    let (mut client, id) = connect(addr, &mut worker).await;
    for byte in b"\0\0\0\x09hello\0\0\0\x04\0\0\0\x06hi" {
        client.send(&[*byte]).await;
    }
    for said in ["hello", "", "hi"] {
        assert_eq!(body(worker.event_of(id).await), said);
    }
    worker
        .command(Command::SendToClient { to: id, message: Message::binary(&b"\0\xff"[..]) })
        .await;
    worker.command(Command::Close { client: id, farewell: None }).await;
    assert_eq!(client.until_the_end().await, b"\0\0\0\x06\0\xff");
}

async fn a_tcp_client_speaks_in_bytes(threads: usize) {
    let (_suite, addr, mut worker) = start(threads, "tcp").await;
    let (mut client, id) = connect(addr, &mut worker).await;
    client.send(b"\x01\x02").await;
    assert_eq!(body(worker.event_of(id).await), "\x01\x02");
    worker.command(Command::SendToClient { to: id, message: "a".into() }).await;
    worker.command(Command::SendToClient { to: id, message: Message::binary(&b"b"[..]) }).await;
    worker.command(Command::Close { client: id, farewell: None }).await;
    assert_eq!(client.until_the_end().await, b"ab");
}

async fn what_is_too_long_ends_the_connection(threads: usize) {
    let (_suite, addr, mut worker) = start(threads, "frame").await;
    // Its length says it all; and one that does not even count itself is none.
    for wrong in [&b"\x7f\xff\xff\xff"[..], b"\0\0\0\x03", b"\0\0\0\0"] {
        let (mut client, id) = connect(addr, &mut worker).await;
        client.send(wrong).await;
        client.until_the_end().await;
        assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Protocol));
    }
    let (_suite, addr, mut worker) = start(threads, "text").await;
    let (mut client, id) = connect(addr, &mut worker).await;
    // It may hang up before all of this has gone out.
    let _ = client.try_send(&vec![b'x'; (1 << 20) + 1]).await;
    client.until_the_end().await;
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Protocol));
}

async fn clients_of_all_listeners_hear_a_broadcast_each_in_its_framing(threads: usize) {
    let addrs = [ports::free(), ports::free(), ports::free()];
    let mut builder = Suite::builder().gateways(1).threads(threads);
    for (scheme, addr) in ["text", "frame", "tcp"].iter().zip(addrs) {
        builder = builder.gateway_flag("--listen", &format!("{scheme}://{addr}"));
    }
    let suite = builder.start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut browser = suite.browser(0).await;
    worker.welcomes().await;
    let (mut text, _) = connect(addrs[0], &mut worker).await;
    let (mut frame, _) = connect(addrs[1], &mut worker).await;
    let (mut tcp, _) = connect(addrs[2], &mut worker).await;
    let to = protocol::Recipients::All;
    worker.command(Command::SendToAll { to, message: "hi".into() }).await;
    assert_eq!(browser.hears_text().await, "hi");
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

/// A client that is told of once it is there, and as nothing more.
async fn connect(addr: SocketAddr, worker: &mut Peer) -> (Raw, ConnectionId) {
    let client = Raw::connect(addr).await;
    let connect = worker.event().await;
    assert_eq!(connect.event, Event::Connect);
    assert_eq!(connect.context.as_ref().unwrap().listener_port, addr.port());
    worker.done(&connect).await;
    (client, connect.client)
}

fn body(event: Event) -> String {
    match event {
        Event::Message(message) => String::from_utf8(message.body.to_vec()).unwrap(),
        other => panic!("a message was expected, not {other:?}"),
    }
}
