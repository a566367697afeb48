//! Clients over TLS. That they are treated as those without is what the other tests say, which run
//! over TLS as well if `SUITE_TLS` is set; these are about TLS itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

use protocol::{CloseReason, Event, Message};
use suite_tests::{
    Browser, Ca, Heard, Raw, Suite, eventually, net, on_one_and_three_threads,
    process::Signal,
    raw::{handshake, masked},
    soon,
};

on_one_and_three_threads!(
    messages_of_every_size_come_back,
    many_clients_hear_a_broadcast,
    the_page_is_there_over_https,
    a_client_that_does_not_read_is_disconnected,
    a_client_that_does_not_read_is_dropped_from_memory_when_it_goes,
    a_gateway_that_goes_down_says_goodbye,
    a_handshake_that_does_not_finish_is_cut_off,
    what_is_no_tls_is_cut_off,
    a_certificate_is_read_again_and_clients_stay,
);

async fn start(threads: usize, app: &'static str) -> Suite {
    Suite::builder().gateways(1).workers(1).app(app).threads(threads).wss().start().await
}

async fn messages_of_every_size_come_back(threads: usize) {
    let suite = start(threads, "echo").await;
    let mut ann = suite.browser(0).await;
    for size in [0, 1, 125, 126, 16_383, 16_384, 16_385, 65_536, 300_000, 1 << 20] {
        let message: Vec<u8> = (0..size).map(|at| (at * 7 + at / 255) as u8).collect();
        ann.send_binary(message.clone()).await;
        assert!(ann.hears().await == Heard::Binary(message.into()), "{size} bytes");
    }
    // Many at once, and byte by byte.
    for number in 0..500 {
        ann.send(number.to_string()).await;
    }
    for number in 0..500 {
        assert_eq!(ann.hears_text().await, number.to_string());
    }
    let mut raw = Raw::websocket(suite.gateways[0].clients).await;
    for byte in masked(0x81, b"slowly") {
        raw.send(&[byte]).await;
    }
    assert_eq!(raw.frame().await.unwrap().payload, b"slowly");
}

async fn many_clients_hear_a_broadcast(threads: usize) {
    let suite = start(threads, "bench").await;
    let mut all = Vec::new();
    for _ in 0..100 {
        all.push(suite.browser(0).await);
    }
    // Small, and larger than what is copied into each one's queue.
    for size in [10, 30_000] {
        let word = format!("a{}", "x".repeat(size));
        all[0].send(word.clone()).await;
        for browser in &mut all {
            assert!(browser.hears_text().await == word);
        }
    }
    for browser in all {
        browser.close().await;
    }
    eventually("all of them to be gone", async || {
        let open = suite.gateways[0].metric("gateway_connections_open").await?;
        (open == 0.0).then_some(())
    })
    .await;
    assert_eq!(suite.gateways[0].metric("gateway_client_bytes").await, Some(0.0));
}

async fn the_page_is_there_over_https(threads: usize) {
    let suite = start(threads, "echo").await;
    let page = Raw::get(suite.gateways[0].clients, "/").await.unwrap();
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-length"), page.body.len().to_string());
    assert!(page.body.contains("<html"), "{}", page.body);
}

async fn a_client_that_does_not_read_is_disconnected(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads).wss();
    let suite = builder.gateway_flag("--send-to-client-buffer-size", "200000").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut lazy = Raw::narrow(suite.gateways[0].clients).await;
    let id = worker.welcomes().await;
    let mut ann = suite.browser(0).await;
    worker.welcomes().await;
    let message: Message = "x".repeat(10_000).as_str().into();
    let everybody = protocol::Recipients::All;
    loop {
        let command =
            protocol::Command::SendToAll { to: everybody.clone(), message: message.clone() };
        worker.command(command).await;
        worker.taken().await;
        assert_eq!(ann.hears_text().await.len(), 10_000);
        if !worker.has_no_event().await {
            break;
        }
    }
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Slow));
    // What it was owed comes whole, and then why it is closed.
    assert_eq!(lazy.close_code().await, 1013);
}

