//! The address of a client behind proxies: which headers count, from which peers, and where it shows.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use protocol::{Command, Event, codec::gateway_worker::Opcode};
use suite_tests::{
    Browser, Peer, Php, Raw, Suite, eventually, net, on_one_and_three_threads, ports,
    raw::{handshake, masked},
    suite::Builder,
    with_timeout,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

on_one_and_three_threads!(
    only_the_configured_header_of_a_trusted_proxy_counts,
    forged_entries_and_untrusted_peers_are_ignored,
    last_request_of_a_reused_connection_states_the_address,
    proxy_header_precedes_every_framing,
    proxy_header_precedes_tls,
    proxy_header_states_the_trusted_proxy_of_the_request,
    health_check_and_unknown_client_have_the_address_of_the_connection,
    connection_without_a_valid_proxy_header_is_refused,
);

const IN_V1: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 4321 443\r\n";
const IN_V1_IPV6: &str = "PROXY TCP6 2001:db8::7 2001:db8::1 4321 443\r\n";

/// A version 2 header with this version and command, family, addresses and extensions.
fn in_v2(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, content].concat()
}

/// 192.0.2.7:4321, with an extension.
fn in_v2_ipv4() -> Vec<u8> {
    let addresses = [192, 0, 2, 7, 198, 51, 100, 1, 0x10, 0xe1, 1, 187];
    in_v2(0x21, 0x11, &[&addresses[..], &[4, 0, 2, 0, 0]].concat())
}

