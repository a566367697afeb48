//! TLS between processes: everything works as without it, peers without a cluster certificate are
//! refused, and an eavesdropper learns nothing.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use protocol::{
    codec::gateway_worker::{BODY_IS_SCALAR, Frame, Opcode},
    link::MAGIC,
};
use push_suite_cluster::{Cluster, Config};
use suite_tests::{
    Ca, Php, Raw, Relay, Suite, TestWorker, eventually, on_one_and_three_threads, ports,
    process::{Process, Signal},
    with_timeout,
};

on_one_and_three_threads!(
    cluster_over_tls_works_like_one_without,
    peer_without_cluster_certificate_is_refused_and_counted,
    local_php_peers_without_tls_are_accepted_if_configured,
    certificates_are_reloaded_and_invalid_ones_change_nothing,
    invalid_tls_records_crash_no_process,
);

async fn cluster_over_tls_works_like_one_without(threads: usize) {
    let builder = Suite::builder().gateways(2).workers(2).threads(threads);
    let mut suite = builder.inner_tls("refuse").wss().start().await;
    let mut ann = suite.browser(0).await;
    let mut bob = suite.browser(1).await;
    let large = format!("e{}", "x".repeat(1_000_000));
    ann.send(large.clone()).await;
    assert!(ann.receive_text().await == large);
    for browser in [&mut ann, &mut bob] {
        browser.send("jroom").await;
        assert_eq!(browser.receive_text().await, "jroom");
    }
    ann.send("ghello, room").await;
    for browser in [&mut ann, &mut bob] {
        assert_eq!(browser.receive_text().await, "ghello, room");
    }
    // A back end that sends commands and queries.
    let cluster = suite.cluster().await;
    cluster.send_to_group("room", "from a back end").await.unwrap();
    for browser in [&mut ann, &mut bob] {
        assert_eq!(browser.receive_text().await, "from a back end");
    }
    assert_eq!(cluster.group_count("room").await.unwrap(), 2);
    cluster.close().await;
    // Clients of the killed worker are reassigned to the other; the restarted one links again.
    suite.workers[0].kill();
    for browser in [&mut ann, &mut bob] {
        browser.send("estill here").await;
        assert_eq!(browser.receive_text().await, "estill here");
    }
    suite.workers[0].restart().await;
    suite.registers[0].restart().await;
    let added = suite.add_gateway().await.clients;
    let mut cid = suite_tests::Browser::open(added, "/").await;
    cid.send("eto all of you").await;
    assert_eq!(cid.receive_text().await, "eto all of you");
}

#[tokio::test]
async fn eavesdropper_learns_neither_secret_nor_messages() {
    for tls in [false, true] {
        let (behind, front) = (ports::free(), ports::free());
        let builder =
            Suite::builder().gateways(1).gateway_flag("--lan-listen", &behind.to_string());
        let builder = if tls { builder.inner_tls("refuse") } else { builder };
        let suite = builder.start().await;
        // The announced port is that of the relay, which leads to the gateway.
        let inner = Relay::start(suite.gateways[0].inner, behind);
        let register = Relay::start(front, suite.register_addrs[0]);
        let config = Config::new([front.to_string()], suite.secret()).tls(suite.tls());
        let cluster = Cluster::start(config);
        with_timeout("a back end to be ready", cluster.ready()).await;
        let mut worker = TestWorker::start(&suite, "1").await;
        let mut ann = suite.browser(0).await;
        for _ in 0..2 {
            worker.next_report().await;
        }
        ann.send("echo w0rd-of-a-client").await;
        assert_eq!(ann.receive_text().await, "w0rd-of-a-client");
        cluster
            .send_to_all(push_suite_cluster::Recipients::All, "w0rd-of-a-back-end")
            .await
            .unwrap();
        assert_eq!(ann.receive_text().await, "w0rd-of-a-back-end");
        // The control case: without TLS, the relay sees all of it.
        assert_ne!(register.has_relayed(suite.secret().expose()), tls, "the secret, TLS {tls}");
        assert_ne!(register.has_relayed(b"worker_connect"), tls);
        for word in ["w0rd-of-a-client", "w0rd-of-a-back-end", "GWN1"] {
            assert_ne!(inner.has_relayed(word.as_bytes()), tls, "{word}, TLS {tls}");
        }
        assert!(!inner.has_relayed(suite.secret().expose()), "native links never carry the secret");
        cluster.close().await;
        worker.stop().await;
    }
}

