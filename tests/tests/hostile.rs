//! Malformed input on real sockets: it costs at most the connection that it came on. Meanwhile a
//! client and a worker are served normally.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use protocol::{
    Answer, Command, MessageKind, Query,
    codec::{
        gateway_worker::{
            BODY_IS_SCALAR, Frame, MAX_FRAME, Opcode, decode,
            from_peer::{PeerMessage, read},
        },
        native,
    },
    link::{MAGIC, ToGateway},
};
use serde_json::{Value, json};
use suite_tests::{Browser, Raw, Received, Suite, ports, raw::masked};

const VECTORS: &str = include_str!("../../crates/protocol/tests/gatewayworker/vectors.jsonl");
const NATIVE: &str = include_str!("../../crates/protocol/tests/golden/native.txt");

/// Numbers of truncations and bit flips sent per recorded message.
const CUTS: usize = 3;
const FLIPS: usize = 5;

#[tokio::test]
async fn mutated_php_frames_harm_no_other_connection() {
    let mut scene = Scene::start().await;
    let inner = scene.suite.gateways[0].inner;
    for (at, frame) in recorded(|kind| kind != "register").iter().enumerate() {
        for bytes in variations(frame, at) {
            offer(inner, &bytes).await;
            if !sends_raw_bytes(&bytes) {
                let hello = scene.hello();
                offer(inner, &[&hello[..], &bytes].concat()).await;
            }
        }
        scene.assert_served().await;
    }
    scene.assert_healthy().await;
}

#[tokio::test]
async fn mutated_native_frames_harm_no_other_connection() {
    let mut scene = Scene::start().await;
    let inner = scene.suite.gateways[0].inner;
    let hex = NATIVE.lines().filter_map(|line| line.split_once(": "));
    for (at, (_, hex)) in hex.filter(|(name, _)| !name.starts_with('#')).enumerate() {
        for bytes in variations(&from_hex(&hex.replace(' ', "")), at) {
            offer(inner, &[&MAGIC[..], &bytes].concat()).await;
            let mut buffer = BytesMut::from(&bytes[..]);
            let decoded = native::decode(&mut buffer, native::MAX_FRAME);
            if !matches!(decoded, Ok(Some(ToGateway::Command { command, .. })) if is_raw(&command))
            {
                let mut peer = scene.suite.peer(0).await;
                peer.send_bytes(&bytes).await;
            }
        }
        scene.assert_served().await;
    }
    scene.assert_healthy().await;
}

#[tokio::test]
async fn back_end_that_declares_a_gateway_dead_loses_only_its_link() {
    let mut scene = Scene::start().await;
    let mut peer = scene.suite.peer(0).await;
    peer.send(&ToGateway::Fenced).await;
    peer.closed().await;
    scene.assert_served().await;
    scene.assert_healthy().await;
}

#[tokio::test]
async fn mutated_register_lines_harm_no_other_connection() {
    let mut scene = Scene::start().await;
    let register = scene.suite.register_addrs[0];
    for (at, line) in recorded(|kind| kind == "register").iter().enumerate() {
        for bytes in variations(line, at) {
            offer(register, &bytes).await;
        }
        // With the right secret, truncations only; a flipped address might be in use.
        let line = String::from_utf8(line.clone()).unwrap();
        let secret = String::from_utf8(scene.suite.secret().expose().to_vec()).unwrap();
        let line = line.replace("s3cret", &secret).into_bytes();
        for bytes in cuts(&line) {
            offer(register, bytes).await;
        }
        scene.assert_served().await;
    }
    scene.assert_healthy().await;
}

#[tokio::test]
async fn mutated_client_input_harms_no_other_connection() {
    let mut scene = Scene::start().await;
    let clients = scene.suite.gateways[0].clients;
    let head = b"GET /?a=1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let frames = [
        masked(0x81, b"a text"),
        masked(0x82, &[7; 300]),
        [masked(0x01, b"in "), masked(0x89, b"a ping"), masked(0x80, b"two")].concat(),
        masked(0x88, b"\x03\xe8bye"),
        // Marked as compressed, which was not negotiated; and it is no valid deflate stream either.
        masked(0xc1, b"\xff\xff\xff\xff"),
    ];
    for (at, frame) in frames.iter().enumerate() {
        for bytes in variations(frame, at) {
            offer(clients, &[&head[..], &bytes].concat()).await;
        }
        scene.assert_served().await;
    }
    for bytes in variations(head, 0) {
        offer(clients, &bytes).await;
    }
    // Identical last fragments of two clients, each of its own message.
    let mut two = [Raw::websocket(clients).await, Raw::websocket(clients).await];
    for (first, client) in ["one ", "two "].iter().zip(&mut two) {
        client.send(&masked(0x01, first.as_bytes())).await;
    }
    for (first, client) in ["one ", "two "].iter().zip(&mut two) {
        client.send(&masked(0x80, b"end")).await;
        assert_eq!(client.frame().await.unwrap().payload, format!("{first}end").into_bytes());
    }
    drop(two);
    scene.assert_healthy().await;
}

