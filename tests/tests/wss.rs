//! TLS of client listeners. The other tests cover everything else: they run over TLS as well if
//! `SUITE_TLS` is set.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

use protocol::{CloseReason, Event, Message};
use suite_tests::{
    Browser, Ca, Raw, Received, Suite, eventually, net, on_one_and_three_threads,
    process::Signal,
    raw::{handshake, masked},
    with_timeout,
};

on_one_and_three_threads!(
    messages_of_every_size_are_echoed,
    broadcast_reaches_many_clients,
    page_is_served_over_https,
    client_that_does_not_read_is_disconnected,
    memory_of_an_unread_client_is_freed_at_its_close,
    draining_gateway_sends_close_frame_and_close_notify,
    unfinished_handshake_is_disconnected,
    connection_without_tls_is_disconnected,
    certificate_is_reloaded_while_clients_stay_connected,
);

async fn start(threads: usize, app: &'static str) -> Suite {
    Suite::builder().gateways(1).workers(1).app(app).threads(threads).wss().start().await
}

async fn messages_of_every_size_are_echoed(threads: usize) {
    let suite = start(threads, "echo").await;
    let mut ann = suite.browser(0).await;
    for size in [0, 1, 125, 126, 16_383, 16_384, 16_385, 65_536, 300_000, 1 << 20] {
        let message: Vec<u8> = (0..size).map(|at| (at * 7 + at / 255) as u8).collect();
        ann.send_binary(message.clone()).await;
        assert!(ann.receive().await == Received::Binary(message.into()), "{size} bytes");
    }
    // Many messages in one write, and one message byte by byte.
    for number in 0..500 {
        ann.send(number.to_string()).await;
    }
    for number in 0..500 {
        assert_eq!(ann.receive_text().await, number.to_string());
    }
    let mut raw = Raw::websocket(suite.gateways[0].clients).await;
    for byte in masked(0x81, b"slowly") {
        raw.send(&[byte]).await;
    }
    assert_eq!(raw.frame().await.unwrap().payload, b"slowly");
}

async fn broadcast_reaches_many_clients(threads: usize) {
    let suite = start(threads, "bench").await;
    let mut all = Vec::new();
    for _ in 0..100 {
        all.push(suite.browser(0).await);
    }
    // Small, and larger than messages that are copied into each write queue.
    for size in [10, 30_000] {
        let word = format!("a{}", "x".repeat(size));
        all[0].send(word.clone()).await;
        for browser in &mut all {
            assert!(browser.receive_text().await == word);
        }
    }
    for browser in all {
        browser.close().await;
    }
    eventually("all of them to be closed", async || {
        let open = suite.gateways[0].metric("pushsuite_gateway_connections_open").await?;
        (open == 0.0).then_some(())
    })
    .await;
    assert_eq!(suite.gateways[0].metric("pushsuite_gateway_client_bytes").await, Some(0.0));
}

async fn page_is_served_over_https(threads: usize) {
    let suite = start(threads, "echo").await;
    let page = Raw::get(suite.gateways[0].clients, "/").await.unwrap();
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-length"), page.body.len().to_string());
    assert!(page.body.contains("<html"), "{}", page.body);
}

async fn client_that_does_not_read_is_disconnected(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads).wss();
    let suite = builder.gateway_flag("--send-to-client-buffer-size", "200000").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut lazy = Raw::with_small_buffers(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;
    let mut ann = suite.browser(0).await;
    worker.accept_client().await;
    let message: Message = "x".repeat(10_000).as_str().into();
    let all = protocol::Recipients::All;
    loop {
        let command = protocol::Command::SendToAll { to: all.clone(), message: message.clone() };
        worker.command(command).await;
        worker.acknowledged().await;
        assert_eq!(ann.receive_text().await.len(), 10_000);
        if !worker.has_no_event().await {
            break;
        }
    }
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Slow));
    // Queued messages arrive complete, then the close frame.
    assert_eq!(lazy.close_code().await, 1013);
}