/// [2001:db8::7]:4321.
fn in_v2_ipv6() -> Vec<u8> {
    let ip = |last| [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    in_v2(0x21, 0x21, &[&ip(7)[..], &ip(1), &[0x10, 0xe1, 1, 187]].concat())
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn builder(threads: usize) -> Builder {
    Suite::builder().gateways(1).threads(threads)
}

fn trusting(threads: usize, range: &str) -> Builder {
    builder(threads).gateway_flag("--trusted-proxy", range)
}

/// Acknowledges the connect event of a new client; returns the address in it.
async fn address_of_client(worker: &mut Peer) -> SocketAddr {
    loop {
        let delivery = worker.event().await;
        worker.ack(&delivery).await;
        if delivery.event == Event::Connect {
            return delivery.context.unwrap().remote;
        }
    }
}

/// Opens a WebSocket with these headers; returns it and the client's address at the worker.
async fn opened(gateway: SocketAddr, worker: &mut Peer, headers: &str) -> (Raw, SocketAddr) {
    let mut raw = Raw::connect(gateway).await;
    raw.send(handshake(headers).as_bytes()).await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (raw, address_of_client(worker).await)
}

/// Starts a suite with one more listener, of this scheme.
async fn with_listener(builder: Builder, scheme: &str) -> (Suite, SocketAddr, Peer) {
    let listener = ports::free();
    let builder = builder.gateway_flag("--listen", &format!("{scheme}://{listener}"));
    let suite = builder.start().await;
    let worker = suite.worker_link(0, "w:1").await;
    (suite, listener, worker)
}

/// A metric of refused handshakes.
fn refused(reason: &str) -> String {
    format!("pushsuite_gateway_handshakes_refused_total{{reason=\"{reason}\"}}")
}

async fn only_the_configured_header_of_a_trusted_proxy_counts(threads: usize) {
    let all = "X-Forwarded-For: 192.0.2.1\r\nX-Real-IP: 2001:db8::2\r\n\
               Forwarded: for=\"[2001:db8::3]:47\";proto=https\r\n";
    for (name, expected) in [
        ("", "192.0.2.1:0"),
        ("x-forwarded-for", "192.0.2.1:0"),
        ("x-real-ip", "[2001:db8::2]:0"),
        ("forwarded", "[2001:db8::3]:47"),
    ] {
        let mut builder = trusting(threads, "127.0.0.0/8");
        if !name.is_empty() {
            builder = builder.gateway_flag("--proxy-header", name);
        }
        let suite = builder.start().await;
        let gateway = suite.gateways[0].clients;
        let mut worker = suite.worker_link(0, "w:1").await;
        assert_eq!(opened(gateway, &mut worker, all).await.1, addr(expected), "{name}");
        let (_direct, own) = opened(gateway, &mut worker, "").await;
        assert!(own.ip().is_loopback() && own.port() != 0, "{name}: {own}");
        let line = format!("remote={expected}");
        suite.gateways[0].wait_for_log(&["client connected", &line]).await;
        suite.gateways[0].wait_for_log(&["address from a header", "peer=127.0.0.1:", &line]).await;
        suite.gateways[0].wait_for_log(&["client closed", &line]).await;
    }
}

async fn forged_entries_and_untrusted_peers_are_ignored(threads: usize) {
    let suite = trusting(threads, "127.0.0.1").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    for headers in [
        "X-Forwarded-For: 127.0.0.1, 203.0.113.9, 192.0.2.7\r\n",
        "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 192.0.2.7, 127.0.0.1\r\n",
        "X-Forwarded-For: 203.0.113.9, 127.0.0.1\" , 192.0.2.7\r\n",
        "x-forwarded-for:192.0.2.7\r\nX-Forwarded_For: 203.0.113.9\r\n",
    ] {
        let (_client, stated) = opened(suite.gateways[0].clients, &mut worker, headers).await;
        assert_eq!(stated, addr("192.0.2.7:0"), "{headers}");
    }
    let suite = trusting(threads, "10.0.0.0/8").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let headers = "X-Forwarded-For: 10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\n";
    let (_client, own) = opened(suite.gateways[0].clients, &mut worker, headers).await;
    assert!(own.ip().is_loopback() && own.port() != 0, "{own}");
    // The PROXY protocol is off, so that its header is a malformed request.
    let mut raw = Raw::connect(suite.gateways[0].clients).await;
    raw.send(IN_V1.as_bytes()).await;
    raw.send(handshake("").as_bytes()).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 400 "));
}

async fn last_request_of_a_reused_connection_states_the_address(threads: usize) {
    let suite = trusting(threads, "127.0.0.1").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut raw = Raw::connect(suite.gateways[0].clients).await;
    let page = "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";
    let request = handshake("X-Forwarded-For: 192.0.2.7\r\n");
    raw.send(format!("{page}{request}").as_bytes()).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(address_of_client(&mut worker).await, addr("192.0.2.7:0"));
}

#[tokio::test]
async fn refused_client_is_logged_with_its_own_address() {
    let builder = trusting(1, "127.0.0.1").gateway_flag("--allowed-origin", "https://ours.example");
    let suite = builder.start().await;
    let headers = "Origin: https://theirs.example\r\nX-Forwarded-For: 192.0.2.7\r\n";
    let mut raw = Raw::connect(suite.gateways[0].clients).await;
    raw.send(handshake(headers).as_bytes()).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 403 "));
    suite.gateways[0].wait_for_log(&["handshake refused", "remote=192.0.2.7:0"]).await;
}

#[tokio::test]
async fn clients_of_one_stated_address_share_a_worker() {
    let suite = trusting(1, "127.0.0.1").gateway_flag("--router", "hash-ip").start().await;
    let gateway = suite.gateways[0].clients;
    let mut workers = [suite.worker_link(0, "w:1").await, suite.worker_link(0, "w:2").await];
    let mut counts = [0, 0];
    for last in 1..=10 {
        let headers = format!("X-Forwarded-For: 192.0.2.{last}\r\n");
        let mut chosen = None;
        for _ in 0..3 {
            let mut raw = Raw::connect(gateway).await;
            raw.send(handshake(&headers).as_bytes()).await;
            raw.head().await;
            let [first, second] = &mut workers;
            let (at, remote) = tokio::select! {
                remote = address_of_client(first) => (0, remote),
                remote = address_of_client(second) => (1, remote),
            };
            assert_eq!(remote.ip(), IpAddr::from([192, 0, 2, last]));
            assert_eq!(*chosen.get_or_insert(at), at, "{headers}");
        }
        counts[chosen.unwrap()] += 1;
    }
    assert!(counts.iter().all(|count| 0 < *count), "all at one worker: {counts:?}");
}

#[tokio::test]
async fn php_worker_receives_the_stated_address_in_either_mode() {
    for mode in ["default", "strict"] {
        let suite = trusting(1, "127.0.0.1").gateway_flag("--compat", mode).start().await;
        let mut worker = Php::worker(suite.gateways[0].inner, &suite.secret(), "w:1").await;
        for (stated, ip, in_php) in
            [("192.0.2.7", 0xc000_0207, "192.0.2.7"), ("2001:db8::7", 0, "[2001:db8::7]")]
        {
            let mut raw = Raw::connect(suite.gateways[0].clients).await;
            // Longer than the silence after which other connections become clients.
            tokio::time::sleep(Duration::from_millis(900)).await;
            raw.send(handshake(&format!("X-Forwarded-For: {stated}\r\n")).as_bytes()).await;
            assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
            let (connect, frame) = worker.event().await;
            assert_eq!(connect, Opcode::OnConnect);
            if ip != 0 {
                assert_eq!(frame.client_ip, ip, "{mode}");
            }
            let (_, frame) = worker.event().await;
            let body = String::from_utf8(frame.body.to_vec()).unwrap();
            let expected = format!("s:11:\"REMOTE_ADDR\";s:{}:\"{in_php}\"", in_php.len());
            assert!(body.contains(&expected), "{mode}: {body}");
            drop(raw);
            assert_eq!(worker.event().await.0, Opcode::OnClose);
        }
    }
}

#[tokio::test]
async fn silent_connection_of_a_trusted_proxy_is_no_client() {
    let builder = trusting(1, "127.0.0.1").gateway_switch("--no-web");
    let suite = builder.gateway_flag("--handshake-timeout", "2").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut silent = Raw::connect(suite.gateways[0].clients).await;
    assert_eq!(silent.read_to_end().await, b"");
    suite.gateways[0].wait_for_metric(&refused("timeout"), 1.0).await;
    assert!(worker.has_no_event().await);
}

#[tokio::test]
async fn ipv4_client_of_an_ipv6_listener_has_its_ipv4_address() {
    let port = ports::free().port();
    let builder = builder(1).gateway_flag("--listen", &format!("text://[::]:{port}"));
    let suite = builder.start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut own = Vec::new();
    for ip in ["127.0.0.1", "::1"] {
        let _client = Raw::plain((ip.parse::<IpAddr>().unwrap(), port).into()).await;
        own.push(address_of_client(&mut worker).await.ip().to_string());
    }
    assert_eq!(own, ["127.0.0.1", "::1"]);
}

async fn proxy_header_precedes_every_framing(threads: usize) {
    let headers = [
        (IN_V1.as_bytes().to_vec(), "192.0.2.7:4321"),
        (IN_V1_IPV6.as_bytes().to_vec(), "[2001:db8::7]:4321"),
        (in_v2_ipv4(), "192.0.2.7:4321"),
        (in_v2_ipv6(), "[2001:db8::7]:4321"),
    ];
    let websocket = handshake("X-Forwarded-For: 203.0.113.9\r\n").into_bytes();
    for (scheme, sent, received) in [
        ("text", b"one\ntwo\n".to_vec(), &b"hi\n"[..]),
        ("frame", b"\0\0\0\x07one\0\0\0\x07two".to_vec(), b"\0\0\0\x06hi"),
        ("tcp", b"onetwo".to_vec(), b"hi"),
        ("ws", [&websocket[..], &masked(0x81, b"one"), &masked(0x81, b"two")].concat(), b""),
    ] {
        let builder = trusting(threads, "127.0.0.1").gateway_switch("--proxy-protocol");
        let (suite, listener, mut worker) = with_listener(builder, scheme).await;
        for (header, stated) in &headers {
            for in_one_write in [true, false] {
                let mut client = Raw::plain(listener).await;
                let bytes = [&header[..], &sent[..]].concat();
                let size = if in_one_write { bytes.len() } else { 1 };
                for piece in bytes.chunks(size) {
                    client.send(piece).await;
                }
                let connect = worker.event().await;
                assert_eq!(connect.event, Event::Connect, "{scheme}");
                assert_eq!(connect.context.as_ref().unwrap().remote, addr(stated), "{scheme}");
                worker.ack(&connect).await;
                if scheme == "ws" {
                    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
                    let opened = worker.event_of(connect.client).await;
                    assert!(matches!(opened, Event::WebSocketConnect(_)));
                }
                let mut all = Vec::new();
                while all.len() < b"onetwo".len() {
                    match worker.event_of(connect.client).await {
                        Event::Message(message) => all.extend_from_slice(&message.body),
                        other => panic!("{scheme}: {other:?}"),
                    }
                }
                assert_eq!(all, b"onetwo", "{scheme}");
                let hi = Command::SendToClient { to: connect.client, message: "hi".into() };
                worker.command(hi).await;
                if scheme == "ws" {
                    assert_eq!(client.frame().await.unwrap().payload, b"hi");
                } else {
                    assert_eq!(client.bytes(received.len()).await, received, "{scheme}");
                }
                worker.command(Command::Destroy { client: connect.client }).await;
                client.read_to_end().await;
                while !matches!(worker.event_of(connect.client).await, Event::Close(_)) {}
            }
        }
        suite.gateways[0].wait_for_metric("pushsuite_gateway_connections_requests", 0.0).await;
        suite.gateways[0].wait_for_metric("pushsuite_gateway_client_bytes", 0.0).await;
    }
}

/// Accepts one connection and relays it to a gateway, behind a header that is sent together with the
/// client's first bytes.
async fn proxy(gateway: SocketAddr, header: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(gateway).await.unwrap();
        let mut first = vec![0; 64 * 1024];
        let length = client.read(&mut first).await.unwrap();
        server.write_all(&[&header[..], &first[..length]].concat()).await.unwrap();
        let _ = copy_bidirectional(&mut client, &mut server).await;
    });
    addr
}

