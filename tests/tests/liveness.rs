//! Liveness of clients: pings, timeouts and heartbeats.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    process::Command,
    time::{Duration, Instant},
};

use protocol::{CloseReason, Event, Message};
use suite_tests::{
    Peer, Php, Raw, Suite, eventually, on_one_and_three_threads, ports,
    raw::{Frame, masked},
    suite::Builder,
    with_timeout,
};
use tokio::time::sleep;

on_one_and_three_threads!(
    silent_client_is_pinged_and_closed_with_1001,
    client_that_answers_pings_stays_connected,
    deadline_of_a_ping_is_shorter_than_its_interval,
    client_that_sends_anything_is_not_pinged,
    client_that_is_not_read_is_not_timed_out,
    heartbeat_closes_a_silent_client_with_1001,
    heartbeat_keeps_a_client_that_replies_with_messages,
    heartbeat_keeps_a_client_that_replies_with_control_frames,
    heartbeat_without_data_sends_ping_frames_and_warns_for_listeners_without_them,
    strict_heartbeat_counts_only_messages_and_sends_no_close_frame,
);

/// Long enough to observe that something does not happen.
const LONG: Duration = Duration::from_millis(3500);

fn builder(threads: usize, flags: &[(&str, &str)]) -> Builder {
    Suite::builder().gateways(1).threads(threads).gateway_flags(flags)
}

async fn start(threads: usize, flags: &[(&str, &str)]) -> (Suite, Peer) {
    let suite = builder(threads, flags).start().await;
    let worker = suite.worker_link(0, "w:1").await;
    (suite, worker)
}

/// Reads a ping, and returns its payload, which comes back in a pong.
async fn ping(client: &mut Raw) -> Vec<u8> {
    let Frame { first, payload } = client.frame().await.unwrap();
    assert_eq!((first, payload.len()), (0x89, 4));
    payload
}

async fn silent_client_is_pinged_and_closed_with_1001(threads: usize) {
    let (suite, mut worker) = start(threads, &[("--websocket-ping", "1")]).await;
    // Several at once; one answers the first ping.
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(Raw::websocket(suite.gateways[0].clients).await);
        worker.accept_client().await;
    }
    for client in &mut clients {
        ping(client).await;
    }
    clients[0].send(&masked(0x8a, b"")).await;
    for client in &mut clients[1..] {
        assert_eq!(client.close_code().await, 1001);
    }
    ping(&mut clients[0]).await;
    assert_eq!(clients[0].close_code().await, 1001);
    for _ in &clients {
        assert_eq!(worker.event().await.event, Event::Close(CloseReason::Timeout));
    }
    let pings = suite.gateways[0].metric("pushsuite_gateway_websocket_pings_total").await;
    assert_eq!(pings, Some(6.0));
    assert_eq!(suite.gateways[0].metric("pushsuite_gateway_messages_out_total").await, Some(0.0));
}

async fn deadline_of_a_ping_is_shorter_than_its_interval(threads: usize) {
    let flags = [("--websocket-ping", "4"), ("--websocket-pong-timeout", "1")];
    let (suite, mut worker) = start(threads, &flags).await;
    let mut client = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;
    let opened = Instant::now();
    ping(&mut client).await;
    let pinged = opened.elapsed();
    assert_eq!(client.close_code().await, 1001);
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Timeout));
    // With the interval as its deadline, both would take as long.
    let closed = opened.elapsed() - pinged;
    assert!(closed < pinged, "pinged after {pinged:?}, closed {closed:?} later");
}

