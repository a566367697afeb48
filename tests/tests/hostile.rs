//! Bytes that nobody of sound mind would send, on real sockets: they cost at most the connection
//! that they came on. Meanwhile a client and a worker go on as if nothing were.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use protocol::{
    Answer, Command, MessageKind, Query,
    codec::{
        gateway_worker::{
            BODY_IS_SCALAR, Frame, MAX_FRAME, Opcode, decode,
            from_peer::{Said, read},
        },
        native,
    },
    link::{MAGIC, ToGateway},
};
use serde_json::{Value, json};
use suite_tests::{Browser, Heard, Raw, Suite, eventually, ports, raw::masked};

const VECTORS: &str = include_str!("../../crates/protocol/tests/gatewayworker/vectors.jsonl");
const NATIVE: &str = include_str!("../../crates/protocol/tests/golden/native.txt");

/// How many truncations of each recorded message are sent, and how many bit flips.
const CUTS: usize = 3;
const FLIPS: usize = 5;

#[tokio::test]
async fn no_piece_of_a_recorded_frame_harms_anybody_else() {
    let mut scene = Scene::start().await;
    let inner = scene.suite.gateways[0].inner;
    for (at, frame) in recorded(|kind| kind != "register").iter().enumerate() {
        for bytes in variations(frame, at) {
            offer(inner, &bytes).await;
            if !speaks_to_everybody(&bytes) {
                let hello = scene.hello();
                offer(inner, &[&hello[..], &bytes].concat()).await;
            }
        }
        scene.goes_on().await;
    }
    scene.ends_well().await;
}

#[tokio::test]
async fn no_piece_of_a_native_frame_harms_anybody_else() {
    let mut scene = Scene::start().await;
    let inner = scene.suite.gateways[0].inner;
    let hex = NATIVE.lines().filter_map(|line| line.split_once(": "));
    for (at, (_, hex)) in hex.filter(|(name, _)| !name.starts_with('#')).enumerate() {
        for bytes in variations(&from_hex(&hex.replace(' ', "")), at) {
            offer(inner, &[&MAGIC[..], &bytes].concat()).await;
            let mut buffer = BytesMut::from(&bytes[..]);
            let said = native::decode(&mut buffer, native::MAX_FRAME);
            if !matches!(said, Ok(Some(ToGateway::Command { command, .. })) if is_raw(&command)) {
                let mut peer = scene.suite.peer(0).await;
                peer.say_bytes(&bytes).await;
            }
        }
        scene.goes_on().await;
    }
    scene.ends_well().await;
}

#[tokio::test]
async fn back_end_that_declares_a_gateway_dead_loses_its_link_only() {
    let mut scene = Scene::start().await;
    let mut peer = scene.suite.peer(0).await;
    peer.say(&ToGateway::WrittenOff).await;
    peer.ends().await;
    scene.goes_on().await;
    scene.ends_well().await;
}

#[tokio::test]
async fn no_piece_of_a_registers_line_harms_anybody_else() {
    let mut scene = Scene::start().await;
    let register = scene.suite.register_addrs[0];
    for (at, line) in recorded(|kind| kind == "register").iter().enumerate() {
        for bytes in variations(line, at) {
            offer(register, &bytes).await;
        }
        // With the right secret, what is cut off; a flipped address might be somebody's.
        let line = String::from_utf8(line.clone()).unwrap();
        let secret = String::from_utf8(scene.suite.secret().expose().to_vec()).unwrap();
        let line = line.replace("s3cret", &secret).into_bytes();
        for bytes in cuts(&line) {
            offer(register, bytes).await;
        }
        scene.goes_on().await;
    }
    scene.ends_well().await;
}

#[tokio::test]
async fn no_piece_of_what_a_client_sends_harms_anybody_else() {
    let mut scene = Scene::start().await;
    let clients = scene.suite.gateways[0].clients;
    let head = b"GET /?a=1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let frames = [
        masked(0x81, b"a text"),
        masked(0x82, &[7; 300]),
        [masked(0x01, b"in "), masked(0x89, b"a ping"), masked(0x80, b"two")].concat(),
        masked(0x88, b"\x03\xe8bye"),
        // Compressed, as it says; but nobody has agreed to that, and it is no such stream either.
        masked(0xc1, b"\xff\xff\xff\xff"),
    ];
    for (at, frame) in frames.iter().enumerate() {
        for bytes in variations(frame, at) {
            offer(clients, &[&head[..], &bytes].concat()).await;
        }
        scene.goes_on().await;
    }
    for bytes in variations(head, 0) {
        offer(clients, &bytes).await;
    }
    // Equal last fragments of two clients, each the end of a message of its own.
    let mut two = [Raw::websocket(clients).await, Raw::websocket(clients).await];
    for (first, client) in ["one ", "two "].iter().zip(&mut two) {
        client.send(&masked(0x01, first.as_bytes())).await;
    }
    for (first, client) in ["one ", "two "].iter().zip(&mut two) {
        client.send(&masked(0x80, b"end")).await;
        assert_eq!(client.frame().await.unwrap().payload, format!("{first}end").into_bytes());
    }
    drop(two);
    scene.ends_well().await;
}