#[tokio::test]
async fn mutated_frames_of_devices_harm_no_other_connection() {
    let mut scene = Scene::start().await;
    let [_, plain, _, declared] = scene.others;
    for (addr, frames) in [
        (plain, &b"\0\0\0\x06hi\0\0\0\x04\0\0\0\x05!"[..]),
        (declared, b"ab\x02\0hicd\0\0ef\x03\0bye"),
    ] {
        for at in 0..8 {
            for bytes in variations(frames, at) {
                offer(addr, &bytes).await;
            }
            scene.assert_served().await;
        }
        let mut client = Raw::connect(addr).await;
        client.send(frames).await;
        assert_eq!(client.bytes(frames.len()).await, frames);
    }
    scene.assert_healthy().await;
}

#[tokio::test]
async fn malformed_php_frames_harm_no_other_connection() {
    let mut scene = Scene::start().await;
    let inner = scene.suite.gateways[0].inner;
    let id = scene.ann_id().await;
    let frame = |opcode: Opcode, flag: u8, ext: &'static str, body: &'static str| {
        let (cmd, ext_data, body) = (opcode.into(), Bytes::from(ext), Bytes::from(body));
        let mut bytes = BytesMut::new();
        let frame = Frame { cmd, flag, connection_id: id, ext_data, body, ..Frame::default() };
        frame.encode(&mut bytes).unwrap();
        bytes
    };
    let mut others = Vec::new();
    for (addr, hello) in scene.others.iter().zip([&b"hi\n"[..], b"\0\0\0\x06hi", b"hi"]) {
        let mut client = Raw::connect(*addr).await;
        client.send(hello).await;
        assert_eq!(client.bytes(hello.len()).await, hello);
        others.push(client);
    }
    let nested = "a:1:{i:0;a:1:{i:0;a:1:{i:0;i:1;}}}";
    for bytes in [
        // Session updates with invalid sessions.
        frame(Opcode::UpdateSession, BODY_IS_SCALAR, "garbage", ""),
        frame(Opcode::UpdateSession, BODY_IS_SCALAR, "i:5;", ""),
        frame(Opcode::UpdateSession, BODY_IS_SCALAR, "O:8:\"stdClass\":1:{s:1:\"a\";i:1;}", ""),
        frame(Opcode::SendToUid, BODY_IS_SCALAR, "[[[\"a\"]],{\"b\":{}}]", "hello"),
        frame(Opcode::SendToUid, 0, nested, nested),
        frame(Opcode::BatchGetClientIdByUid, BODY_IS_SCALAR, "[[\"a\"],{\"b\":[1]}]", ""),
        frame(Opcode::BatchGetClientIdByUid, BODY_IS_SCALAR, nested, ""),
        // Handshakes that are not text.
        frame(Opcode::WorkerConnect, 0, "", nested),
        frame(Opcode::GatewayClientConnect, 0, "", nested),
        frame(Opcode::WorkerConnect, BODY_IS_SCALAR, "", "[1,2"),
        // Bodies that are not serialized, or only a number.
        frame(Opcode::SendToAll, 0, "", "a:9999999:{"),
        frame(Opcode::SendToOne, 0, "", "i:42;"),
        // A whole array, sent to every listener.
        frame(Opcode::SendToAll, 0, "", nested),
    ] {
        offer(inner, &bytes).await;
        offer(inner, &[&scene.hello()[..], &bytes].concat()).await;
        scene.assert_served().await;
    }
    // Each received the broadcasts in its own framing, and can still send.
    for (mut client, hello) in others.into_iter().zip([&b"hi\n"[..], b"\0\0\0\x06hi", b"hi"]) {
        client.send(hello).await;
        let mut received = Vec::new();
        while !received.ends_with(hello) {
            received.extend(client.bytes(1).await);
        }
    }
    scene.assert_healthy().await;
}

/// Listeners without WebSocket, with `*` for their addresses.
const OTHERS: [&str; 4] = ["text://*", "frame://*", "tcp://*", "frame://*?length=u16le&offset=2"];

/// A gateway with listeners of every kind, an echo worker, and one client.
struct Scene {
    suite: Suite,
    /// Addresses of the listeners of [`OTHERS`].
    others: [SocketAddr; 4],
    ann: Browser,
    sent: usize,
}

