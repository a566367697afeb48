//! TLS between the processes: all works as without it, who has no certificate of the cluster is
//! kept out, and who listens in learns nothing.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use client::{Cluster, Config};
use protocol::{
    codec::gateway_worker::{BODY_IS_SCALAR, Frame, Opcode},
    link::MAGIC,
};
use suite_tests::{
    Ca, Php, Raw, Relay, Suite, TestWorker, eventually, on_one_and_three_threads, ports,
    process::{Process, Signal},
    soon,
};

on_one_and_three_threads!(
    a_cluster_over_tls_does_all_that_one_without_does,
    who_has_no_certificate_of_the_cluster_is_refused_and_counted,
    php_peers_of_this_host_are_let_in_where_that_is_said,
    certificates_are_read_again_and_what_is_of_no_use_changes_nothing,
    bytes_that_are_no_tls_end_nobody,
);

async fn a_cluster_over_tls_does_all_that_one_without_does(threads: usize) {
    let builder = Suite::builder().gateways(2).workers(2).threads(threads);
    let mut suite = builder.inner_tls("refuse").wss().start().await;
    let mut ann = suite.browser(0).await;
    let mut bob = suite.browser(1).await;
    let large = format!("e{}", "x".repeat(1_000_000));
    ann.send(large.clone()).await;
    assert!(ann.hears_text().await == large);
    for browser in [&mut ann, &mut bob] {
        browser.send("jroom").await;
        assert_eq!(browser.hears_text().await, "jroom");
    }
    ann.send("ghello, room").await;
    for browser in [&mut ann, &mut bob] {
        assert_eq!(browser.hears_text().await, "ghello, room");
    }
    // A back end, which commands and asks.
    let cluster = suite.cluster().await;
    cluster.send_to_group("room", "from a back end").await.unwrap();
    for browser in [&mut ann, &mut bob] {
        assert_eq!(browser.hears_text().await, "from a back end");
    }
    assert_eq!(cluster.group_count("room").await.unwrap(), 2);
    cluster.close().await;
    // Whoever's worker is killed gets the other one, and the new one is linked as well.
    suite.workers[0].kill();
    for browser in [&mut ann, &mut bob] {
        browser.send("estill here").await;
        assert_eq!(browser.hears_text().await, "estill here");
    }
    suite.workers[0].start_again().await;
    suite.registers[0].start_again().await;
    let added = suite.add_gateway().await.clients;
    let mut cid = suite_tests::Browser::open(added, "/").await;
    cid.send("eto all of you").await;
    assert_eq!(cid.hears_text().await, "eto all of you");
}

#[tokio::test]
async fn who_listens_in_learns_neither_the_secret_nor_what_is_said() {
    for tls in [false, true] {
        let (behind, front) = (ports::free(), ports::free());
        let builder =
            Suite::builder().gateways(1).gateway_flag("--lan-listen", &behind.to_string());
        let builder = if tls { builder.inner_tls("refuse") } else { builder };
        let suite = builder.start().await;
        // Peers are told of the relay's port, which leads to the gateway's.
        let inner = Relay::start(suite.gateways[0].inner, behind);
        let register = Relay::start(front, suite.register_addrs[0]);
        let config =
            Config { tls: suite.tls(), ..Config::new([front.to_string()], suite.secret()) };
        let cluster = Cluster::start(config);
        soon("a cluster to be ready", cluster.ready()).await;
        let mut worker = TestWorker::start(&suite, "1").await;
        let mut ann = suite.browser(0).await;
        for _ in 0..2 {
            worker.told().await;
        }
        ann.send("echo w0rd-of-a-client").await;
        assert_eq!(ann.hears_text().await, "w0rd-of-a-client");
        cluster.send_to_all(client::Recipients::All, "w0rd-of-a-back-end").await.unwrap();
        assert_eq!(ann.hears_text().await, "w0rd-of-a-back-end");
        // What is looked for is there to be found where there is no TLS.
        assert_ne!(register.has_heard(suite.secret().expose()), tls, "the secret, TLS {tls}");
        assert_ne!(register.has_heard(b"worker_connect"), tls);
        for word in ["w0rd-of-a-client", "w0rd-of-a-back-end", "GWN1"] {
            assert_ne!(inner.has_heard(word.as_bytes()), tls, "{word}, TLS {tls}");
        }
        assert!(!inner.has_heard(suite.secret().expose()), "that it never has");
        cluster.close().await;
        worker.stop().await;
    }
}

