//! Limits on the rates at which a client sends: messages and bytes in a second, with both policies.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use protocol::{Close, CloseReason, ConnectionId, Event, Message};
use suite_tests::{
    Peer, Raw, Suite, eventually, on_one_and_three_threads, ports,
    process::Signal,
    raw::{Frame, masked},
    suite::Builder,
    with_timeout,
};

on_one_and_three_threads!(
    fast_client_is_read_at_its_rate_and_loses_nothing,
    large_messages_are_read_at_the_byte_rate_and_arrive_whole,
    paused_client_fills_its_own_socket_and_not_the_gateway,
    pings_count_as_messages,
    rates_apply_to_every_listener,
    client_over_its_rate_is_closed_with_4429,
    client_over_its_byte_rate_is_closed_with_4429,
    client_within_its_burst_is_not_limited,
    paused_client_is_neither_timed_out_nor_late_to_be_closed,
    drain_takes_everything_that_a_paused_client_has_sent,
);

fn builder(threads: usize, flags: &[(&str, &str)]) -> Builder {
    Suite::builder().gateways(1).threads(threads).gateway_flags(flags)
}

async fn start(threads: usize, flags: &[(&str, &str)]) -> (Suite, Peer) {
    let suite = builder(threads, flags).start().await;
    let worker = suite.worker_link(0, "w:1").await;
    (suite, worker)
}

async fn client(suite: &Suite, worker: &mut Peer) -> (Raw, ConnectionId) {
    let client = Raw::websocket(suite.gateways[0].clients).await;
    (client, worker.accept_client().await)
}

/// The counter of a limit.
async fn limited(suite: &Suite, of: &str) -> f64 {
    suite.gateways[0].metric(&format!("pushsuite_gateway_{of}_rate_limited_total")).await.unwrap()
}

async fn fast_client_is_read_at_its_rate_and_loses_nothing(threads: usize) {
    let flags = [("--max-messages-per-second", "20"), ("--message-burst", "10")];
    let (suite, mut worker) = start(threads, &flags).await;
    let (mut fast, of_fast) = client(&suite, &mut worker).await;
    let (mut other, of_other) = client(&suite, &mut worker).await;
    let started = Instant::now();
    let all: Vec<u8> = (0..60).flat_map(|at: u8| masked(0x81, at.to_string().as_bytes())).collect();
    fast.send(&all).await;
    let (mut next, mut others) = (0, 0);
    other.send(&masked(0x81, b"other")).await;
    while next < 60 {
        let delivery = worker.event().await;
        worker.ack(&delivery).await;
        let Event::Message(message) = delivery.event else { panic!("{:?}", delivery.event) };
        if delivery.client == of_fast {
            assert_eq!(message.as_text(), Some(&*next.to_string()), "in order");
            next += 1;
        } else {
            assert_eq!((delivery.client, message.as_text()), (of_other, Some("other")));
            // Before the rest of the flood.
            assert!(next < 30, "after {next} messages of the other client");
            others += 1;
        }
    }
    // A burst of ten, and fifty at twenty a second.
    assert!(Duration::from_millis(2450) <= started.elapsed(), "{:?}", started.elapsed());
    assert_eq!(others, 1);
    assert!(0.0 < limited(&suite, "messages").await);
    assert_eq!(limited(&suite, "bytes").await, 0.0);
    let line = suite.gateways[0].wait_for_log(&["WARN", "client is over its rate limit"]).await;
    for field in ["remote=127.0.0.1:", "limit=\"messages\"", "suppressed="] {
        assert!(line.contains(field), "{line}");
    }
}

async fn large_messages_are_read_at_the_byte_rate_and_arrive_whole(threads: usize) {
    let flags = [("--max-bytes-per-second", "200000"), ("--byte-burst", "50000")];
    let (suite, mut worker) = start(threads, &flags).await;
    let (mut client, id) = client(&suite, &mut worker).await;
    let started = Instant::now();
    // The second is larger than a full bucket.
    let sizes = [30_000, 150_000, 1, 100_000, 170_000];
    let sent: usize = sizes.iter().sum();
    let sending = tokio::spawn(async move {
        for (at, size) in sizes.iter().enumerate() {
            client.send(&masked(0x82, &vec![at as u8; *size])).await;
        }
        client
    });
    for (at, size) in sizes.iter().enumerate() {
        let event = worker.event_of(id).await;
        assert_eq!(event, Event::Message(Message::binary(vec![at as u8; *size])));
    }
    let least = Duration::from_secs_f64((sent - 50_000) as f64 / 200_000.0 - 0.05);
    assert!(least <= started.elapsed(), "{:?}", started.elapsed());
    assert!(0.0 < limited(&suite, "bytes").await);
    with_timeout("everything to be sent", sending).await.unwrap();
}

