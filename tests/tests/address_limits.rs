//! Limits by client address: open connections, and handshakes in a second; and the places of
//! connections that are closing.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::{IpAddr, SocketAddr};

use protocol::{Answer, Close, CloseReason, Command, Event, Message, Query, Recipients};
use suite_tests::{
    Peer, Raw, Suite, eventually, on_one_and_three_threads, ports,
    raw::{self, handshake, masked},
    suite::Builder,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

on_one_and_three_threads!(
    connections_of_an_address_are_limited_over_all_threads,
    connections_over_the_limit_of_other_listeners_are_closed,
    addresses_of_an_ipv6_network_are_one,
    clients_behind_a_trusted_proxy_are_limited_by_their_own_address,
    clients_of_the_proxy_protocol_are_limited_by_their_own_address,
    handshakes_of_an_address_are_limited_and_others_connect,
    exempt_addresses_are_not_limited,
    refused_handshake_releases_its_address,
    handshakes_over_the_rate_of_all_wait_to_be_accepted,
    client_that_does_not_answer_a_close_frame_holds_no_place,
    client_that_reads_nothing_is_cut_off_at_the_close_timeout,
);

fn builder(threads: usize, flags: &[(&str, &str)]) -> Builder {
    Suite::builder().gateways(1).threads(threads).gateway_flags(flags)
}

/// The status of a WebSocket handshake with these headers, and the headers of the response. `None`
/// if the connection is closed without one.
async fn status(client: &mut Raw, headers: &str) -> Option<(u16, String)> {
    // The gateway may have closed it already.
    let _ = client.try_send(handshake(headers).as_bytes()).await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = client.some_bytes(1).await;
        if byte.is_empty() {
            return None;
        }
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    Some((head.split(' ').nth(1)?.parse().ok()?, head))
}

/// Opens a WebSocket with these headers in its handshake.
async fn opened(gateway: SocketAddr, headers: &str) -> Raw {
    let mut client = Raw::connect(gateway).await;
    let (status, head) = status(&mut client, headers).await.unwrap();
    assert_eq!(status, 101, "{head}");
    client
}

/// A handshake with these headers is refused with 429, over TLS possibly by closing the connection.
async fn is_refused(gateway: SocketAddr, headers: &str) {
    let Ok(stream) = suite_tests::net::connect(gateway).await else { return };
    let mut client = Raw::from(stream);
    if let Some((status, head)) = status(&mut client, headers).await {
        assert_eq!(status, 429, "{head}");
        let seconds = head.split("Retry-After: ").nth(1).unwrap().split("\r\n").next().unwrap();
        assert!((1..=10).contains(&seconds.parse::<u64>().unwrap()), "{head}");
    }
    client.read_to_end().await;
}

/// Acknowledges the connect event of a client without a handshake; returns its id.
async fn connected(worker: &mut Peer) -> protocol::ConnectionId {
    let delivery = worker.event().await;
    worker.ack(&delivery).await;
    assert_eq!(delivery.event, Event::Connect);
    delivery.client
}

/// A metric of refused handshakes.
fn refused(reason: &str) -> String {
    format!("pushsuite_gateway_handshakes_refused_total{{reason=\"{reason}\"}}")
}

/// Until a handshake is accepted, which is refused as long as a place is not free.
async fn opened_at_last(gateway: SocketAddr, headers: &str) -> Raw {
    eventually("a handshake to be accepted", async || {
        let mut client = Raw::from(suite_tests::net::connect(gateway).await.ok()?);
        let accepted = status(&mut client, headers).await?.0 == 101;
        accepted.then_some(client)
    })
    .await
}

async fn connections_of_an_address_are_limited_over_all_threads(threads: usize) {
    let suite = builder(threads, &[("--max-connections-per-address", "3")]).start().await;
    let gateway = suite.gateways[0].clients;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(opened(gateway, "").await);
        worker.accept_client().await;
    }
    for _ in 0..4 {
        is_refused(gateway, "").await;
    }
    assert!(worker.has_no_event().await, "no worker sees a refused client");
    suite.gateways[0].wait_for_metric(&refused("connections_per_address"), 4.0).await;
    let line =
        suite.gateways[0].wait_for_log(&["WARN", "reason=\"connections_per_address\""]).await;
    assert!(line.contains("remote=127.0.0.1:") && line.contains("suppressed="), "{line}");
    let lines = suite.gateways[0].log_lines("connections_per_address");
    assert!(lines.iter().filter(|line| line.contains("WARN")).count() < 4, "{lines:#?}");
    // The end of one frees its place.
    drop(clients.pop());
    let _fourth = opened_at_last(gateway, "").await;
    is_refused(gateway, "").await;
}

