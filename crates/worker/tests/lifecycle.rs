//! Startup, readiness and shutdown of a worker.

mod running;

use std::{sync::atomic::Ordering, time::Duration};

use protocol::{
    ConnectionId, Context, Event, InstanceId,
    discovery::{CleanupRecord, Gateway, Presence, Takeover},
    link::{Role, ToGateway, ToPeer},
    standby::{self, StandbyClient},
};
use push_suite_worker::{Client, CloseReason, Config, Message, Process, Worker, serve};
use running::{Reporter, start_as, start_one};
use service::Starting;
use test_support::fakes::{FakeGateway, FakeLink, SECRET, context, sent_to, soon};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn worker_sends_its_key_and_is_ready_once_linked() {
    let (running, _gateway, link) = start_one(Reporter::new()).await;
    assert!(matches!(&link.role, Some(Role::Worker { key, .. }) if key == "Test:1"));
    soon(async {
        while !running.health.is_ready() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn stopping_worker_finishes_its_events() {
    let reporter = Reporter::new();
    let (running, _gateway, mut link) = start_one(reporter.clone()).await;
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
    // In flight when the drain began: it is not lost.
    link.message(3, "late").await;
    link.send(ToPeer::Pong { token }).await;
    assert_eq!(link.command().await, sent_to(3, "did late"));
    assert_eq!(reporter.stopped.load(Ordering::SeqCst), 0);
    reporter.permits.add_permits(1);
    let commands = link.until_closed().await;
    assert_eq!(commands, [sent_to(1, "did wait 1"), sent_to(1, "did 2")]);
    assert_eq!(link.events_done(), 4);
    assert_eq!(reporter.stopped.load(Ordering::SeqCst), 1);
    running.ended().await.unwrap();
}

/// Fails or hangs at startup, and panics at shutdown.
struct Unreliable {
    start: fn() -> anyhow::Result<()>,
    starts: bool,
}

impl Worker for Unreliable {
    async fn on_worker_start(&self, _process: &Process) -> anyhow::Result<()> {
        if !self.starts {
            std::future::pending::<()>().await;
        }
        (self.start)()
    }

    async fn on_message(&self, _client: &Client, _message: Message) -> anyhow::Result<()> {
        Ok(())
    }

    async fn on_worker_stop(&self, _process: &Process) -> anyhow::Result<()> {
        panic!("requested")
    }
}

async fn run_alone(worker: Unreliable, stop: CancellationToken) -> anyhow::Result<()> {
    let starting = Starting::new(None, stop, Duration::from_secs(10));
    let config = Config::new(Vec::<String>::new(), SECRET).name("Test").id(1).threads(1);
    soon(serve(worker, config, starting)).await
}

#[tokio::test]
async fn worker_that_fails_to_start_returns_the_error() {
    let broken = Unreliable { start: || anyhow::bail!("no database"), starts: true };
    let error = run_alone(broken, CancellationToken::new()).await.unwrap_err();
    assert!(format!("{error:#}").contains("no database"), "{error:#}");
    let broken = Unreliable { start: || panic!("no luck"), starts: true };
    let error = run_alone(broken, CancellationToken::new()).await.unwrap_err();
    assert!(format!("{error:#}").contains("no luck"), "{error:#}");
}

#[tokio::test]
async fn starting_worker_can_be_stopped() {
    let stop = CancellationToken::new();
    let slow = Unreliable { start: || Ok(()), starts: false };
    let (ended, ()) = tokio::join!(run_alone(slow, stop.clone()), async { stop.cancel() });
    ended.unwrap();
}

#[tokio::test]
async fn panic_in_on_worker_stop_does_not_prevent_the_flush() {
    let unreliable = Unreliable { start: || Ok(()), starts: true };
    let (running, _gateway, mut link) = start_one(unreliable).await;
    running.stop.cancel();
    assert_eq!(link.until_closed().await, []);
    running.ended().await.unwrap();
}

/// Reports the close reasons of its clients.
struct CloseReasons(mpsc::Sender<CloseReason>);

impl Worker for CloseReasons {
    async fn on_message(&self, _client: &Client, _message: Message) -> anyhow::Result<()> {
        Ok(())
    }

    async fn on_close(&self, _client: &Client, reason: CloseReason) -> anyhow::Result<()> {
        Ok(self.0.send(reason).await?)
    }
}

#[tokio::test]
async fn worker_learns_of_a_gateway_restart_from_the_register_and_relinks() {
    let (reasons, mut closed) = mpsc::channel(8);
    let (mut running, mut gateway, mut link) = start_one(CloseReasons(reasons)).await;
    link.event(1, Event::Connect).await;
    link.done(1).await;
    // Its host lost power and has restarted; another worker has linked to it first and reported it.
    let before = std::mem::replace(&mut gateway.instance, InstanceId::new("next").unwrap());
    let back = Gateway {
        native: true,
        instance: Some(gateway.instance.clone()),
        ..Gateway::plain(gateway.address())
    };
    let settled = vec![CleanupRecord { gateway: before, owner: InstanceId::new("other").unwrap() }];
    let presence = Presence { settled, ..Presence::default() };
    running.subscriber.send_list(vec![back], Some(presence)).await;
    assert_eq!(soon(closed.recv()).await, Some(CloseReason::GatewayLost));
    let mut next = gateway.link().await;
    next.message(2, "hello").await;
    next.done(1).await;
}

/// The holders of a standby client: its owner, then the worker.
fn holders(link: &FakeLink) -> Vec<InstanceId> {
    let Some(Role::Worker { instance, .. }) = &link.role else { panic!("no worker") };
    vec![InstanceId::new("owner").expect("a valid name"), instance.clone()]
}

fn standby_client(client: u32) -> StandbyClient {
    let Context { remote, listener_port, .. } = context();
    StandbyClient { client: ConnectionId(client), remote, listener_port }
}

#[tokio::test]
async fn standby_reports_its_takeover_of_a_dead_worker_but_no_complete_cleanup() {
    let (reasons, mut closed) = mpsc::channel(8);
    let gateway = FakeGateway::start().await;
    let short_grace = |config: &mut Config| config.gateway_grace = Duration::from_millis(100);
    let mut running = start_as(CloseReasons(reasons), &[&gateway], short_grace).await;
    let mut link = gateway.link().await;
    let holders = holders(&link);
    let (confirmed, clients) = (true, vec![standby_client(1)]);
    link.send(ToPeer::Standby { holders: holders.clone(), confirmed, clients }).await;
    link.event(2, Event::Connect).await;
    link.done(1).await;
    // The gateway and the owner are dead; the owner's other clients have another standby.
    drop(link);
    running.subscriber.send_list(Vec::new(), Some(Presence::default())).await;
    for _ in 0..2 {
        assert_eq!(soon(closed.recv()).await, Some(CloseReason::GatewayLost));
    }
    drop(running.subscriber);
    let (_subscriber, request) = running.register.subscriber().await;
    let (us, instance) = (request.instance.unwrap(), gateway.instance.clone());
    assert_eq!(request.settled, [CleanupRecord { gateway: instance.clone(), owner: us.clone() }]);
    let digest = standby::digest([ConnectionId(1)]);
    assert_eq!(request.takeovers, [Takeover { gateway: instance, by: us, digest, holders }]);
}

#[tokio::test]
async fn standby_closes_clients_unconfirmed_by_the_owner_after_its_cleanup() {
    let (ids, mut closed) = mpsc::channel(8);
    let gateway = FakeGateway::start().await;
    let short_grace = |config: &mut Config| config.gateway_grace = Duration::from_millis(100);
    let mut running = start_as(Ids(ids), &[&gateway], short_grace).await;
    let mut link = gateway.link().await;
    let holders = holders(&link);
    for (client, confirmed) in [(1, true), (2, false), (3, false)] {
        let (holders, clients) = (holders.clone(), vec![standby_client(client)]);
        link.send(ToPeer::Standby { holders, confirmed, clients }).await;
    }
    link.send(ToPeer::ReleaseStandby { clients: vec![ConnectionId(3)] }).await;
    link.event(4, Event::Connect).await;
    link.done(1).await;
    drop(link);
    let (owner, instance) = (holders[0].clone(), gateway.instance.clone());
    let settled = vec![CleanupRecord { gateway: instance, owner: owner.clone() }];
    let presence = Presence { workers: vec![owner], settled, ..Presence::default() };
    running.subscriber.send_list(Vec::new(), Some(presence)).await;
    let mut both = [soon(closed.recv()).await, soon(closed.recv()).await];
    both.sort_unstable();
    assert_eq!(both, [Some((2, true)), Some((4, false))]);
}

/// The earlier standby knew the same clients, or fewer.
#[tokio::test]
async fn standby_closes_clients_unknown_to_the_earlier_standby() {
    for known in [&[1, 2][..], &[1]] {
        let (ids, mut closed) = mpsc::channel(8);
        let gateway = FakeGateway::start().await;
        let short_grace = |config: &mut Config| config.gateway_grace = Duration::from_millis(100);
        let mut running = start_as(Ids(ids), &[&gateway], short_grace).await;
        let mut link = gateway.link().await;
        let [owner, us] = &holders(&link)[..] else { panic!("two") };
        let first = InstanceId::new("first").unwrap();
        let holders = vec![owner.clone(), first.clone(), us.clone()];
        let clients = vec![standby_client(1), standby_client(2)];
        link.send(ToPeer::Standby { holders: holders.clone(), confirmed: true, clients }).await;
        link.event(4, Event::Connect).await;
        link.done(1).await;
        drop(link);
        let digest = standby::digest(known.iter().copied().map(ConnectionId));
        let (gateway, by) = (gateway.instance.clone(), first.clone());
        let takeovers = vec![Takeover { gateway, by, digest, holders }];
        let presence = Presence { workers: vec![first], takeovers, ..Presence::default() };
        running.subscriber.send_list(Vec::new(), Some(presence)).await;
        let mut all = vec![soon(closed.recv()).await];
        if known.len() == 1 {
            all.extend([soon(closed.recv()).await, soon(closed.recv()).await]);
        }
        all.sort_unstable();
        let expected = [Some((1, true)), Some((2, true)), Some((4, false))];
        assert_eq!(all, if known.len() == 1 { &expected[..] } else { &expected[2..] });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(closed.try_recv().is_err(), "no further close");
    }
}

/// Reports each closed client, and whether the close was redelivered.
struct Ids(mpsc::Sender<(u32, bool)>);

impl Worker for Ids {
    async fn on_message(&self, _client: &Client, _message: Message) -> anyhow::Result<()> {
        Ok(())
    }

    async fn on_close(&self, client: &Client, _reason: CloseReason) -> anyhow::Result<()> {
        Ok(self.0.send((client.id().connection.0, client.redelivered())).await?)
    }
}

/// Reports whether each close was redelivered.
struct Redelivered(mpsc::Sender<bool>);

impl Worker for Redelivered {
    async fn on_message(&self, _client: &Client, _message: Message) -> anyhow::Result<()> {
        Ok(())
    }

    async fn on_close(&self, client: &Client, _reason: CloseReason) -> anyhow::Result<()> {
        Ok(self.0.send(client.redelivered()).await?)
    }
}

#[tokio::test]
async fn client_reassigned_as_redelivered_is_closed_as_redelivered_when_its_gateway_dies() {
    for redelivered in [true, false] {
        let (flags, mut closed) = mpsc::channel(8);
        let gateway = FakeGateway::start().await;
        let short_grace = |config: &mut Config| config.gateway_grace = Duration::from_millis(100);
        let mut running = start_as(Redelivered(flags), &[&gateway], short_grace).await;
        let mut link = gateway.link().await;
        link.deliver(1, Event::Reassigned, Some(Box::new(context())), redelivered).await;
        link.done(1).await;
        drop(link);
        running.subscriber.send_list(Vec::new(), None).await;
        assert_eq!(soon(closed.recv()).await, Some(redelivered));
    }
}