async fn paused_client_fills_its_own_socket_and_not_the_gateway(threads: usize) {
    let flags = [("--max-bytes-per-second", "1000"), ("--byte-burst", "1000")];
    let (suite, mut worker) = start(threads, &flags).await;
    let (mut flooder, _) = client(&suite, &mut worker).await;
    let sending = tokio::spawn(async move {
        for _ in 0..1000 {
            flooder.send(&masked(0x82, &[0; 60_000])).await;
        }
    });
    eventually("the flood to be limited", async || {
        (3.0 < limited(&suite, "bytes").await).then_some(())
    })
    .await;
    assert!(!sending.is_finished(), "60 MB do not fit two sockets");
    let held = suite.gateways[0].metric("pushsuite_gateway_client_bytes").await.unwrap();
    assert!(held < 300_000.0, "{held}");
    // Others are served.
    let mut browser = suite.browser(0).await;
    let id = worker.accept_client().await;
    browser.send("hi").await;
    assert_eq!(worker.event_of(id).await, Event::Message("hi".into()));
    sending.abort();
}

async fn pings_count_as_messages(threads: usize) {
    let flags = [("--max-messages-per-second", "20"), ("--message-burst", "5")];
    let (suite, mut worker) = start(threads, &flags).await;
    let (mut client, id) = client(&suite, &mut worker).await;
    let started = Instant::now();
    let mut all = masked(0x89, b"?").repeat(20);
    all.extend(masked(0x8a, b"").repeat(20));
    all.extend(masked(0x81, b"last"));
    client.send(&all).await;
    for _ in 0..20 {
        assert_eq!(client.frame().await, Some(Frame { first: 0x8a, payload: b"?".to_vec() }));
    }
    assert_eq!(worker.event_of(id).await, Event::Message("last".into()));
    assert!(Duration::from_millis(1700) <= started.elapsed(), "{:?}", started.elapsed());
    assert!(0.0 < limited(&suite, "messages").await);
}

/// Acknowledges the connect event of a client without a handshake; returns its id.
async fn connected(worker: &mut Peer) -> ConnectionId {
    let delivery = worker.event().await;
    worker.ack(&delivery).await;
    assert_eq!(delivery.event, Event::Connect);
    delivery.client
}

async fn rates_apply_to_every_listener(threads: usize) {
    for (scheme, one) in
        [("text", &b"hello\n"[..]), ("frame", b"\0\0\0\x09hello"), ("tcp", b"hello")]
    {
        let listener: SocketAddr = ports::free();
        let url = format!("{scheme}://{listener}");
        let rates = [("--max-messages-per-second", "10"), ("--listen", &*url)];
        let (suite, mut worker) = start(threads, &rates).await;
        let mut client = Raw::plain(listener).await;
        let started = Instant::now();
        for sent in 0..20 {
            client.send(one).await;
            if sent == 0 {
                let id = connected(&mut worker).await;
                assert!(matches!(worker.event_of(id).await, Event::Message(_)), "{scheme}");
            } else if scheme == "tcp" {
                // Each read is a message.
                assert!(matches!(worker.event().await.event, Event::Message(_)));
            }
        }
        if scheme != "tcp" {
            for _ in 1..20 {
                assert!(matches!(worker.event().await.event, Event::Message(_)), "{scheme}");
            }
        }
        assert!(Duration::from_millis(950) <= started.elapsed(), "{scheme}");
        assert!(0.0 < limited(&suite, "messages").await, "{scheme}");

        // Without close frames, the connection is closed.
        let bytes = [("--max-bytes-per-second", "100"), ("--max-message-size", "100")];
        let policy = [("--rate-policy", "disconnect"), ("--listen", &*url)];
        drop(suite);
        let (_suite, mut worker) = start(threads, &[bytes, policy].concat()).await;
        let mut client = Raw::plain(listener).await;
        client.send(one).await;
        let id = connected(&mut worker).await;
        assert!(matches!(worker.event_of(id).await, Event::Message(_)), "{scheme}");
        let _ = client.try_send(&one.repeat(5_000)).await;
        client.read_to_end().await;
        loop {
            match worker.event_of(id).await {
                Event::Message(_) => {}
                other => break assert_eq!(other, Event::Close(CloseReason::RateLimit), "{scheme}"),
            }
        }
    }
}

async fn client_over_its_rate_is_closed_with_4429(threads: usize) {
    let flags = [("--max-messages-per-second", "3"), ("--rate-policy", "disconnect")];
    let (suite, mut worker) = start(threads, &flags).await;
    let (mut flooder, id) = client(&suite, &mut worker).await;
    flooder.send(&masked(0x81, b"x").repeat(40)).await;
    assert_eq!(flooder.close_frame().await, (4429, "rate limit".to_owned()));
    let mut messages = 0;
    loop {
        match worker.event_of(id).await {
            Event::Message(_) => messages += 1,
            other => break assert_eq!(other, Event::Close(CloseReason::RateLimit)),
        }
    }
    assert!((3..40).contains(&messages), "{messages}");
    assert_eq!(limited(&suite, "messages").await, 1.0);
    let closed = "pushsuite_gateway_clients_closed_total{reason=\"rate_limit\"}";
    suite.gateways[0].wait_for_metric(closed, 1.0).await;
    let words = ["WARN", "client is over its rate limit", "limit=\"messages\""];
    suite.gateways[0].wait_for_log(&words).await;
    assert!(worker.has_no_event().await, "one close");
}