async fn memory_of_an_unread_client_is_freed_at_its_close(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads).wss();
    let suite = builder.gateway_flag("--send-to-client-buffer-size", "10000000").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let lazy = Raw::with_small_buffers(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;
    for _ in 0..3000 {
        let message = "x".repeat(2_000).as_str().into();
        worker.command(protocol::Command::SendToClient { to: id, message }).await;
    }
    let held = async || suite.gateways[0].metric("pushsuite_gateway_client_bytes").await;
    eventually("messages to be queued", async || (500_000.0 < held().await?).then_some(())).await;
    drop(lazy);
    assert!(matches!(worker.event_of(id).await, Event::Close(_)));
    eventually("queues to be freed", async || (held().await? == 0.0).then_some(())).await;
}

async fn draining_gateway_sends_close_frame_and_close_notify(threads: usize) {
    let mut suite = start(threads, "echo").await;
    let mut raw = Raw::websocket(suite.gateways[0].clients).await;
    let mut ann = suite.browser(0).await;
    suite.gateways[0].signal(Signal::Term);
    let (code, reason) = raw.close_frame().await;
    assert_eq!(code, 1001);
    assert!(reason.starts_with("retry-after="), "{reason}");
    raw.send(&masked(0x88, &1001_u16.to_be_bytes())).await;
    // The connection ends with a `close_notify`.
    assert!(raw.closes_cleanly().await);
    assert_eq!(ann.closed().await, Some(1001));
    assert_eq!(suite.gateways[0].wait_exit().await.code(), Some(0));
}

async fn unfinished_handshake_is_disconnected(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads).wss();
    let suite = builder.gateway_flag("--handshake-timeout", "1").start().await;
    let gateway = &suite.gateways[0];
    let waiting = async || gateway.metric("pushsuite_gateway_connections_requests").await;
    // In the TLS handshake, and in the request after it.
    let mut first = Raw::plain(gateway.clients).await;
    first.send(b"\x16\x03\x01\x02\x00\x01").await;
    let mut second = Raw::connect(gateway.clients).await;
    second.send(&handshake("").as_bytes()[..20]).await;
    eventually("both to count", async || (waiting().await? == 2.0).then_some(())).await;
    first.read_to_end().await;
    second.read_to_end().await;
    eventually("none to count", async || (waiting().await? == 0.0).then_some(())).await;
}

async fn connection_without_tls_is_disconnected(threads: usize) {
    let suite = start(threads, "echo").await;
    let gateway = suite.gateways[0].clients;
    let mut raw = Raw::plain(gateway).await;
    raw.send(handshake("").as_bytes()).await;
    // A TLS alert record, and no HTTP.
    assert_eq!(raw.read_to_end().await.first(), Some(&0x15));
    let mut ann = suite.browser(0).await;
    ann.send("hello").await;
    assert_eq!(ann.receive_text().await, "hello");
}

async fn certificate_is_reloaded_while_clients_stay_connected(threads: usize) {
    let mut suite = start(threads, "echo").await;
    let (next, gateway) = (Ca::new(), suite.gateways[0].clients);
    let theirs = next.member("member");
    let mut ann = suite.browser(0).await;
    let reload = async |suite: &mut Suite, text: &str| {
        let line = format!("{text} what=\"certificate for clients\"");
        suite.gateways[0].signal(Signal::Hup);
        suite.gateways[0].wait_for_log(&[&line]).await;
    };
    next.sign("wss");
    // The key does not match the certificate yet.
    fs::copy(next.path("wss.pem"), suite.ca().path("wss.pem")).unwrap();
    reload(&mut suite, "reload failed; keeping the previous version").await;
    suite.browser(0).await.close().await;
    fs::copy(next.path("wss.key"), suite.ca().path("wss.key")).unwrap();
    reload(&mut suite, "reloaded; applies to new connections").await;
    assert!(
        with_timeout("a TLS handshake", net::connect(gateway)).await.is_err(),
        "its CA is not trusted"
    );
    net::use_tls(gateway, &theirs);
    let mut bob = Browser::open(gateway, "/").await;
    for browser in [&mut ann, &mut bob] {
        browser.send("hello").await;
        assert_eq!(browser.receive_text().await, "hello");
    }
}