async fn peer_without_cluster_certificate_is_refused_and_counted(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads).inner_tls("refuse");
    let suite = builder.start().await;
    let (gateway, register) = (&suite.gateways[0], &suite.registers[0]);
    let (inner, register_addr) = (gateway.inner, suite.register_addrs[0]);
    let refused = async |process: &Process, metric: &str, times: f64| {
        process.wait_for_metric(metric, times).await;
        process.wait_for_log(&["WARN"]).await;
    };
    // No TLS, in either protocol.
    for hello in [&MAGIC[..], b"\0\0\0\x1c\xca\0\0\0"] {
        let mut raw = Raw::plain(inner).await;
        raw.send(hello).await;
        assert!(raw.read_to_end().await.is_empty());
    }
    refused(gateway, "pushsuite_gateway_peers_refused_total", 2.0).await;
    let mut raw = Raw::plain(register_addr).await;
    let secret = String::from_utf8(suite.secret().expose().to_vec()).unwrap();
    let ask = format!("{{\"event\":\"worker_connect\",\"secret_key\":\"{secret}\"}}\n");
    raw.send(ask.as_bytes()).await;
    assert!(raw.read_to_end().await.is_empty(), "although it has the secret");
    refused(register, "pushsuite_register_refused_total{reason=\"plain\"}", 1.0).await;
    // Another CA.
    let theirs = Ca::new().member("member");
    for (addr, process, metric) in [
        (inner, &**gateway, "pushsuite_gateway_peers_refused_total"),
        (register_addr, register, "pushsuite_register_refused_total{reason=\"tls\"}"),
    ] {
        let before = process.metric(metric).await.unwrap_or_default();
        let tcp = runtime::net::TcpStream::connect(addr).await.unwrap();
        assert!(with_timeout("a TLS handshake", theirs.connect(tcp)).await.is_err());
        refused(process, metric, before + 1.0).await;
    }
    // Members of the cluster are still accepted.
    suite.peer(0).await.acknowledged().await;
    suite.cluster().await.close().await;
}

async fn local_php_peers_without_tls_are_accepted_if_configured(threads: usize) {
    for plain in ["loopback", "allow"] {
        let builder = Suite::builder().gateways(1).threads(threads).inner_tls(plain);
        let suite = builder.start().await;
        let mut php = Php::worker(suite.gateways[0].inner, &suite.secret(), "w:1").await;
        let _ann = suite.browser(0).await;
        php.accept_client().await;
        assert_eq!(php.query(Opcode::GetGroupIdList, 0, "").await, "a:0:{}");
        let mut worker = Raw::plain(suite.register_addrs[0]).await;
        let secret = String::from_utf8(suite.secret().expose().to_vec()).unwrap();
        let line = format!("{{\"event\":\"worker_connect\",\"secret_key\":\"{secret}\"}}\n");
        worker.send(line.as_bytes()).await;
        let expected =
            format!("{{\"event\":\"broadcast_addresses\",\"addresses\":[\"{}\"]", inner(&suite));
        assert_eq!(worker.bytes(expected.len()).await, expected.as_bytes());
        // Native peers use TLS at the same port, and so does PHP behind a TLS tunnel.
        suite.peer(0).await.acknowledged().await;
        let mut tunnel = Raw::connect(inner(&suite)).await;
        let hello = format!("{{\"secret_key\":\"{secret}\"}}");
        tunnel.send(&frame(Opcode::GatewayClientConnect, &hello)).await;
        tunnel.send(&frame(Opcode::GetGroupIdList, "")).await;
        assert_eq!(tunnel.bytes(4 + 6).await, b"\0\0\0\x06a:0:{}");
    }
}

fn frame(opcode: Opcode, body: &str) -> BytesMut {
    let (cmd, body) = (opcode.into(), Bytes::copy_from_slice(body.as_bytes()));
    let mut bytes = BytesMut::new();
    Frame { cmd, flag: BODY_IS_SCALAR, body, ..Frame::default() }.encode(&mut bytes).unwrap();
    bytes
}

fn inner(suite: &Suite) -> SocketAddr {
    suite.gateways[0].inner
}

