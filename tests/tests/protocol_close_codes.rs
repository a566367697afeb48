//! The close codes of a protocol: a worker declares them, and gateways close its clients with them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use protocol::{
    CloseCodes, CloseKind, CloseReason, Command, ConnectionId, Event, Query, Recipients,
    link::{ToGateway, ToPeer},
};
use push_suite_worker::{Client, Config, Message, Worker, anyhow, serve};
use serde_json::json;
use service::Starting;
use suite_tests::{
    Browser, Issuer, Peer, Raw, Suite, eventually, names::uid, on_one_and_three_threads,
    process::Signal, raw::masked, suite::Builder, tokens::now,
};
use tokio::task::{JoinHandle, JoinSet};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_util::sync::CancellationToken;

on_one_and_three_threads!(
    drain_closes_each_client_with_the_code_of_its_protocol,
    client_without_a_worker_has_the_code_of_the_last_one,
    client_reassigned_to_a_worker_with_other_codes_keeps_its_own,
    silent_client_is_closed_with_the_code_of_its_protocol,
    slow_client_is_closed_with_the_code_of_its_protocol,
    largest_holder_is_closed_with_the_code_of_its_protocol,
    fast_client_is_closed_with_the_code_of_its_protocol,
    violations_are_closed_with_the_codes_of_the_protocol,
    client_with_a_poison_message_is_closed_with_the_code_of_its_protocol,
    client_without_a_uid_is_closed_with_the_code_of_its_protocol,
    clients_with_tokens_are_closed_with_the_codes_of_their_protocol,
    client_over_the_limit_of_its_uid_is_closed_with_the_code_of_its_protocol,
    codes_declared_late_apply_to_clients_that_are_connected,
    declarations_without_end_are_bounded_and_change_nothing_for_others,
);

/// A different code for each kind.
const fn code(kind: CloseKind) -> u16 {
    4100 + kind as u16
}

fn all_codes() -> CloseCodes {
    CloseCodes::new(CloseKind::ALL.map(|kind| (kind, code(kind)))).unwrap()
}

fn builder(threads: usize, flags: &[(&str, &str)]) -> Builder {
    Suite::builder().gateways(1).threads(threads).gateway_flags(flags)
}

/// A worker that has declared these codes at every shard.
async fn worker(suite: &Suite, key: &str, codes: CloseCodes) -> Peer {
    let mut worker = suite.worker_link(0, key).await;
    declare(&mut worker, codes).await;
    worker
}

async fn declare(worker: &mut Peer, codes: CloseCodes) {
    worker.send(&ToGateway::CloseCodes { codes }).await;
    worker.query(Query::Groups).await;
}

async fn start(threads: usize, flags: &[(&str, &str)]) -> (Suite, Peer) {
    let suite = builder(threads, flags).start().await;
    let worker = worker(&suite, "w:1", all_codes()).await;
    (suite, worker)
}

async fn raw(suite: &Suite, worker: &mut Peer) -> (Raw, ConnectionId) {
    let raw = Raw::websocket(suite.gateways[0].clients).await;
    (raw, worker.accept_client().await)
}

async fn drain_closes_each_client_with_the_code_of_its_protocol(threads: usize) {
    let mut suite = builder(threads, &[]).start().await;
    let only = CloseCodes::new([(CloseKind::Shutdown, 4200)]).unwrap();
    let mut workers = [
        worker(&suite, "w:1", all_codes()).await,
        worker(&suite, "w:2", only).await,
        worker(&suite, "w:3", CloseCodes::default()).await,
    ];
    // Each gets the worker with the fewest clients.
    let mut clients = Vec::new();
    for worker in &mut workers {
        clients.push(raw(&suite, worker).await.0);
    }
    suite.gateways[0].signal(Signal::Term);
    for (client, expected) in clients.iter_mut().zip([code(CloseKind::Shutdown), 4200, 1001]) {
        let (code, reason) = client.close_frame().await;
        assert!(code == expected && reason.starts_with("retry-after="), "{code} {reason}");
    }
}

async fn client_without_a_worker_has_the_code_of_the_last_one(threads: usize) {
    let (suite, mut worker) = start(threads, &[("--no-worker-timeout", "1")]).await;
    let (mut client, _) = raw(&suite, &mut worker).await;
    drop(worker);
    client.send(&masked(0x81, b"is there a worker")).await;
    let (code_received, reason) = client.close_frame().await;
    assert_eq!(code_received, code(CloseKind::NoWorker));
    assert!(reason.starts_with("retry-after="), "{reason}");
    // A client that never had a worker has no protocol yet.
    let mut newcomer = Raw::websocket(suite.gateways[0].clients).await;
    assert_eq!(newcomer.close_code().await, 1013);
}