#[tokio::test]
async fn client_whose_process_is_frozen_is_found_and_one_that_answers_stays() {
    let flags = [("--websocket-ping", "1"), ("--websocket-pong-timeout", "1")];
    let suite = builder(1, &flags).plain_clients().start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut client = Command::new(env!("CARGO_BIN_EXE_idle-client"))
        .arg(suite.gateways[0].clients.to_string())
        .spawn()
        .unwrap();
    let id = worker.accept_client().await;
    let pings = "pushsuite_gateway_websocket_pings_total";
    eventually("several pings to be answered", async || {
        (4.0 <= suite.gateways[0].metric(pings).await?).then_some(())
    })
    .await;
    assert!(worker.has_no_event().await, "it answers, and sends nothing else");
    let stop = Command::new("kill").args(["-STOP", &client.id().to_string()]).status().unwrap();
    assert!(stop.success());
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Timeout));
    client.kill().unwrap();
    client.wait().unwrap();
}

async fn client_that_answers_pings_stays_connected(threads: usize) {
    let (suite, mut worker) = start(threads, &[("--websocket-ping", "1")]).await;
    let mut client = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;
    for _ in 0..4 {
        ping(&mut client).await;
        client.send(&masked(0x8a, b"")).await;
    }
    client.send(&masked(0x81, b"still here")).await;
    assert_eq!(worker.event_of(id).await, Event::Message("still here".into()));
}

async fn client_that_sends_anything_is_not_pinged(threads: usize) {
    let (suite, mut worker) = start(threads, &[("--websocket-ping", "1")]).await;
    let gateway = suite.gateways[0].clients;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push((Raw::websocket(gateway).await, worker.accept_client().await));
    }
    let [(pings, _), (fragments, of_fragments), (slow, of_slow)] = &mut clients[..] else {
        unreachable!("three clients")
    };
    fragments.send(&masked(0x01, b"")).await;
    let long = masked(0x81, &[b'x'; 12]);
    for byte in &long {
        pings.send(&masked(0x89, b"?")).await;
        fragments.send(&masked(0x00, b"x")).await;
        slow.send(&[*byte]).await;
        sleep(LONG / long.len() as u32).await;
    }
    let body = |count: usize| Event::Message(Message::text("x".repeat(count)));
    assert_eq!(worker.event_of(*of_slow).await, body(12));
    fragments.send(&masked(0x80, b"")).await;
    assert_eq!(worker.event_of(*of_fragments).await, body(long.len()));
    for _ in &long {
        assert_eq!(pings.frame().await.unwrap().first, 0x8a, "only pongs to its own pings");
    }
    let sent = suite.gateways[0].metric("pushsuite_gateway_websocket_pings_total").await;
    assert_eq!(sent, Some(0.0));
}

/// Pongs cannot be seen while the socket is paused because the worker's window is full.
async fn client_that_is_not_read_is_not_timed_out(threads: usize) {
    const MESSAGES: usize = 300;
    let flags = [("--websocket-ping", "1"), ("--ping-interval", "1")];
    let limits = [("--ping-not-response-limit", "1"), ("--worker-window", "100000")];
    let (suite, mut worker) = start(threads, &[flags, limits].concat()).await;
    let mut client = Raw::websocket(suite.gateways[0].clients).await;
    let sending = tokio::spawn(async move {
        for at in 0..MESSAGES {
            client.send(&masked(0x82, &[at as u8; 20_000])).await;
        }
        client
    });
    let mut delivered = Vec::new();
    // Acknowledge nothing until the gateway has sent no events for several intervals.
    let mut quiet = Duration::ZERO;
    while quiet < LONG {
        let moment = Duration::from_millis(100);
        sleep(moment).await;
        quiet += moment;
        while !worker.has_no_event().await {
            delivered.push(worker.event().await);
            quiet = Duration::ZERO;
        }
    }
    assert!(!sending.is_finished(), "the messages do not fit a window and two sockets");
    let clients = suite.gateways[0].metric("pushsuite_gateway_clients").await;
    assert_eq!(clients, Some(1.0), "{} events", delivered.len());
    let mut next = 0;
    let mut delivered = delivered.into_iter();
    while next < MESSAGES {
        let delivery = match delivered.next() {
            Some(delivery) => delivery,
            None => worker.event().await,
        };
        worker.ack(&delivery).await;
        match delivery.event {
            Event::Message(message) => {
                assert_eq!(message.body[0], next as u8);
                next += 1;
            }
            Event::Connect | Event::WebSocketConnect(_) => {}
            other => panic!("after {next} messages: {other:?}"),
        }
    }
    let _client = with_timeout("the client to send everything", sending).await.unwrap();
}