async fn a_client_that_does_not_read_is_dropped_from_memory_when_it_goes(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads).wss();
    let suite = builder.gateway_flag("--send-to-client-buffer-size", "10000000").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let lazy = Raw::narrow(suite.gateways[0].clients).await;
    let id = worker.welcomes().await;
    for _ in 0..3000 {
        let message = "x".repeat(2_000).as_str().into();
        worker.command(protocol::Command::SendToClient { to: id, message }).await;
    }
    let held = async || suite.gateways[0].metric("gateway_client_bytes").await;
    eventually("something to be held", async || (500_000.0 < held().await?).then_some(())).await;
    drop(lazy);
    assert!(matches!(worker.event_of(id).await, Event::Close(_)));
    eventually("nothing to be held", async || (held().await? == 0.0).then_some(())).await;
}

async fn a_gateway_that_goes_down_says_goodbye(threads: usize) {
    let mut suite = start(threads, "echo").await;
    let mut raw = Raw::websocket(suite.gateways[0].clients).await;
    let mut ann = suite.browser(0).await;
    suite.gateways[0].signal(Signal::Term);
    let (code, reason) = raw.goodbye().await;
    assert_eq!(code, 1001);
    assert!(reason.starts_with("retry-after="), "{reason}");
    raw.send(&masked(0x88, &1001_u16.to_be_bytes())).await;
    // The end is TLS's own, not just that of the connection.
    assert!(raw.until_the_clean_end().await);
    assert_eq!(ann.ends().await, Some(1001));
    assert_eq!(suite.gateways[0].ended().await.code(), Some(0));
}

async fn a_handshake_that_does_not_finish_is_cut_off(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads).wss();
    let suite = builder.gateway_flag("--handshake-timeout", "1").start().await;
    let gateway = &suite.gateways[0];
    let waiting = async || gateway.metric("gateway_connections_requests").await;
    // In TLS, and behind it.
    let mut first = Raw::plain(gateway.clients).await;
    first.send(b"\x16\x03\x01\x02\x00\x01").await;
    let mut second = Raw::connect(gateway.clients).await;
    second.send(&handshake("").as_bytes()[..20]).await;
    eventually("both to count", async || (waiting().await? == 2.0).then_some(())).await;
    first.until_the_end().await;
    second.until_the_end().await;
    eventually("none to count", async || (waiting().await? == 0.0).then_some(())).await;
}

async fn what_is_no_tls_is_cut_off(threads: usize) {
    let suite = start(threads, "echo").await;
    let gateway = suite.gateways[0].clients;
    let mut raw = Raw::plain(gateway).await;
    raw.send(handshake("").as_bytes()).await;
    // A record that says why, and no word of HTTP.
    assert_eq!(raw.until_the_end().await.first(), Some(&0x15));
    let mut ann = suite.browser(0).await;
    ann.send("hello").await;
    assert_eq!(ann.hears_text().await, "hello");
}

async fn a_certificate_is_read_again_and_clients_stay(threads: usize) {
    let mut suite = start(threads, "echo").await;
    let (next, gateway) = (Ca::new(), suite.gateways[0].clients);
    let theirs = next.member("member");
    let mut ann = suite.browser(0).await;
    let says = async |suite: &mut Suite, said: &str| {
        let said = format!("{said} what=\"certificate for clients\"");
        suite.gateways[0].signal(Signal::Hup);
        suite.gateways[0].logs(&[&said]).await;
    };
    next.sign("wss");
    // The key is not that of the certificate yet.
    fs::copy(next.path("wss.pem"), suite.ca().path("wss.pem")).unwrap();
    says(&mut suite, "cannot be read again; what was read before stays").await;
    suite.browser(0).await.close().await;
    fs::copy(next.path("wss.key"), suite.ca().path("wss.key")).unwrap();
    says(&mut suite, "read again; new connections go by it").await;
    assert!(soon("to connect", net::connect(gateway)).await.is_err(), "of a CA it does not know");
    net::speaks_tls(gateway, &theirs);
    let mut bob = Browser::open(gateway, "/").await;
    for browser in [&mut ann, &mut bob] {
        browser.send("hello").await;
        assert_eq!(browser.hears_text().await, "hello");
    }
}