async fn proxy_header_precedes_tls(threads: usize) {
    let suite = builder(threads).gateway_switch("--proxy-protocol").wss().start().await;
    let gateway = suite.gateways[0].clients;
    let mut worker = suite.worker_link(0, "w:1").await;
    for header in [IN_V1.as_bytes().to_vec(), in_v2_ipv4()] {
        let between = proxy(gateway, header.clone()).await;
        net::use_tls(between, &suite.ca().member("browser"));
        let _browser = Browser::open(between, "/").await;
        assert_eq!(address_of_client(&mut worker).await, addr("192.0.2.7:4321"));
        let mut raw = Raw::behind(&header, gateway).await;
        raw.send(handshake("").as_bytes()).await;
        assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
        assert_eq!(address_of_client(&mut worker).await, addr("192.0.2.7:4321"));
    }
    // In front of TLS only, not inside it.
    let mut raw = Raw::behind(IN_V1.as_bytes(), gateway).await;
    raw.send(IN_V1.as_bytes()).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 400 "));
}

async fn proxy_header_states_the_trusted_proxy_of_the_request(threads: usize) {
    let builder = trusting(threads, "127.0.0.1").gateway_flag("--trusted-proxy", "192.0.2.0/24");
    let suite = builder.gateway_switch("--proxy-protocol").start().await;
    let gateway = suite.gateways[0].clients;
    let mut worker = suite.worker_link(0, "w:1").await;
    for (header, expected) in [
        // The PROXY header states a trusted proxy, whose request states the client.
        (IN_V1, "203.0.113.9:0"),
        // It states a client, which may not state another one.
        (IN_V1_IPV6, "[2001:db8::7]:4321"),
    ] {
        let mut raw = Raw::behind(header.as_bytes(), gateway).await;
        raw.send(handshake("X-Forwarded-For: 203.0.113.9\r\n").as_bytes()).await;
        assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
        assert_eq!(address_of_client(&mut worker).await, addr(expected));
    }
}