impl Scene {
    async fn start() -> Self {
        let mut builder = Suite::builder().gateways(1).workers(1).app("echo").threads(2);
        let others = OTHERS.map(|_| ports::free());
        for (url, addr) in OTHERS.iter().zip(others) {
            let url = url.replace('*', &addr.to_string());
            builder = builder.gateway_flag("--listen", &url);
        }
        let suite = builder.start().await;
        let ann = suite.browser(0).await;
        Self { suite, others, ann, sent: 0 }
    }

    /// The first frame of a PHP peer that has the secret.
    fn hello(&self) -> BytesMut {
        let secret = self.suite.secret();
        let body = json!({ "secret_key": std::str::from_utf8(secret.expose()).unwrap() });
        let cmd = Opcode::GatewayClientConnect.into();
        let body = Bytes::from(body.to_string());
        let mut bytes = BytesMut::new();
        let frame = Frame { cmd, flag: BODY_IS_SCALAR, body, ..Frame::default() };
        frame.encode(&mut bytes).unwrap();
        bytes
    }

    async fn ann_id(&mut self) -> u32 {
        let answer = self.suite.peer(0).await.query(Query::Sessions { group: None }).await;
        let Answer::Sessions(sessions) = answer else { panic!("{answer:?}") };
        sessions[0].0.0
    }

    /// Asserts that the worker still echoes. Broadcasts of peers with the secret are skipped.
    async fn assert_served(&mut self) {
        self.sent += 1;
        let text = format!("still here, {}", self.sent);
        self.ann.send(text.clone()).await;
        loop {
            match self.ann.receive().await {
                Received::Text(echo) if echo == text => return,
                Received::Closed(code) => panic!("the client was closed with {code:?}"),
                _ => {}
            }
        }
    }

    /// Asserts that all processes run and serve new clients, and that only the one client is left.
    async fn assert_healthy(mut self) {
        self.assert_served().await;
        for process in [&mut self.suite.registers[0], &mut *self.suite.gateways[0]] {
            assert!(process.is_running(), "{}", process.name);
        }
        assert!(self.suite.workers[0].is_running());
        let gateway = &self.suite.gateways[0];
        gateway.wait_for_metric("pushsuite_gateway_clients", 1.0).await;
        gateway.wait_for_metric("pushsuite_gateway_workers", 1.0).await;
        let mut bob = self.suite.browser(0).await;
        bob.send("hello").await;
        assert_eq!(bob.receive_text().await, "hello");
        let cluster = self.suite.cluster().await;
        assert_eq!(cluster.count().await.unwrap(), 2, "the register lists its gateway");
        // `Suite` checks on drop that no process has panicked.
    }
}

/// Sends bytes on a new connection and waits until it closes.
async fn offer(addr: SocketAddr, bytes: &[u8]) {
    let mut raw = Raw::connect(addr).await;
    // The gateway may disconnect at any byte.
    let _ = raw.try_send(bytes).await;
    if raw.try_shutdown_write().await.is_ok() {
        raw.read_to_end().await;
    }
}

/// Recorded messages of the original processes, of some kinds.
fn recorded(is_wanted: impl Fn(&str) -> bool) -> Vec<Vec<u8>> {
    let lines = VECTORS.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let wanted = lines.filter(|line| is_wanted(line["kind"].as_str().unwrap()));
    let mut messages: Vec<_> = wanted.map(|line| from_hex(line["hex"].as_str().unwrap())).collect();
    messages.sort();
    messages.dedup();
    assert!(!messages.is_empty());
    messages
}

/// Some truncations and bit flips of a message; others for each `at`.
fn variations(whole: &[u8], at: usize) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = cuts(whole).map(<[u8]>::to_vec).collect();
    all.extend((0..FLIPS).map(|flip| {
        let mut flipped = whole.to_vec();
        flipped[flip * whole.len() / FLIPS] ^= 1 << ((at + flip) % 8);
        flipped
    }));
    all
}

fn cuts(whole: &[u8]) -> impl Iterator<Item = &[u8]> {
    (1..=CUTS).map(|cut| &whole[..cut * whole.len() / (CUTS + 1)])
}

/// Whether this sends raw bytes to clients, which may break their framing. Peers with the secret
/// may do that.
fn sends_raw_bytes(bytes: &[u8]) -> bool {
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some(frame)) = decode(&mut buffer, MAX_FRAME) {
        if matches!(read(&frame), Ok(PeerMessage::Command(command)) if is_raw(&command)) {
            return true;
        }
    }
    false
}

fn is_raw(command: &Command) -> bool {
    command.message().is_some_and(|message| message.kind == MessageKind::Raw)
}

fn from_hex(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}
