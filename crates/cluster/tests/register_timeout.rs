//! Gateways that answer late or not at all, and keepalives of a busy worker.

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use protocol::{
    Event, Message,
    codec::native,
    link::{Delivery, ToGateway, ToPeer},
};
use push_suite_cluster::{
    Cluster, Config, Status,
    internal::{Consumer, EventReceiver, Link, Room, WorkerCluster},
};
use test_support::fakes::{FakeGateway, FakeRegister, SECRET, soon};
use tokio::io::AsyncWriteExt;

const TIMEOUT: Duration = Duration::from_secs(2);

async fn until(cluster: &Cluster, holds: impl Fn(&Status) -> bool) {
    soon(async {
        while !holds(&cluster.status()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn gateway_that_answers_no_probe_is_late_and_then_disconnected() {
    let (register, gateway) = (FakeRegister::start().await, FakeGateway::start().await);
    let config = Config::new([register.address()], SECRET).peer_timeout(TIMEOUT);
    let cluster = Cluster::start(config);
    let _subscriber = register.serve(&[&gateway]).await;
    let mut link = gateway.link().await;
    until(&cluster, |status| (status.linked, status.answering) == (1, 1)).await;
    until(&cluster, |status| (status.linked, status.answering) == (1, 0)).await;
    // Any message counts as an answer.
    link.send(ToPeer::Ping { token: 7 }).await;
    until(&cluster, |status| (status.linked, status.answering) == (1, 1)).await;
    until(&cluster, |status| status.linked == 0).await;
    let mut link = gateway.link().await;
    let since = Instant::now();
    while since.elapsed() < 2 * TIMEOUT {
        // A gateway that answers probes is kept, although it sends nothing else.
        let message = link.next().await;
        assert_eq!(message, ToGateway::Ping { token: 0 });
        link.send(ToPeer::Pong { token: 0 }).await;
    }
    assert_eq!(cluster.status().answering, 1);
}

/// A consumer that applies backpressure after its first event.
struct Full;

impl Consumer for Full {
    fn linked(&self, _link: &Arc<Link>) -> Box<dyn EventReceiver> {
        Box::new(Self)
    }
}

impl EventReceiver for Full {
    fn take(&mut self, _delivery: Delivery) {}

    fn end_batch(&mut self) -> Option<Room> {
        Some(Box::pin(pending()))
    }
}

#[tokio::test]
async fn worker_under_backpressure_sends_keepalives() {
    let (register, gateway) = (FakeRegister::start().await, FakeGateway::start().await);
    let config = Config::new([register.address()], SECRET).peer_timeout(TIMEOUT);
    let cluster = WorkerCluster::new(config, "w:1".to_owned(), Arc::new(Full));
    cluster.follow();
    let _subscriber = register.serve(&[&gateway]).await;
    let mut link = gateway.link().await;
    link.event(1, Event::Connect).await;
    let since = Instant::now();
    while since.elapsed() < 2 * TIMEOUT {
        let message = link.next().await;
        assert!(matches!(message, ToGateway::Ping { .. } | ToGateway::Pong { .. }), "{message:?}");
    }
    assert_eq!(link.next().await, ToGateway::Pong { token: 0 });
    assert_eq!(cluster.status().linked, 1);
}

#[tokio::test]
async fn shutdown_with_a_gateway_that_reads_nothing_ends_after_the_peer_timeout() {
    let (register, gateway) = (FakeRegister::start().await, FakeGateway::start().await);
    let config = Config::new([register.address()], SECRET).peer_timeout(TIMEOUT);
    let cluster = Cluster::start(config);
    let _subscriber = register.serve(&[&gateway]).await;
    let mut link = gateway.link().await;
    soon(cluster.ready()).await;
    // More than the sockets hold, and less than blocks senders.
    for _ in 0..7 {
        let piece = Message::binary(vec![0; 1024 * 1024]);
        cluster.send_to_client(gateway.client(1), piece).await.unwrap();
    }
    let pings = async {
        let mut ping = BytesMut::new();
        native::encode(&ToPeer::Ping { token: 7 }, &mut ping).unwrap();
        // Input keeps the gateway from timing out.
        while link.stream.write_all(&ping).await.is_ok() {
            tokio::time::sleep(TIMEOUT / 20).await;
        }
        pending().await
    };
    tokio::select! {
        () = soon(cluster.close()) => {}
        () = pings => {}
    }
}