async fn connections_over_the_limit_of_other_listeners_are_closed(threads: usize) {
    for scheme in ["text", "frame", "tcp"] {
        let listener = ports::free();
        let url = format!("{scheme}://{listener}");
        let flags = [("--max-connections-per-address", "2"), ("--listen", &url)];
        let suite = builder(threads, &flags).start().await;
        let mut worker = suite.worker_link(0, "w:1").await;
        // A WebSocket and this one are of the same address.
        let _other = opened(suite.gateways[0].clients, "").await;
        worker.accept_client().await;
        let mut first = Raw::plain(listener).await;
        first.send(b"\0\0\0\x05\n").await;
        let id = connected(&mut worker).await;
        assert!(matches!(worker.event_of(id).await, Event::Message(_)), "{scheme}");
        assert_eq!(Raw::plain(listener).await.read_to_end().await, b"", "{scheme}");
        assert!(worker.has_no_event().await, "{scheme}");
    }
}

/// A connection from this address to a gateway that listens on all of them.
async fn from(ip: IpAddr, gateway: SocketAddr) -> Raw {
    let socket = if ip.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
    socket.bind((ip, 0).into()).unwrap();
    let gateway: SocketAddr = if ip.is_ipv4() {
        gateway
    } else {
        ("::1".parse::<IpAddr>().unwrap(), gateway.port()).into()
    };
    Raw::from(runtime::stream::Stream::from(socket.connect(gateway).await.unwrap()))
}

async fn addresses_of_an_ipv6_network_are_one(threads: usize) {
    // Through a proxy, since a host has one loopback address of IPv6.
    let flags = [("--trusted-proxy", "127.0.0.1"), ("--max-connections-per-address", "2")];
    let suite = builder(threads, &flags).start().await;
    let gateway = suite.gateways[0].clients;
    let header = |ip: &str| format!("X-Forwarded-For: {ip}\r\n");
    let mut clients = Vec::new();
    for ip in ["2001:db8:1:2::7", "2001:db8:1:2:ffff:ffff:ffff:ffff", "::ffff:192.0.2.7"] {
        clients.push(opened(gateway, &header(ip)).await);
    }
    is_refused(gateway, &header("2001:db8:1:2:8000::")).await;
    clients.push(opened(gateway, &header("2001:db8:1:3::7")).await);
    // An IPv4 address is one in either form.
    clients.push(opened(gateway, &header("192.0.2.7")).await);
    is_refused(gateway, &header("192.0.2.7")).await;
    clients.push(opened(gateway, &header("192.0.2.8")).await);
}

async fn clients_behind_a_trusted_proxy_are_limited_by_their_own_address(threads: usize) {
    let flags = [("--trusted-proxy", "127.0.0.0/8"), ("--max-connections-per-address", "1")];
    let suite = builder(threads, &flags).start().await;
    let gateway = suite.gateways[0].clients;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut clients = Vec::new();
    for last in 1..=5 {
        let headers = format!("X-Forwarded-For: 192.0.2.{last}\r\n");
        clients.push(opened(gateway, &headers).await);
        worker.accept_client().await;
        is_refused(gateway, &headers).await;
    }
    // The proxy itself, as for health checks and clients that it does not state, is not limited.
    for _ in 0..3 {
        clients.push(opened(gateway, "").await);
        worker.accept_client().await;
        assert_eq!(Raw::get(gateway, "/healthz").await.unwrap().status, 200);
    }
    suite.gateways[0].wait_for_metric(&refused("connections_per_address"), 5.0).await;
    suite.gateways[0].wait_for_log(&["connections_per_address", "remote=192.0.2."]).await;
    drop(clients.remove(0));
    let _again = opened_at_last(gateway, "X-Forwarded-For: 192.0.2.1\r\n").await;
}