const HEARTBEAT: [(&str, &str); 3] = [
    ("--ping-interval", "1"),
    ("--ping-not-response-limit", "1"),
    ("--ping-data", "are you there?"),
];

fn data() -> Option<Frame> {
    Some(Frame { first: 0x81, payload: b"are you there?".to_vec() })
}

async fn heartbeat_closes_a_silent_client_with_1001(threads: usize) {
    let (suite, mut worker) = start(threads, &HEARTBEAT).await;
    let mut silent = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;
    assert_eq!(silent.frame().await, data());
    assert_eq!(silent.close_code().await, 1001);
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Timeout));
}

async fn heartbeat_keeps_a_client_that_replies_with_messages(threads: usize) {
    let (suite, mut worker) = start(threads, &HEARTBEAT).await;
    let mut client = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;
    for _ in 0..3 {
        assert_eq!(client.frame().await, data());
        client.send(&masked(0x81, b"yes")).await;
        assert_eq!(worker.event_of(id).await, Event::Message("yes".into()));
    }
}

async fn heartbeat_keeps_a_client_that_replies_with_control_frames(threads: usize) {
    let (suite, mut worker) = start(threads, &HEARTBEAT).await;
    let mut client = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;
    // Heartbeats are sent all the same: only messages show that a page is alive.
    for first in [0x89, 0x8a, 0x89] {
        loop {
            let frame = client.frame().await;
            if frame == data() {
                break;
            }
            assert_eq!(frame.unwrap().first, 0x8a);
        }
        client.send(&masked(first, b"")).await;
    }
    client.send(&masked(0x81, b"yes")).await;
    assert_eq!(worker.event_of(id).await, Event::Message("yes".into()));
}

async fn heartbeat_without_data_sends_ping_frames_and_warns_for_listeners_without_them(
    threads: usize,
) {
    let lines = ports::free();
    let text = format!("text://{lines}");
    let (suite, mut worker) =
        start(threads, &[("--ping-interval", "1"), ("--listen", &text)]).await;
    let mut client = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;
    for _ in 0..2 {
        ping(&mut client).await;
    }
    client.send(&masked(0x81, b"hi")).await;
    assert_eq!(worker.event_of(id).await, Event::Message("hi".into()));
    let log = suite.gateways[0].log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("has no effect")).collect();
    assert!(
        matches!(&warnings[..], [one] if one.contains("WARN") && one.contains(&lines.to_string())),
        "{warnings:#?}"
    );
}

async fn strict_heartbeat_counts_only_messages_and_sends_no_close_frame(threads: usize) {
    let suite = builder(threads, &[&HEARTBEAT[..], &[("--compat", "strict")]].concat());
    let suite = suite.start().await;
    let mut worker = Php::worker(suite.gateways[0].inner, &suite.secret(), "php:0").await;
    let mut client = Raw::websocket(suite.gateways[0].clients).await;
    worker.accept_client().await;
    let answers = async {
        let mut received = Vec::new();
        while let Some(frame) = client.frame().await {
            // The gateway may close first.
            let _ = client.try_send(&masked(0x8a, b"")).await;
            received.push(frame);
        }
        received
    };
    let received = with_timeout("the end of the connection", answers).await;
    assert_eq!(received, [data().unwrap()], "no ping frame, and no close frame");
    let name = "pushsuite_gateway_clients_closed_total{reason=\"timeout\"}";
    suite.gateways[0].wait_for_metric(name, 1.0).await;
}
