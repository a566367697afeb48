//! An event is acknowledged once the gateways have acknowledged its commands, also after lost
//! links.

mod running;

use std::sync::{Arc, OnceLock};

use protocol::{
    Command, Event, InstanceId,
    link::{ToGateway, ToPeer},
};
use push_suite_worker::{Client, Cluster, Message, Process, Recipients, Worker};
use running::{Running, start};
use test_support::fakes::{self, FakeGateway, FakeLink};
use tokio::sync::Semaphore;

/// Broadcasts every message to all clients.
struct Broadcaster;

impl Worker for Broadcaster {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        Ok(client.cluster().send_to_all(Recipients::All, message).await?)
    }
}

/// The same, through a cluster stored at startup.
#[derive(Default)]
struct StoredCluster(OnceLock<Cluster>);

impl Worker for StoredCluster {
    async fn on_worker_start(&self, process: &Process) -> anyhow::Result<()> {
        self.0.set(process.cluster().clone()).map_err(|_| anyhow::anyhow!("started twice"))
    }

    async fn on_message(&self, _client: &Client, message: Message) -> anyhow::Result<()> {
        let cluster = self.0.get().expect("set in on_worker_start");
        Ok(cluster.send_to_all(Recipients::All, message).await?)
    }
}

async fn two_gateways(worker: impl Worker) -> (Running, [FakeGateway; 2], FakeLink, FakeLink) {
    let gateways = [FakeGateway::start().await, FakeGateway::start().await];
    let running = start(worker, &[&gateways[0], &gateways[1]]).await;
    let (home, other) = (gateways[0].link().await, gateways[1].link().await);
    (running, gateways, home, other)
}

#[tokio::test]
async fn event_is_acknowledged_once_other_gateways_have_acknowledged_its_commands() {
    let (_running, _gateways, mut home, mut other) = two_gateways(Broadcaster).await;
    home.message(1, "x").await;
    assert!(matches!(home.command().await, Command::SendToAll { .. }));
    let (number, _) = other.numbered_command().await;
    assert!(home.is_quiet().await, "not acknowledged before the other gateway has received it");
    other.send(ToPeer::CommandAck { through: number }).await;
    home.done(1).await;
}

#[tokio::test]
async fn event_is_acknowledged_after_commands_through_a_stored_cluster() {
    let (_running, _gateways, mut home, mut other) = two_gateways(StoredCluster::default()).await;
    for round in 1..=2 {
        home.message(1, "x").await;
        assert!(matches!(home.command().await, Command::SendToAll { .. }));
        let (number, _) = other.numbered_command().await;
        assert!(home.is_quiet().await, "not acknowledged before the other gateway has received it");
        other.send(ToPeer::CommandAck { through: number }).await;
        home.done(round).await;
    }
}

/// Receives a broadcast, with its command number.
async fn broadcast(link: &mut FakeLink) -> (u64, String) {
    match link.numbered_command().await {
        (number, Command::SendToAll { message, .. }) => {
            (number, message.as_text().unwrap_or_default().to_owned())
        }
        other => panic!("{other:?}"),
    }
}

fn numbered(number: u64, text: &str) -> (u64, String) {
    (number, text.to_owned())
}

/// Relinks, and completes the worker's synchronization with the gateway.
async fn relinked(gateway: &FakeGateway) -> FakeLink {
    let mut link = gateway.link().await;
    match link.next().await {
        ToGateway::Ping { token } => link.send(ToPeer::Pong { token }).await,
        other => panic!("a ping was expected, not {other:?}"),
    }
    link
}

#[tokio::test]
async fn event_waits_for_lost_gateway_to_acknowledge_its_commands() {
    let (_running, gateways, mut home, mut other) = two_gateways(Broadcaster).await;
    home.message(1, "x").await;
    broadcast(&mut home).await;
    assert_eq!(broadcast(&mut other).await, numbered(1, "x"));
    drop(other);
    assert!(home.is_quiet().await, "a lost link acknowledges nothing");
    home.message(1, "y").await;
    broadcast(&mut home).await;
    let mut other = gateways[1].link().await;
    assert_eq!(broadcast(&mut other).await, numbered(1, "x"), "it was not acknowledged before");
    assert_eq!(broadcast(&mut other).await, numbered(2, "y"));
    assert!(home.is_quiet().await);
    other.send(ToPeer::CommandAck { through: 1 }).await;
    home.done(1).await;
    assert!(home.is_quiet().await);
    other.send(ToPeer::CommandAck { through: 2 }).await;
    home.done(2).await;
}