async fn client_reassigned_to_a_worker_with_other_codes_keeps_its_own(threads: usize) {
    let mut suite = builder(threads, &[]).start().await;
    let mut first = worker(&suite, "w:1", all_codes()).await;
    let (mut client, id) = raw(&suite, &mut first).await;
    let only = CloseCodes::new([(CloseKind::Shutdown, 4999)]).unwrap();
    let mut second = worker(&suite, "w:2", only).await;
    let mut third = worker(&suite, "w:3", CloseCodes::default()).await;
    drop(first);
    let mut owner = None;
    client.send(&masked(0x81, b"hello")).await;
    eventually("the client to have another worker", async || {
        for (at, worker) in [&mut second, &mut third].into_iter().enumerate() {
            while worker.has_event().await {
                let delivery = worker.event().await;
                worker.ack(&delivery).await;
                assert_eq!(delivery.client, id);
                owner = Some(at);
            }
        }
        owner
    })
    .await;
    suite.gateways[0].signal(Signal::Term);
    assert_eq!(client.close_frame().await.0, code(CloseKind::Shutdown));
}

async fn silent_client_is_closed_with_the_code_of_its_protocol(threads: usize) {
    let (suite, mut worker) = start(threads, &[("--websocket-ping", "1")]).await;
    let (mut client, id) = raw(&suite, &mut worker).await;
    assert_eq!(client.close_code().await, code(CloseKind::PingTimeout));
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Timeout));
}

/// Sends messages to a client that does not read until it is closed.
async fn fill(worker: &mut Peer, id: ConnectionId, size: usize) -> CloseReason {
    let message: Message = "x".repeat(size).into();
    while !worker.has_event().await {
        let to = Recipients::Only(vec![id]);
        worker.command(Command::SendToAll { to, message: message.clone() }).await;
        worker.acknowledged().await;
    }
    match worker.event_of(id).await {
        Event::Close(reason) => reason,
        other => panic!("{other:?}"),
    }
}

async fn slow_client_is_closed_with_the_code_of_its_protocol(threads: usize) {
    let (suite, mut worker) = start(threads, &[("--send-to-client-buffer-size", "200000")]).await;
    let mut lazy = Raw::with_small_buffers(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;
    assert_eq!(fill(&mut worker, id, 50_000).await, CloseReason::Slow);
    assert_eq!(lazy.close_code().await, code(CloseKind::SlowClient));
}

async fn largest_holder_is_closed_with_the_code_of_its_protocol(threads: usize) {
    let budget = ((8 << 20) * threads).to_string();
    let (suite, mut worker) = start(threads, &[("--memory-budget", &budget)]).await;
    let message: Arc<[u8]> = masked(0x82, &[0; 1_000_000]).into();
    let mut clients = Vec::new();
    for _ in 0..30 * threads {
        clients.push(raw(&suite, &mut worker).await.0);
    }
    let mut unfinished = JoinSet::new();
    for mut client in clients {
        let message = Arc::clone(&message);
        unfinished.spawn(async move {
            // The gateway may pause it, and close it later.
            let _ = client.try_send(&message[..900_000]).await;
            client.close_frame().await
        });
    }
    let (code_received, reason) = unfinished.join_next().await.unwrap().unwrap();
    assert_eq!(code_received, code(CloseKind::Overload));
    assert!(reason.starts_with("retry-after="), "{reason}");
    unfinished.shutdown().await;
}

async fn fast_client_is_closed_with_the_code_of_its_protocol(threads: usize) {
    let flags = [("--max-messages-per-second", "3"), ("--rate-policy", "disconnect")];
    let (suite, mut worker) = start(threads, &flags).await;
    let (mut flooder, _) = raw(&suite, &mut worker).await;
    flooder.send(&masked(0x81, b"x").repeat(40)).await;
    let expected = (code(CloseKind::RateLimit), "rate limit".to_owned());
    assert_eq!(flooder.close_frame().await, expected);
}

async fn violations_are_closed_with_the_codes_of_the_protocol(threads: usize) {
    let (suite, mut worker) = start(threads, &[("--max-message-size", "100")]).await;
    let cases = [
        (masked(0x81, &[b'x'; 101]), CloseKind::MessageTooLarge),
        (masked(0x81, b"\xff"), CloseKind::Protocol),
        (b"\x81\x01x".to_vec(), CloseKind::Protocol),
    ];
    for (bytes, kind) in cases {
        let (mut client, id) = raw(&suite, &mut worker).await;
        client.send(&bytes).await;
        assert_eq!(client.close_frame().await.0, code(kind));
        assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Protocol));
    }
}