async fn clients_of_the_proxy_protocol_are_limited_by_their_own_address(threads: usize) {
    let lines = ports::free();
    let text = format!("text://{lines}");
    let flags = [("--max-connections-per-address", "1"), ("--listen", &text)];
    let suite = builder(threads, &flags).gateway_switch("--proxy-protocol").start().await;
    let gateway = suite.gateways[0].clients;
    let mut worker = suite.worker_link(0, "w:1").await;
    let header = |last| format!("PROXY TCP4 192.0.2.{last} 198.51.100.1 4321 443\r\n");
    let mut clients = Vec::new();
    for last in 1..=3 {
        let mut client = Raw::behind(header(last).as_bytes(), gateway).await;
        assert_eq!(status(&mut client, "").await.unwrap().0, 101);
        worker.accept_client().await;
        clients.push(client);
    }
    let mut tcp = TcpStream::connect(gateway).await.unwrap();
    let request = header(1) + &handshake("");
    let _ = tcp.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = tcp.read_to_end(&mut answer).await;
    // Without TLS there is a response.
    let answer = raw::Answer::parse(&answer).map(|answer| answer.status);
    assert!(matches!(answer, None | Some(429)), "{answer:?}");
    assert!(answer.is_some() || std::env::var_os("SUITE_TLS").is_some());
    let mut client = Raw::plain(lines).await;
    let _ = client.try_send((header(2) + "hello\n").as_bytes()).await;
    assert_eq!(client.read_to_end().await, b"");
    suite.gateways[0].wait_for_metric(&refused("connections_per_address"), 2.0).await;
    assert!(worker.has_no_event().await);
    let mut client = Raw::plain(lines).await;
    client.send((header(4) + "hello\n").as_bytes()).await;
    let id = connected(&mut worker).await;
    assert_eq!(worker.event_of(id).await, Event::Message("hello".into()));
}

async fn handshakes_of_an_address_are_limited_and_others_connect(threads: usize) {
    let flags =
        [("--trusted-proxy", "127.0.0.1"), ("--max-handshakes-per-second-per-address", "2")];
    let suite = builder(threads, &flags).start().await;
    let gateway = suite.gateways[0].clients;
    let flooder = "X-Forwarded-For: 192.0.2.7\r\n";
    // Faster than two a second: at least some of these are refused, whatever the machine does.
    let (mut accepted, mut refusals) = (0, 0);
    while refusals < 3 {
        let mut client = Raw::connect(gateway).await;
        match status(&mut client, flooder).await.unwrap() {
            (101, _) => accepted += 1,
            (429, head) => {
                assert!(head.contains("Retry-After: 1\r\n"), "{head}");
                refusals += 1;
            }
            (_, head) => panic!("{head}"),
        }
    }
    assert!(2 <= accepted, "a burst of two is accepted: {accepted}");
    let _other = opened(gateway, "X-Forwarded-For: 192.0.2.8\r\n").await;
    suite.gateways[0].wait_for_metric(&refused("handshakes_per_address"), 3.0).await;
    suite.gateways[0].wait_for_log(&["WARN", "handshakes_per_address", "remote=192.0.2.7"]).await;
    let _later = opened_at_last(gateway, flooder).await;
}

async fn exempt_addresses_are_not_limited(threads: usize) {
    let all = ports::free();
    let listen = format!("ws://0.0.0.0:{}", all.port());
    let flags = [
        ("--listen", &*listen),
        ("--max-connections-per-address", "1"),
        ("--limit-exempt", "127.0.0.2"),
        ("--limit-exempt", "127.0.1.0/24"),
    ];
    let suite = builder(threads, &flags).start().await;
    let _suite = &suite;
    let mut clients = Vec::new();
    for (ip, expected) in [
        ([127, 0, 0, 2], [101, 101, 101]),
        ([127, 0, 1, 9], [101, 101, 101]),
        ([127, 0, 0, 3], [101, 429, 429]),
        ([127, 0, 0, 4], [101, 429, 429]),
    ] {
        for expected in expected {
            let mut client = from(ip.into(), all).await;
            let (status, head) = status(&mut client, "").await.unwrap();
            assert_eq!(status, expected, "{ip:?}: {head}");
            clients.push(client);
        }
    }
}

/// A connection counts once, whatever it requests and however it ends.
async fn refused_handshake_releases_its_address(threads: usize) {
    for proxy in [&[][..], &[("--trusted-proxy", "127.0.0.1")]] {
        let limits =
            [("--max-connections-per-address", "1"), ("--allowed-origin", "https://ours.example")];
        let suite = builder(threads, &[&limits, proxy].concat()).start().await;
        let gateway = suite.gateways[0].clients;
        let stated = "X-Forwarded-For: 192.0.2.7\r\n";
        let foreign = format!("{stated}Origin: https://theirs.example\r\n");
        for _ in 0..3 {
            eventually("a refusal because of the origin", async || {
                let mut client = Raw::from(suite_tests::net::connect(gateway).await.ok()?);
                (status(&mut client, &foreign).await?.0 == 403).then_some(())
            })
            .await;
            let page = eventually("a page", async || Raw::get(gateway, "/healthz").await).await;
            assert!(matches!(page.status, 200 | 429));
        }
        let mut client = opened_at_last(gateway, stated).await;
        is_refused(gateway, stated).await;
        client.send(&masked(0x88, &1000_u16.to_be_bytes())).await;
        client.read_to_end().await;
        let _next = opened_at_last(gateway, stated).await;
        is_refused(gateway, stated).await;
    }
}