#[tokio::test]
async fn no_frame_of_a_wrong_shape_harms_anybody_else() {
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
        // Updates of a session with what is none.
        frame(Opcode::UpdateSession, BODY_IS_SCALAR, "garbage", ""),
        frame(Opcode::UpdateSession, BODY_IS_SCALAR, "i:5;", ""),
        frame(Opcode::UpdateSession, BODY_IS_SCALAR, "O:8:\"stdClass\":1:{s:1:\"a\";i:1;}", ""),
        frame(Opcode::SendToUid, BODY_IS_SCALAR, "[[[\"a\"]],{\"b\":{}}]", "hello"),
        frame(Opcode::SendToUid, 0, nested, nested),
        frame(Opcode::BatchGetClientIdByUid, BODY_IS_SCALAR, "[[\"a\"],{\"b\":[1]}]", ""),
        frame(Opcode::BatchGetClientIdByUid, BODY_IS_SCALAR, nested, ""),
        // Handshakes that are not even text.
        frame(Opcode::WorkerConnect, 0, "", nested),
        frame(Opcode::GatewayClientConnect, 0, "", nested),
        frame(Opcode::WorkerConnect, BODY_IS_SCALAR, "", "[1,2"),
        // Bodies that are not serialized, or no more than a number.
        frame(Opcode::SendToAll, 0, "", "a:9999999:{"),
        frame(Opcode::SendToOne, 0, "", "i:42;"),
        // A whole array, to every listener there is.
        frame(Opcode::SendToAll, 0, "", nested),
    ] {
        offer(inner, &bytes).await;
        offer(inner, &[&scene.hello()[..], &bytes].concat()).await;
        scene.goes_on().await;
    }
    // Each of them has heard what was for all, in its own framing, and can still speak.
    for (mut client, hello) in others.into_iter().zip([&b"hi\n"[..], b"\0\0\0\x06hi", b"hi"]) {
        client.send(hello).await;
        let mut heard = Vec::new();
        while !heard.ends_with(hello) {
            heard.extend(client.bytes(1).await);
        }
    }
    scene.ends_well().await;
}

/// A gateway with listeners of every kind, a worker that echoes, and one client at it.
struct Scene {
    suite: Suite,
    /// Where clients that speak in lines, in lengths and in bytes come to.
    others: [SocketAddr; 3],
    ann: Browser,
    said: usize,
}

impl Scene {
    async fn start() -> Self {
        let mut builder = Suite::builder().gateways(1).workers(1).app("echo").threads(2);
        let others = [ports::free(), ports::free(), ports::free()];
        for (kind, addr) in ["text", "frame", "tcp"].iter().zip(others) {
            builder = builder.gateway_flag("--listen", &format!("{kind}://{addr}"));
        }
        let suite = builder.start().await;
        let ann = suite.browser(0).await;
        Self { suite, others, ann, said: 0 }
    }

    /// The first frame of a PHP peer who knows the secret.
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
        let answer = self.suite.peer(0).await.ask(Query::Sessions { group: None }).await;
        let Answer::Sessions(sessions) = answer else { panic!("{answer:?}") };
        sessions[0].0.0
    }

    /// What the client says comes back from the worker. Peers who know the secret may have said
    /// something to everybody meanwhile.
    async fn goes_on(&mut self) {
        self.said += 1;
        let text = format!("still here, {}", self.said);
        self.ann.send(text.clone()).await;
        loop {
            match self.ann.hears().await {
                Heard::Text(heard) if heard == text => return,
                Heard::End(code) => panic!("the client was closed with {code:?}"),
                _ => {}
            }
        }
    }

    /// Everything runs, and serves newcomers; nobody but the one client is left.
    async fn ends_well(mut self) {
        self.goes_on().await;
        for process in [&mut self.suite.registers[0], &mut *self.suite.gateways[0]] {
            assert!(process.is_running(), "{}", process.name);
        }
        assert!(self.suite.workers[0].is_running());
        let gateway = &self.suite.gateways[0];
        eventually("the hostile to be gone", async || {
            (gateway.metric("gateway_clients").await? == 1.0).then_some(())
        })
        .await;
        eventually("one worker to be left", async || {
            (gateway.metric("gateway_workers").await? == 1.0).then_some(())
        })
        .await;
        let mut bob = self.suite.browser(0).await;
        bob.send("hello").await;
        assert_eq!(bob.hears_text().await, "hello");
        let cluster = self.suite.cluster().await;
        assert_eq!(cluster.count().await.unwrap(), 2, "the register knows its gateway");
        // That no process has panicked, the suite checks at the end.
    }
}

/// Sends bytes on a connection of their own, and waits for its end.
async fn offer(addr: SocketAddr, bytes: &[u8]) {
    let mut stranger = Raw::connect(addr).await;
    // It may hang up at any byte.
    let _ = stranger.try_send(bytes).await;
    if stranger.try_finish().await.is_ok() {
        stranger.until_the_end().await;
    }
}

/// What the original processes said, of some kinds.
fn recorded(is_wanted: impl Fn(&str) -> bool) -> Vec<Vec<u8>> {
    let lines = VECTORS.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let wanted = lines.filter(|line| is_wanted(line["kind"].as_str().unwrap()));
    let mut messages: Vec<_> = wanted.map(|line| from_hex(line["hex"].as_str().unwrap())).collect();
    messages.sort();
    messages.dedup();
    assert!(!messages.is_empty());
    messages
}

/// Some of the truncations and bit flips of a message; others for each `at`.
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

/// Whether this reaches clients as bytes that they have to make sense of themselves: peers who know
/// the secret may send these.
fn speaks_to_everybody(bytes: &[u8]) -> bool {
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some(frame)) = decode(&mut buffer, MAX_FRAME) {
        if matches!(read(&frame), Ok(Said::Command(command)) if is_raw(&command)) {
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
