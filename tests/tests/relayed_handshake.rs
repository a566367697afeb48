//! A process without the secret that relays the handshake between a worker and another gateway
//! gains nothing from it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::BytesMut;
use protocol::{
    codec::native::{MAX_FRAME, decode, encode},
    link::{LinkMessage, MAGIC, ToGateway, ToPeer},
};
use suite_tests::{Raw, Suite, eventually, net};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// How the relay forwards the challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Challenge {
    /// With the address of the gateway that it came from.
    Unchanged,
    /// With the address that the worker has dialed.
    Readdressed,
}

#[derive(Debug, Default)]
struct Relayed {
    challenges: AtomicUsize,
    hellos: AtomicUsize,
    welcomes: AtomicUsize,
    /// Relayed handshakes that have ended, in any way.
    finished: AtomicUsize,
}

#[tokio::test]
async fn relayed_challenge_of_another_gateway_is_rejected_by_the_worker() {
    let relayed = relay_at_the_address_of_a_dead_gateway(Challenge::Unchanged).await;
    assert_eq!(relayed.hellos.load(Ordering::SeqCst), 0, "the worker revealed its proof");
}

#[tokio::test]
async fn relayed_proof_for_another_address_is_rejected_by_the_gateway() {
    let relayed = relay_at_the_address_of_a_dead_gateway(Challenge::Readdressed).await;
    assert_ne!(relayed.hellos.load(Ordering::SeqCst), 0, "the worker cannot tell the difference");
}

/// Kills one of two gateways and puts a relay without the secret at its address, which forwards the
/// handshake between the reconnecting worker and the other gateway.
async fn relay_at_the_address_of_a_dead_gateway(challenge: Challenge) -> Arc<Relayed> {
    let mut suite = Suite::builder().workers(1).start().await;
    let (victim, dead) = (suite.gateways[1].inner, suite.gateways[0].inner);
    let mut client = suite.browser(1).await;
    client.echo("before").await;
    suite.gateways[0].kill();

    let relayed = Arc::<Relayed>::default();
    let listener = TcpListener::bind(dead).await.unwrap();
    let counts = Arc::clone(&relayed);
    let relay = tokio::spawn(async move {
        loop {
            let (worker, _) = listener.accept().await.unwrap();
            let counts = Arc::clone(&counts);
            tokio::spawn(async move {
                forward(worker, victim, dead, challenge, &counts).await;
                counts.finished.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    eventually("the relayed handshake to end", async || {
        (relayed.finished.load(Ordering::SeqCst) != 0).then_some(())
    })
    .await;
    assert_ne!(relayed.challenges.load(Ordering::SeqCst), 0);
    client.echo("after").await;
    relay.abort();
    assert_eq!(
        relayed.welcomes.load(Ordering::SeqCst),
        0,
        "the gateway accepted the relay as the worker"
    );
    let log = suite.gateways[1].log();
    assert!(!log.contains("worker disconnected"), "the worker lost its link");
    relayed
}

async fn forward(
    mut worker: TcpStream,
    victim: SocketAddr,
    dead: SocketAddr,
    challenge: Challenge,
    counts: &Relayed,
) -> Option<()> {
    let mut magic = [0; MAGIC.len()];
    worker.read_exact(&mut magic).await.ok()?;
    let mut gateway = net::connect(victim).await.ok()?;
    gateway.write_all(&magic).await.ok()?;
    let mut challenged: ToPeer = next(&mut gateway).await?;
    if let (ToPeer::Challenge { gateway, .. }, Challenge::Readdressed) =
        (&mut challenged, challenge)
    {
        *gateway = dead.to_string();
    }
    counts.challenges.fetch_add(1, Ordering::SeqCst);
    send(&mut worker, &challenged).await?;
    let hello: ToGateway = next(&mut worker).await?;
    counts.hellos.fetch_add(1, Ordering::SeqCst);
    send(&mut gateway, &hello).await?;
    if let ToPeer::Welcome { .. } = next(&mut gateway).await? {
        counts.welcomes.fetch_add(1, Ordering::SeqCst);
    }
    Some(())
}

async fn next<T: LinkMessage>(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<T> {
    let mut buffer = BytesMut::new();
    loop {
        if let Some(message) = decode(&mut buffer, MAX_FRAME).ok()? {
            return Some(message);
        }
        if stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
    }
}

async fn send(
    stream: &mut (impl tokio::io::AsyncWrite + Unpin),
    message: &impl LinkMessage,
) -> Option<()> {
    let mut bytes = BytesMut::new();
    encode(message, &mut bytes).unwrap();
    stream.write_all(&bytes).await.ok()?;
    stream.flush().await.ok()
}

#[tokio::test]
async fn peer_of_an_older_version_is_identified_in_the_log() {
    let suite = Suite::builder().gateways(1).start().await;
    let mut raw = Raw::connect(suite.gateways[0].inner).await;
    raw.send(&MAGIC).await;
    let prefix = raw.bytes(5).await;
    assert_eq!(prefix[4], 2, "what an older peer reads first is the version");
    // A `Leaving` message of version 1.
    raw.send(&[0, 0, 0, 7, 1, 0, 0, 0, 0, 1, 4]).await;
    raw.read_to_end().await;
    suite.gateways[0].wait_for_log(&["link version 1", "only version 2"]).await;
}
