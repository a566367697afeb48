//! How a worker starts, when it is ready, and how it stops.

#[path = "../../client/tests/fake/mod.rs"]
mod fake;
mod running;

use std::{sync::atomic::Ordering, time::Duration};

use business_worker::{Client, CloseReason, Cluster, Config, Message, Worker, serve};
use fake::{FakeGateway, SECRET, context, sent_to, soon};
use protocol::{
    ConnectionId, Event, Instance,
    discovery::{Gateway, Presence, Settled},
    link::{Role, ToGateway, ToPeer},
};
use running::{Teller, one, start_as};
use service::Starting;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_worker_says_who_it_is_and_is_ready_once_linked() {
    let (running, _gateway, link) = one(Teller::new()).await;
    assert!(matches!(&link.role, Some(Role::Worker { key, .. }) if key == "Test:1"));
    soon(async {
        while !running.health.is_ready() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_stopping_worker_finishes_what_it_has() {
    let teller = Teller::new();
    let (running, _gateway, mut link) = one(teller.clone()).await;
    link.message(1, "wait 1").await;
    link.message(1, "2").await;
    link.message(2, "x").await;
    assert_eq!(link.command().await, sent_to(2, "did x"), "all were read");
    running.stop.cancel();
    loop {
        match link.next().await {
            ToGateway::Leaving => break,
            other => link.note(other).await,
        }
    }
    let ToGateway::Ping { token } = link.next().await else { panic!("no ping") };
    // On its way when we heard: it is not lost.
    link.message(3, "late").await;
    link.send(ToPeer::Pong { token }).await;
    assert_eq!(link.command().await, sent_to(3, "did late"));
    assert_eq!(teller.stopped.load(Ordering::SeqCst), 0);
    teller.permits.add_permits(1);
    let commands = link.until_closed().await;
    assert_eq!(commands, [sent_to(1, "did wait 1"), sent_to(1, "did 2")]);
    assert_eq!(link.events_done(), 4);
    assert_eq!(teller.stopped.load(Ordering::SeqCst), 1);
    running.ended().await.unwrap();
}

/// Starts and stops as it is told.
struct Rough {
    start: fn() -> anyhow::Result<()>,
    starts: bool,
}

impl Worker for Rough {
    async fn on_worker_start(&self, _cluster: &Cluster) -> anyhow::Result<()> {
        if !self.starts {
            std::future::pending::<()>().await;
        }
        (self.start)()
    }

    async fn on_message(&self, _client: &Client, _message: Message) -> anyhow::Result<()> {
        Ok(())
    }

    async fn on_worker_stop(&self, _cluster: &Cluster) -> anyhow::Result<()> {
        panic!("told to")
    }
}

async fn run_alone(worker: Rough, stop: CancellationToken) -> anyhow::Result<()> {
    let starting = Starting::new(None, stop, Duration::from_secs(10));
    let (registers, secret, key) = (vec![], SECRET.into(), "Test:1".to_owned());
    let (threads, handler_retries, tls) = (1, 0, None);
    let (gateway_grace, peer_timeout) = (Duration::from_secs(10), Duration::from_secs(30));
    let config = Config {
        registers,
        secret,
        key,
        gateway_grace,
        threads,
        handler_retries,
        peer_timeout,
        tls,
    };
    soon(serve(worker, config, starting)).await
}

#[tokio::test]
async fn a_worker_that_cannot_start_says_why() {
    let broken = Rough { start: || anyhow::bail!("no database"), starts: true };
    let error = run_alone(broken, CancellationToken::new()).await.unwrap_err();
    assert!(format!("{error:#}").contains("no database"), "{error:#}");
    let broken = Rough { start: || panic!("no luck"), starts: true };
    let error = run_alone(broken, CancellationToken::new()).await.unwrap_err();
    assert!(format!("{error:#}").contains("no luck"), "{error:#}");
}

#[tokio::test]
async fn a_worker_that_is_still_starting_can_be_stopped() {
    let stop = CancellationToken::new();
    let slow = Rough { start: || Ok(()), starts: false };
    let (ended, ()) = tokio::join!(run_alone(slow, stop.clone()), async { stop.cancel() });
    ended.unwrap();
}

#[tokio::test]
async fn a_panic_at_the_end_does_not_keep_what_was_sent() {
    let rough = Rough { start: || Ok(()), starts: true };
    let (running, _gateway, mut link) = one(rough).await;
    running.stop.cancel();
    assert_eq!(link.until_closed().await, []);
    running.ended().await.unwrap();
}

/// Says why its clients are gone.
struct Ends(mpsc::Sender<CloseReason>);

impl Worker for Ends {
    async fn on_message(&self, _client: &Client, _message: Message) -> anyhow::Result<()> {
        Ok(())
    }

    async fn on_close(&self, _client: &Client, reason: CloseReason) -> anyhow::Result<()> {
        Ok(self.0.send(reason).await?)
    }
}

#[tokio::test]
async fn a_worker_that_did_not_notice_a_gateways_end_hears_of_it_and_meets_its_next_life() {
    let (ends, mut ended) = mpsc::channel(8);
    let (mut running, mut gateway, mut link) = one(Ends(ends)).await;
    link.event(1, Event::Connect).await;
    link.done(1).await;
    // Its host lost power, and is back; another worker met it first, and has said so.
    let before = std::mem::replace(&mut gateway.instance, Instance::new("next").unwrap());
    let back = Gateway {
        native: true,
        instance: Some(gateway.instance.clone()),
        ..Gateway::plain(gateway.address())
    };
    let settled = vec![Settled { gateway: before, owner: Instance::new("other").unwrap() }];
    let presence = Presence { workers: Vec::new(), settled };
    running.follower.tell(vec![back], Some(presence)).await;
    assert_eq!(soon(ended.recv()).await, Some(CloseReason::GatewayLost));
    let mut next = gateway.link().await;
    next.message(2, "hello").await;
    next.done(1).await;
}

#[tokio::test]
async fn a_witness_does_not_say_that_all_clients_of_a_dead_worker_are_closed() {
    let (ends, mut ended) = mpsc::channel(8);
    let gateway = FakeGateway::start().await;
    let soonest = |config: &mut Config| config.gateway_grace = Duration::from_millis(100);
    let mut running = start_as(Ends(ends), &[&gateway], soonest).await;
    let mut link = gateway.link().await;
    let (client, owner) = (ConnectionId(1), Instance::new("owner").unwrap());
    link.send(ToPeer::Witness { client, owner, context: Box::new(context()) }).await;
    link.event(2, Event::Connect).await;
    link.done(1).await;
    // The gateway is gone, and so is the owner, whose other clients have another witness.
    drop(link);
    let nobody = Presence { workers: Vec::new(), settled: Vec::new() };
    running.follower.tell(Vec::new(), Some(nobody)).await;
    for _ in 0..2 {
        assert_eq!(soon(ended.recv()).await, Some(CloseReason::GatewayLost));
    }
    drop(running.follower);
    let (_follower, hello) = running.register.follower().await;
    let [settled] = &hello.settled[..] else { panic!("{:?}", hello.settled) };
    assert_eq!(
        (&settled.gateway, Some(&settled.owner)),
        (&gateway.instance, hello.instance.as_ref())
    );
}

/// Says of each close whether it was marked.
struct Marks(mpsc::Sender<bool>);

impl Worker for Marks {
    async fn on_message(&self, _client: &Client, _message: Message) -> anyhow::Result<()> {
        Ok(())
    }

    async fn on_close(&self, client: &Client, _reason: CloseReason) -> anyhow::Result<()> {
        Ok(self.0.send(client.redelivered()).await?)
    }
}

#[tokio::test]
async fn a_client_that_was_reassigned_with_a_mark_is_closed_with_one_when_its_gateway_dies() {
    for marked in [true, false] {
        let (marks, mut closed) = mpsc::channel(8);
        let gateway = FakeGateway::start().await;
        let soonest = |config: &mut Config| config.gateway_grace = Duration::from_millis(100);
        let mut running = start_as(Marks(marks), &[&gateway], soonest).await;
        let mut link = gateway.link().await;
        link.deliver(1, Event::Adopt, Some(Box::new(context())), marked).await;
        link.done(1).await;
        drop(link);
        running.follower.tell(Vec::new(), None).await;
        assert_eq!(soon(closed.recv()).await, Some(marked));
    }
}