async fn client_over_its_byte_rate_is_closed_with_4429(threads: usize) {
    let flags = [
        ("--max-bytes-per-second", "100000"),
        ("--max-message-size", "100000"),
        ("--rate-policy", "disconnect"),
    ];
    let (suite, mut worker) = start(threads, &flags).await;
    let (mut legal, of_legal) = client(&suite, &mut worker).await;
    legal.send(&masked(0x82, &[7; 100_000])).await;
    let event = worker.event_of(of_legal).await;
    assert_eq!(
        event,
        Event::Message(Message::binary(vec![7; 100_000])),
        "one message never is over"
    );
    let (mut flooder, id) = client(&suite, &mut worker).await;
    // It may be closed while it sends.
    let sending = async {
        for _ in 0..20 {
            if flooder.try_send(&masked(0x82, &[0; 50_000])).await.is_err() {
                break;
            }
        }
    };
    sending.await;
    loop {
        match worker.event_of(id).await {
            Event::Message(_) => {}
            other => break assert_eq!(other, Event::Close(CloseReason::RateLimit)),
        }
    }
    assert_eq!(limited(&suite, "bytes").await, 1.0);
}

async fn client_within_its_burst_is_not_limited(threads: usize) {
    for policy in ["pause", "disconnect"] {
        let flags = [
            ("--max-messages-per-second", "1"),
            ("--message-burst", "50"),
            ("--max-bytes-per-second", "1000"),
            ("--rate-policy", policy),
        ];
        let (suite, mut worker) = start(threads, &flags).await;
        let (mut client, id) = client(&suite, &mut worker).await;
        client.send(&masked(0x81, &[b'x'; 1000]).repeat(40)).await;
        for _ in 0..40 {
            let event = worker.event_of(id).await;
            assert_eq!(event, Event::Message("x".repeat(1000).into()), "{policy}");
        }
        assert_eq!(limited(&suite, "messages").await + limited(&suite, "bytes").await, 0.0);
    }
}

async fn paused_client_is_neither_timed_out_nor_late_to_be_closed(threads: usize) {
    let flags = [
        ("--max-messages-per-second", "1"),
        ("--message-burst", "1"),
        ("--websocket-ping", "1"),
        ("--ping-interval", "1"),
        ("--ping-not-response-limit", "1"),
    ];
    let (suite, mut worker) = start(threads, &flags).await;
    let (mut client, id) = client(&suite, &mut worker).await;
    client.send(&masked(0x81, b"x").repeat(60)).await;
    for _ in 0..5 {
        assert_eq!(worker.event_of(id).await, Event::Message("x".into()));
    }
    let close = Close::new(4000, "bye").unwrap();
    worker.command(close.of_client(id)).await;
    assert_eq!(client.close_frame().await, (4000, "bye".to_owned()));
    loop {
        match worker.event_of(id).await {
            Event::Message(_) => {}
            other => break assert_eq!(other, Event::Close(CloseReason::Worker)),
        }
    }
}

async fn drain_takes_everything_that_a_paused_client_has_sent(threads: usize) {
    let by_messages = [("--max-messages-per-second", "1"), ("--message-burst", "2")];
    let by_bytes = [("--max-bytes-per-second", "10"), ("--byte-burst", "10")];
    for flags in [by_messages, by_bytes] {
        drains_what_was_sent(threads, &flags).await;
    }
}

async fn drains_what_was_sent(threads: usize, flags: &[(&str, &str)]) {
    let (mut suite, mut worker) = start(threads, flags).await;
    let (mut client, id) = client(&suite, &mut worker).await;
    client.send(&masked(0x81, b"x").repeat(100)).await;
    assert_eq!(worker.event_of(id).await, Event::Message("x".into()));
    suite.gateways[0].signal(Signal::Term);
    let answer = async {
        let (code, _) = client.close_frame().await;
        client.send(&masked(0x88, &code.to_be_bytes())).await;
        code
    };
    let taken = async {
        let mut messages = 1;
        loop {
            match worker.event_of(id).await {
                Event::Message(_) => messages += 1,
                other => break (messages, other),
            }
        }
    };
    let (code, taken) = tokio::join!(answer, taken);
    assert_eq!((code, taken), (1001, (100, Event::Close(CloseReason::Shutdown))));
    assert_eq!(suite.gateways[0].wait_exit().await.code(), Some(0));
}