async fn client_with_a_poison_message_is_closed_with_the_code_of_its_protocol(threads: usize) {
    let (suite, mut owner) = start(threads, &[("--max-delivery-attempts", "2")]).await;
    let (mut client, _) = raw(&suite, &mut owner).await;
    client.send(&masked(0x81, b"poison")).await;
    owner.event().await;
    // Each worker process ends while it handles the message, the last time alone.
    for at in 2..6 {
        let next = suite.worker_link(0, &format!("w:{at}")).await;
        drop(owner);
        owner = next;
        loop {
            let delivery = owner.event().await;
            let (shard, seq) = (delivery.shard, delivery.seq);
            match delivery.event {
                Event::Message(_) => {
                    owner.send(&ToGateway::HandlerStarted { shard, seq, alone: true }).await;
                    break;
                }
                Event::Close(CloseReason::Undeliverable) => {
                    let expected = code(CloseKind::Undeliverable);
                    assert_eq!(client.close_frame().await.0, expected);
                    return;
                }
                _ => owner.ack(&delivery).await,
            }
        }
        owner.query(Query::Groups).await;
    }
    panic!("the message is never given up");
}

async fn client_without_a_uid_is_closed_with_the_code_of_its_protocol(threads: usize) {
    let (suite, mut worker) = start(threads, &[("--auth-timeout", "1")]).await;
    let (mut client, _) = raw(&suite, &mut worker).await;
    let expected = (code(CloseKind::NotAuthenticated), "not authenticated in time".to_owned());
    assert_eq!(client.close_frame().await, expected);
}

async fn clients_with_tokens_are_closed_with_the_codes_of_their_protocol(threads: usize) {
    let issuer = Issuer::hs256("a", 1);
    let keys = issuer.file();
    let flags = [("--handshake-auth", "jwt"), ("--jwt-keys", keys.to_str().unwrap())];
    let (suite, _worker) = start(threads, &flags).await;
    let gateway = suite.gateways[0].clients;
    let open = async |token: String| {
        let request = format!("ws://{gateway}/?token={token}").into_client_request().unwrap();
        Browser::open_with(gateway, request).await.unwrap()
    };
    let mut ann = open(issuer.token(json!({ "sub": "ann", "exp": now() - 21 }))).await;
    let mut bob = open(issuer.token_of("bob")).await;
    let cluster = suite.cluster().await;
    cluster.revoke(protocol::Revocation::uids([uid("bob")])).await.unwrap();
    let revoked = (code(CloseKind::TokenRefused), "token revoked".to_owned());
    assert_eq!(bob.receive_close().await, Some(revoked));
    let expired = (code(CloseKind::TokenExpired), "token expired".to_owned());
    assert_eq!(ann.receive_close().await, Some(expired));
}

async fn client_over_the_limit_of_its_uid_is_closed_with_the_code_of_its_protocol(threads: usize) {
    let flags = [("--max-connections-per-uid", "1"), ("--uid-limit-policy", "close-oldest")];
    let (suite, mut worker) = start(threads, &flags).await;
    let (mut first, id) = raw(&suite, &mut worker).await;
    worker.command(Command::BindUid { client: id, uid: uid("ann") }).await;
    let check = loop {
        if let ToPeer::CheckUid { check, .. } = worker.next().await.unwrap() {
            break check;
        }
    };
    worker.send(&ToGateway::UidChecked { check, uid: uid("ann") }).await;
    let (_second, other) = raw(&suite, &mut worker).await;
    worker.command(Command::BindUid { client: other, uid: uid("ann") }).await;
    let reason = "replaced by a newer connection";
    assert_eq!(first.close_frame().await, (code(CloseKind::UidLimit), reason.to_owned()));
}

async fn codes_declared_late_apply_to_clients_that_are_connected(threads: usize) {
    let mut suite = builder(threads, &[]).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let (mut client, _) = raw(&suite, &mut worker).await;
    declare(&mut worker, all_codes()).await;
    // The first declaration counts.
    declare(&mut worker, CloseCodes::new([(CloseKind::Shutdown, 4000)]).unwrap()).await;
    let (mut newcomer, _) = raw(&suite, &mut worker).await;
    suite.gateways[0].signal(Signal::Term);
    assert_eq!(client.close_frame().await.0, code(CloseKind::Shutdown));
    assert_eq!(newcomer.close_frame().await.0, 4000);
}