async fn who_has_no_certificate_of_the_cluster_is_refused_and_counted(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads).inner_tls("refuse");
    let suite = builder.start().await;
    let (gateway, register) = (&suite.gateways[0], &suite.registers[0]);
    let (inner, meeting) = (gateway.inner, suite.register_addrs[0]);
    let refused = async |process: &Process, metric: &str, times: f64| {
        eventually(format!("{metric} to be {times}"), async || {
            (process.metric(metric).await? == times).then_some(())
        })
        .await;
        process.logs(&["WARN"]).await;
    };
    // No TLS, in either language.
    for hello in [&MAGIC[..], b"\0\0\0\x1c\xca\0\0\0"] {
        let mut stranger = Raw::plain(inner).await;
        stranger.send(hello).await;
        assert!(stranger.until_the_end().await.is_empty());
    }
    refused(gateway, "gateway_peers_refused_total", 2.0).await;
    let mut stranger = Raw::plain(meeting).await;
    let secret = String::from_utf8(suite.secret().expose().to_vec()).unwrap();
    let ask = format!("{{\"event\":\"worker_connect\",\"secret_key\":\"{secret}\"}}\n");
    stranger.send(ask.as_bytes()).await;
    assert!(stranger.until_the_end().await.is_empty(), "though it knows the secret");
    refused(register, "register_refused_total{reason=\"plain\"}", 1.0).await;
    // Another CA.
    let theirs = Ca::new().member("member");
    for (addr, process, metric) in [
        (inner, &**gateway, "gateway_peers_refused_total"),
        (meeting, register, "register_refused_total{reason=\"tls\"}"),
    ] {
        let before = process.metric(metric).await.unwrap_or_default();
        let tcp = service::net::TcpStream::connect(addr).await.unwrap();
        assert!(soon("an answer", theirs.connect(tcp)).await.is_err());
        refused(process, metric, before + 1.0).await;
    }
    // Those who belong to it go on.
    suite.peer(0).await.taken().await;
    suite.cluster().await.close().await;
}