async fn handshakes_over_the_rate_of_all_wait_to_be_accepted(threads: usize) {
    let suite = builder(threads, &[("--max-handshakes-per-second", "5")]).start().await;
    let gateway = suite.gateways[0].clients;
    let started = std::time::Instant::now();
    let clients = futures_util::future::join_all((0..14).map(|_| opened(gateway, ""))).await;
    // Five at once, and nine at five a second.
    let least = std::time::Duration::from_millis(1700);
    assert!(least <= started.elapsed(), "{:?}", started.elapsed());
    assert_eq!(clients.len(), 14, "none is refused");
    let pauses = "pushsuite_gateway_accept_pauses_total{reason=\"handshake_rate\"}";
    let pauses = suite.gateways[0].metric(pauses).await;
    assert!(pauses.is_some_and(|pauses| (1.0..=14.0).contains(&pauses)), "{pauses:?}");
    let words = ["WARN", "limit reached; accepting paused", "reason=\"handshake_rate\""];
    suite.gateways[0].wait_for_log(&words).await;
}

/// Closes the only client of a gateway.
async fn close_client(worker: &mut Peer, client: protocol::ConnectionId) {
    let close = Close::new(4000, "bye").unwrap();
    worker.command(close.of_client(client)).await;
    assert_eq!(worker.event_of(client).await, Event::Close(CloseReason::Worker));
}

async fn client_that_does_not_answer_a_close_frame_holds_no_place(threads: usize) {
    let flags = [
        ("--max-connections", "1"),
        ("--max-connections-per-address", "1"),
        ("--close-timeout", "60"),
    ];
    let suite = builder(threads, &flags).start().await;
    let gateway = suite.gateways[0].clients;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut unanswered = Vec::new();
    for closing in 0..3 {
        let mut client = opened_at_last(gateway, "").await;
        let id = worker.accept_client().await;
        let metric = "pushsuite_gateway_connections_closing";
        suite.gateways[0].wait_for_metric(metric, f64::from(closing)).await;
        close_client(&mut worker, id).await;
        // It reads the close frame, and neither answers nor closes.
        assert_eq!(client.close_frame().await, (4000, "bye".to_owned()));
        unanswered.push(client);
    }
    // All of them are waited for still, and none is in the way of a new client.
    suite.gateways[0].wait_for_metric("pushsuite_gateway_connections_closing", 3.0).await;
    suite.gateways[0].wait_for_metric("pushsuite_gateway_connections_open", 3.0).await;
    let mut client = opened_at_last(gateway, "").await;
    let id = worker.accept_client().await;
    client.send(&masked(0x81, b"hi")).await;
    assert_eq!(worker.event_of(id).await, Event::Message("hi".into()));
    let Answer::Count(count) = worker.query(Query::Count { group: None }).await else { panic!() };
    assert_eq!(count, 1);
}

async fn client_that_reads_nothing_is_cut_off_at_the_close_timeout(threads: usize) {
    let flags = [("--max-connections", "1"), ("--close-timeout", "1")];
    let suite = builder(threads, &flags).start().await;
    let gateway = suite.gateways[0].clients;
    let mut worker = suite.worker_link(0, "w:1").await;
    let _stuck = Raw::with_small_buffers(gateway).await;
    let id = worker.accept_client().await;
    // More than the sockets hold, so that the close frame is not even sent.
    let to = Recipients::Only(vec![id]);
    for _ in 0..40 {
        let message = Message::binary(vec![0; 20_000]);
        worker.command(Command::SendToAll { to: to.clone(), message }).await;
    }
    close_client(&mut worker, id).await;
    let _next = opened_at_last(gateway, "").await;
    worker.accept_client().await;
    suite.gateways[0].wait_for_metric("pushsuite_gateway_close_timeouts_total", 1.0).await;
    suite.gateways[0].wait_for_metric("pushsuite_gateway_connections_closing", 0.0).await;
    suite.gateways[0].wait_for_metric("pushsuite_gateway_connections_open", 1.0).await;
}