async fn certificates_are_reloaded_and_invalid_ones_change_nothing(threads: usize) {
    let builder = Suite::builder().gateways(1).workers(1).threads(threads);
    let mut suite = builder.inner_tls("refuse").start().await;
    let (next, addrs) = (Ca::new(), [inner(&suite), suite.register_addrs[0]]);
    let (ours, theirs) = (suite.tls().unwrap(), next.member("member"));
    let connects = async |tls: &push_suite_cluster::Tls, addr: SocketAddr| {
        let tcp = runtime::net::TcpStream::connect(addr).await.unwrap();
        with_timeout("a TLS handshake", tls.connect(tcp)).await.is_ok()
    };
    let reload = async |suite: &mut Suite, text: &str| {
        let Suite { registers, gateways, workers, .. } = suite;
        let gateways = gateways.iter_mut().map(|gateway| &mut **gateway);
        for process in registers.iter_mut().chain(gateways).chain(workers) {
            let before = process.log().matches(text).count();
            process.signal(Signal::Hup);
            eventually(format!("{} to log: {text}", process.name), async || {
                (before < process.log().matches(text).count()).then_some(())
            })
            .await;
        }
    };
    let mut ann = suite.browser(0).await;
    for addr in addrs {
        assert!(connects(&ours, addr).await && !connects(&theirs, addr).await);
    }
    fs::write(suite.ca().path("ca.pem"), "no certificate").unwrap();
    reload(&mut suite, "reload failed; keeping the previous version").await;
    for addr in addrs {
        assert!(connects(&ours, addr).await && !connects(&theirs, addr).await);
    }
    next.sign("inner");
    for file in ["inner.pem", "inner.key", "ca.pem"] {
        fs::copy(next.path(file), suite.ca().path(file)).unwrap();
    }
    reload(&mut suite, "reloaded; applies to new connections").await;
    for addr in addrs {
        assert!(!connects(&ours, addr).await && connects(&theirs, addr).await);
    }
    // Open connections stay, and new ones use the new files: the worker links to a gateway that was
    // restarted since.
    ann.send("ehello").await;
    assert_eq!(ann.receive_text().await, "ehello");
    suite.gateways[0].restart().await;
    let mut bob = suite.browser(0).await;
    bob.send("ehello").await;
    assert_eq!(bob.receive_text().await, "ehello");
}

async fn invalid_tls_records_crash_no_process(threads: usize) {
    let builder = Suite::builder().gateways(1).workers(1).app("echo").threads(threads);
    let builder = builder.gateway_flag("--handshake-timeout", "1").inner_tls("refuse");
    let suite = builder.wss().start().await;
    let mut ann = suite.browser(0).await;
    let gateway = &suite.gateways[0];
    // Capture a TLS ClientHello, to be truncated and modified.
    let (port, mut hello) = (ports::free(), Vec::new());
    let listener = tokio::net::TcpListener::bind(port).await.unwrap();
    let tls = suite.ca().member("another");
    let tcp = runtime::net::TcpStream::connect(port).await.unwrap();
    let connecting = tokio::spawn(async move { tls.connect(tcp).await });
    let (mut accepted, _) = listener.accept().await.unwrap();
    while hello.len() < 5 || hello.len() < 5 + usize::from(u16::from_be_bytes([hello[3], hello[4]]))
    {
        let read = tokio::io::AsyncReadExt::read_buf(&mut accepted, &mut hello).await;
        assert_ne!(with_timeout("a ClientHello", async { read }).await.unwrap(), 0);
    }
    drop(accepted);
    assert!(with_timeout("a failed handshake", connecting).await.unwrap().is_err());
    for addr in [gateway.clients, gateway.inner, suite.register_addrs[0]] {
        let mut connections = Vec::new();
        for at in 0..hello.len() {
            let mut bytes = hello.clone();
            match at % 3 {
                0 => bytes.truncate(at),
                1 => bytes[at] ^= 0xff,
                // Followed by a part of itself.
                _ => bytes.extend_from_within(..at),
            }
            let mut raw = Raw::plain(addr).await;
            // The process may disconnect before everything is sent.
            let _ = raw.try_send(&bytes).await;
            connections.push(raw);
        }
        ann.send("still here?").await;
        assert_eq!(ann.receive_text().await, "still here?");
        if addr == gateway.clients {
            // Unfinished handshakes are disconnected.
            for mut raw in connections {
                raw.read_to_end().await;
            }
        }
    }
    suite.peer(0).await.acknowledged().await;
}