#[tokio::test]
async fn event_is_acknowledged_once_relinked_gateway_reports_its_commands() {
    let (_running, mut gateways, mut home, mut other) = two_gateways(Broadcaster).await;
    home.message(1, "x").await;
    broadcast(&mut home).await;
    broadcast(&mut other).await;
    gateways[1].taken = 1;
    drop(other);
    let mut other = gateways[1].link().await;
    home.done(1).await;
    home.message(1, "y").await;
    assert_eq!(broadcast(&mut other).await, numbered(2, "y"), "the first is not sent again");
}

#[tokio::test]
async fn dead_gateway_delays_no_event() {
    let (mut running, [home_gateway, dead], mut home, mut other) = two_gateways(Broadcaster).await;
    home.message(1, "x").await;
    broadcast(&mut other).await;
    broadcast(&mut home).await;
    drop((other, dead));
    assert!(home.is_quiet().await, "a register still lists it");
    running.subscriber.list(&[&home_gateway]).await;
    home.done(1).await;
}

#[tokio::test]
async fn restarted_gateway_delays_no_event_and_gets_no_old_command() {
    let (_running, mut gateways, mut home, other) = two_gateways(Broadcaster).await;
    home.message(1, "x").await;
    broadcast(&mut home).await;
    drop(other);
    gateways[1].instance = InstanceId::new("another").unwrap();
    let mut other = gateways[1].link().await;
    home.done(1).await;
    home.message(1, "y").await;
    assert_eq!(broadcast(&mut other).await, numbered(1, "y"));
}

#[tokio::test]
async fn commands_to_own_gateway_are_resent_by_the_redelivered_event() {
    let (_running, gateways, mut home, mut other) = two_gateways(Broadcaster).await;
    other.acks_commands = true;
    home.message(1, "x").await;
    broadcast(&mut home).await;
    assert_eq!(broadcast(&mut other).await, numbered(1, "x"));
    // An event of the other gateway's client: it is not redelivered, so its command is resent.
    other.message(2, "z").await;
    assert_eq!(broadcast(&mut home).await, numbered(2, "z"));
    assert_eq!(broadcast(&mut other).await, numbered(2, "z"));
    drop(home);
    let mut home = gateways[0].link().await;
    assert_eq!(broadcast(&mut home).await, numbered(2, "z"), "the first is not resent");
    let context = Some(Box::new(fakes::context()));
    home.deliver(1, Event::Message("x".into()), context, true).await;
    assert_eq!(broadcast(&mut home).await, numbered(3, "x"));
    assert_eq!(broadcast(&mut other).await, numbered(3, "x"));
    home.send(ToPeer::CommandAck { through: 3 }).await;
    home.done(1).await;
    other.done(1).await;
}

/// Broadcasts once permitted.
struct DelayedBroadcaster(Arc<Semaphore>);

impl Worker for DelayedBroadcaster {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        self.0.acquire().await?.forget();
        Ok(client.cluster().send_to_all(Recipients::All, message).await?)
    }
}

#[tokio::test]
async fn late_handler_of_lost_link_sends_nothing_to_its_gateway() {
    let permits = Arc::new(Semaphore::new(0));
    let (_running, gateways, mut home, mut other) =
        two_gateways(DelayedBroadcaster(Arc::clone(&permits))).await;
    home.message(1, "late").await;
    home.send(ToPeer::Ping { token: 7 }).await;
    assert_eq!(
        home.next().await,
        ToGateway::Pong { token: 7 },
        "the worker has received the message"
    );
    drop(home);
    // The next connection is the only sign that the loss was detected.
    let (stream, _) = fakes::soon(gateways[0].listener.accept()).await.unwrap();
    permits.add_permits(1);
    assert_eq!(broadcast(&mut other).await, numbered(1, "late"));
    drop(stream);
    let mut home = relinked(&gateways[0]).await;
    permits.add_permits(1);
    other.message(2, "new").await;
    assert_eq!(broadcast(&mut home).await, numbered(1, "new"));
}

#[tokio::test]
async fn stopping_worker_leaves_events_waiting_for_a_lost_gateway_to_others() {
    let (running, _gateways, mut home, mut other) = two_gateways(Broadcaster).await;
    home.message(1, "x").await;
    broadcast(&mut home).await;
    assert_eq!(broadcast(&mut other).await, numbered(1, "x"));
    other.send(ToPeer::CommandAck { through: 1 }).await;
    home.done(1).await;
    home.message(1, "y").await;
    broadcast(&mut home).await;
    drop(other);
    assert!(home.is_quiet().await);
    running.stop.cancel();
    let rest = home.until_closed().await;
    assert!(rest.is_empty(), "{rest:?}");
    running.ended().await.unwrap();
    assert_eq!(home.events_done(), 1, "the second event is left to another worker");
}