async fn health_check_and_unknown_client_have_the_address_of_the_connection(threads: usize) {
    let builder = trusting(threads, "127.0.0.1").gateway_switch("--proxy-protocol");
    let (suite, listener, mut worker) = with_listener(builder, "ws").await;
    let without = in_v2(0x20, 0, &[]);
    let check = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for header in [&b"PROXY UNKNOWN\r\n"[..], &without, &in_v2(0x20, 0x11, &[7; 12])] {
        let mut raw = Raw::plain(listener).await;
        raw.send(&[header, check].concat()).await;
        assert!(raw.read_to_end().await.starts_with(b"HTTP/1.1 200 "), "{header:?}");
        let mut raw = Raw::plain(listener).await;
        raw.send(&[header, handshake("").as_bytes()].concat()).await;
        let own = address_of_client(&mut worker).await;
        assert!(own.ip().is_loopback() && own.port() != 0, "{own}");
    }
    // A check that only connects, with the header or without.
    for header in [&b""[..], &without] {
        let mut raw = Raw::plain(listener).await;
        raw.send(header).await;
        raw.shutdown_write().await;
        raw.read_to_end().await;
    }
    assert_eq!(suite.gateways[0].metric(&refused("proxy")).await, None);
}

async fn connection_without_a_valid_proxy_header_is_refused(threads: usize) {
    let builder = builder(threads).gateway_switch("--proxy-protocol");
    let builder = builder.gateway_flag("--handshake-timeout", "1").logs("warn");
    let (suite, listener, mut worker) = with_listener(builder, "text").await;
    let gateway = &suite.gateways[0];
    let request = handshake("").into_bytes();
    let wrong = [
        b"hello\n".to_vec(),
        request,
        b"PROXY TCP4 192.0.2.7\r\nhello\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 99999 443\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n".to_vec(),
        format!("PROXY UNKNOWN {}", "x".repeat(200)).into_bytes(),
        in_v2(0x31, 0x11, &[0; 12]),
        in_v2(0x21, 0x11, &[0; 11]),
        in_v2(0x22, 0x11, &[0; 12]),
        in_v2(0x21, 0x11, &[0; 60_000]),
        b"\r\n\r\n\0\r\nQUIX".to_vec(),
        b"\x16\x03\x01\x02\0".to_vec(),
    ];
    for bytes in &wrong {
        let mut raw = Raw::plain(listener).await;
        let _ = raw.try_send(bytes).await;
        assert_eq!(raw.read_to_end().await, b"", "{bytes:?}");
    }
    gateway.wait_for_metric(&refused("proxy"), wrong.len() as f64).await;
    // Incomplete headers, one of which arrives slowly.
    let whole = in_v2(0x21, 0x11, &[0; 4000]);
    let mut slow = Vec::new();
    for bytes in
        [&b""[..], b"\r", b"PROXY TCP4 192.0.2.7 1.1.1.1 1 2\nhi\n", &whole[..15], &whole[..4000]]
    {
        let mut raw = Raw::plain(listener).await;
        raw.send(bytes).await;
        slow.push(raw);
    }
    let mut drip = Raw::plain(listener).await;
    for byte in IN_V1.bytes() {
        if drip.try_send(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    slow.push(drip);
    for mut raw in slow {
        assert_eq!(raw.read_to_end().await, b"");
    }
    gateway.wait_for_metric(&refused("timeout"), 6.0).await;
    gateway.wait_for_metric("pushsuite_gateway_connections_requests", 0.0).await;
    gateway.wait_for_metric("pushsuite_gateway_client_bytes", 0.0).await;
    assert!(worker.has_no_event().await);
    let line = gateway.wait_for_log(&["handshake refused", "reason=\"proxy\""]).await;
    assert!(line.contains(" WARN ") && line.contains("remote=127.0.0.1:"), "{line}");
    let warnings = gateway.log_lines("handshake refused").len();
    assert!(warnings < wrong.len(), "{warnings} lines");
}

#[tokio::test]
async fn peer_that_is_no_trusted_proxy_may_not_send_a_proxy_header() {
    let builder = trusting(1, "10.0.0.0/8").gateway_switch("--proxy-protocol").logs("warn");
    let (suite, listener, mut worker) = with_listener(builder, "text").await;
    for _ in 0..20 {
        let mut raw = Raw::plain(listener).await;
        let _ = raw.try_send(&[IN_V1.as_bytes(), b"hello\n"].concat()).await;
        assert_eq!(raw.read_to_end().await, b"");
    }
    let gateway = &suite.gateways[0];
    gateway.wait_for_metric(&refused("proxy"), 20.0).await;
    gateway.wait_for_metric("pushsuite_gateway_connections_open", 0.0).await;
    gateway.wait_for_metric("pushsuite_gateway_connections_requests", 0.0).await;
    assert!(worker.has_no_event().await);
    assert!(gateway.log_lines("handshake refused").len() < 20);
}

#[tokio::test]
async fn pending_proxy_headers_count_as_handshakes_on_every_listener() {
    let builder = builder(1).gateway_switch("--proxy-protocol");
    let builder = builder.gateway_flag("--max-handshakes", "2");
    let (suite, listener, mut worker) = with_listener(builder, "text").await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(Raw::plain(listener).await);
    }
    let pauses = "pushsuite_gateway_accept_pauses_total{reason=\"handshakes\"}";
    eventually("accepting to pause", async || {
        (0.0 < suite.gateways[0].metric(pauses).await?).then_some(())
    })
    .await;
    for raw in &mut waiting {
        raw.send(IN_V1.as_bytes()).await;
    }
    for _ in &waiting {
        let stated = with_timeout("a client", address_of_client(&mut worker)).await;
        assert_eq!(stated, addr("192.0.2.7:4321"));
    }
    suite.gateways[0].wait_for_metric("pushsuite_gateway_connections_requests", 0.0).await;
}