async fn php_peers_of_this_host_are_let_in_where_that_is_said(threads: usize) {
    for plain in ["loopback", "allow"] {
        let builder = Suite::builder().gateways(1).threads(threads).inner_tls(plain);
        let suite = builder.start().await;
        let mut php = Php::worker(suite.gateways[0].inner, &suite.secret(), "w:1").await;
        let _ann = suite.browser(0).await;
        php.welcomes().await;
        assert_eq!(php.ask(Opcode::GetGroupIdList, 0, "").await, "a:0:{}");
        let mut asks = Raw::plain(suite.register_addrs[0]).await;
        let secret = String::from_utf8(suite.secret().expose().to_vec()).unwrap();
        let line = format!("{{\"event\":\"worker_connect\",\"secret_key\":\"{secret}\"}}\n");
        asks.send(line.as_bytes()).await;
        let told =
            format!("{{\"event\":\"broadcast_addresses\",\"addresses\":[\"{}\"]", inner(&suite));
        assert_eq!(asks.bytes(told.len()).await, told.as_bytes());
        // Ours speak TLS at the same port, and so does PHP behind something that does.
        suite.peer(0).await.taken().await;
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

async fn certificates_are_read_again_and_what_is_of_no_use_changes_nothing(threads: usize) {
    let builder = Suite::builder().gateways(1).workers(1).threads(threads);
    let mut suite = builder.inner_tls("refuse").start().await;
    let (next, addrs) = (Ca::new(), [inner(&suite), suite.register_addrs[0]]);
    let (ours, theirs) = (suite.tls().unwrap(), next.member("member"));
    let meets = async |tls: &client::Tls, addr: SocketAddr| {
        let tcp = service::net::TcpStream::connect(addr).await.unwrap();
        soon("an answer", tls.connect(tcp)).await.is_ok()
    };
    let hang_up = async |suite: &mut Suite, said: &str| {
        let Suite { registers, gateways, workers, .. } = suite;
        let gateways = gateways.iter_mut().map(|gateway| &mut **gateway);
        for process in registers.iter_mut().chain(gateways).chain(workers) {
            let before = process.log().matches(said).count();
            process.signal(Signal::Hup);
            eventually(format!("{} to say: {said}", process.name), async || {
                (before < process.log().matches(said).count()).then_some(())
            })
            .await;
        }
    };
    let mut ann = suite.browser(0).await;
    for addr in addrs {
        assert!(meets(&ours, addr).await && !meets(&theirs, addr).await);
    }
    fs::write(suite.ca().path("ca.pem"), "no certificate").unwrap();
    hang_up(&mut suite, "cannot be read again; what was read before stays").await;
    for addr in addrs {
        assert!(meets(&ours, addr).await && !meets(&theirs, addr).await);
    }
    next.sign("inner");
    for file in ["inner.pem", "inner.key", "ca.pem"] {
        fs::copy(next.path(file), suite.ca().path(file)).unwrap();
    }
    hang_up(&mut suite, "read again; new connections go by it").await;
    for addr in addrs {
        assert!(!meets(&ours, addr).await && meets(&theirs, addr).await);
    }
    // What stands goes on, and what comes anew goes by what was read: the worker links to a gateway
    // that was started since.
    ann.send("ehello").await;
    assert_eq!(ann.hears_text().await, "ehello");
    suite.gateways[0].start_again().await;
    let mut bob = suite.browser(0).await;
    bob.send("ehello").await;
    assert_eq!(bob.hears_text().await, "ehello");
}

async fn bytes_that_are_no_tls_end_nobody(threads: usize) {
    let builder = Suite::builder().gateways(1).workers(1).app("echo").threads(threads);
    let builder = builder.gateway_flag("--handshake-timeout", "1").inner_tls("refuse");
    let suite = builder.wss().start().await;
    let mut ann = suite.browser(0).await;
    let gateway = &suite.gateways[0];
    // A hello as it goes over the wire, to be cut and changed.
    let (port, mut hello) = (ports::free(), Vec::new());
    let listener = tokio::net::TcpListener::bind(port).await.unwrap();
    let tls = suite.ca().member("another");
    let tcp = service::net::TcpStream::connect(port).await.unwrap();
    let connecting = tokio::spawn(async move { tls.connect(tcp).await });
    let (mut victim, _) = listener.accept().await.unwrap();
    while hello.len() < 5 || hello.len() < 5 + usize::from(u16::from_be_bytes([hello[3], hello[4]]))
    {
        let read = tokio::io::AsyncReadExt::read_buf(&mut victim, &mut hello).await;
        assert_ne!(soon("a hello", async { read }).await.unwrap(), 0);
    }
    drop(victim);
    assert!(soon("an end", connecting).await.unwrap().is_err());
    for addr in [gateway.clients, gateway.inner, suite.register_addrs[0]] {
        let mut strangers = Vec::new();
        for at in 0..hello.len() {
            let mut bytes = hello.clone();
            match at % 3 {
                0 => bytes.truncate(at),
                1 => bytes[at] ^= 0xff,
                // Twice, with more than one record in the second.
                _ => bytes.extend_from_within(..at),
            }
            let mut stranger = Raw::plain(addr).await;
            // It may have heard enough before all of it has gone out.
            let _ = stranger.try_send(&bytes).await;
            strangers.push(stranger);
        }
        ann.send("still here?").await;
        assert_eq!(ann.hears_text().await, "still here?");
        if addr == gateway.clients {
            // Who does not finish its handshake is cut off.
            for mut stranger in strangers {
                stranger.until_the_end().await;
            }
        }
    }
    suite.peer(0).await.taken().await;
}