async fn declarations_without_end_are_bounded_and_change_nothing_for_others(threads: usize) {
    let mut suite = builder(threads, &[]).start().await;
    let mut honest = worker(&suite, "w:1", all_codes()).await;
    let (mut client, _) = raw(&suite, &mut honest).await;
    let mut hostile = suite.worker_link(0, "w:2").await;
    let mut others = Vec::new();
    for code in 3000..3250 {
        declare(&mut hostile, CloseCodes::new([(CloseKind::Shutdown, code)]).unwrap()).await;
        let kept = Raw::websocket(suite.gateways[0].clients).await;
        // Both workers get clients in turn.
        for worker in [&mut honest, &mut hostile] {
            while worker.has_event().await {
                let delivery = worker.event().await;
                worker.ack(&delivery).await;
            }
        }
        others.push(kept);
    }
    suite.gateways[0].wait_for_log(&["WARN", "too many sets of close codes"]).await;
    suite.gateways[0].signal(Signal::Term);
    assert_eq!(client.close_frame().await.0, code(CloseKind::Shutdown));
    for other in &mut others {
        let (code, _) = other.close_frame().await;
        let is_honest = code == self::code(CloseKind::Shutdown);
        assert!(is_honest || code == 1001 || (3000..3250).contains(&code), "{code}");
    }
}

/// An application with a protocol of its own.
struct Protocol;

impl Worker for Protocol {
    fn close_codes(&self) -> CloseCodes {
        all_codes()
    }

    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        client.send(message).await?;
        Ok(())
    }
}

/// Runs a worker in this process. Cancelling it without its shutdown looks like a crash.
async fn run(suite: &Suite, id: &str) -> JoinHandle<anyhow::Result<()>> {
    let registers = suite.register_addrs.iter().map(ToString::to_string);
    let config = Config::new(registers, suite.secret()).name("protocol").id(id).threads(1);
    let config = config.tls(suite.tls());
    let starting = Starting::new(None, CancellationToken::new(), Duration::from_secs(5));
    let health = starting.health.clone();
    let task = tokio::spawn(serve(Protocol, config, starting));
    eventually("a worker to be linked", async || health.is_ready().then_some(())).await;
    task
}

#[tokio::test]
async fn worker_declares_its_codes_at_every_gateway_and_again_on_each_link() {
    let mut suite = Suite::builder().gateways(2).start().await;
    let first = run(&suite, "1").await;
    let mut clients = Vec::new();
    for gateway in 0..2 {
        let mut client = suite.browser(gateway).await;
        client.exchange("hello", "hello").await;
        clients.push(client);
    }
    // Killed, and another one takes over.
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let _second = run(&suite, "2").await;
    for client in &mut clients {
        client.exchange("still there", "still there").await;
    }
    let mut newcomer = suite.browser(0).await;
    newcomer.exchange("hello", "hello").await;
    clients.push(newcomer);
    suite.gateways.iter_mut().for_each(|gateway| gateway.signal(Signal::Term));
    for client in &mut clients {
        let (code_received, reason) = client.receive_close().await.unwrap();
        assert_eq!(code_received, code(CloseKind::Shutdown));
        assert!(reason.starts_with("retry-after="), "{reason}");
    }
}

#[tokio::test]
async fn client_of_a_killed_worker_is_closed_with_the_code_that_it_has_declared() {
    let suite = builder(1, &[("--no-worker-timeout", "1")]).start().await;
    let worker = run(&suite, "1").await;
    let mut client = suite.browser(0).await;
    client.exchange("hello", "hello").await;
    worker.abort();
    client.send("is there a worker").await;
    let (code_received, _) = client.receive_close().await.unwrap();
    assert_eq!(code_received, code(CloseKind::NoWorker));
}

#[tokio::test]
async fn strict_gateway_sends_no_close_frame_with_codes_either() {
    let (suite, mut worker) =
        start(1, &[("--compat", "strict"), ("--max-message-size", "10")]).await;
    let (mut client, _) = raw(&suite, &mut worker).await;
    client.send(&masked(0x81, &[b'x'; 100])).await;
    assert!(client.read_to_end().await.is_empty());
}
