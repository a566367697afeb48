//! An event is done with when the gateways have taken what it pushed, whatever becomes of their links.

#[path = "../../client/tests/fake/mod.rs"]
mod fake;
mod running;

use std::sync::{Arc, OnceLock};

use business_worker::{Client, Cluster, Message, Recipients, Worker};
use fake::{FakeGateway, FakeLink};
use protocol::{
    Command, Event, Instance,
    link::{ToGateway, ToPeer},
};
use running::{Running, start};
use tokio::sync::Semaphore;

/// Sends to everyone what a client says, wherever they are.
struct Crier;

impl Worker for Crier {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        Ok(client.cluster().send_to_all(Recipients::All, message).await?)
    }
}

/// The same, through a cluster that it has kept from the start.
#[derive(Default)]
struct Keeper(OnceLock<Cluster>);

impl Worker for Keeper {
    async fn on_worker_start(&self, cluster: &Cluster) -> anyhow::Result<()> {
        self.0.set(cluster.clone()).map_err(|_| anyhow::anyhow!("started twice"))
    }

    async fn on_message(&self, _client: &Client, message: Message) -> anyhow::Result<()> {
        let cluster = self.0.get().expect("it was started");
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
async fn an_event_is_done_when_other_gateways_have_taken_what_it_pushed() {
    let (_running, _gateways, mut home, mut other) = two_gateways(Crier).await;
    home.message(1, "x").await;
    assert!(matches!(home.command().await, Command::SendToAll { .. }));
    let (number, _) = other.numbered_command().await;
    assert!(home.is_quiet().await, "not before the other gateway has it");
    other.send(ToPeer::Taken { through: number }).await;
    home.done(1).await;
}

#[tokio::test]
async fn so_it_is_with_what_it_pushed_through_a_cluster_that_was_kept() {
    let (_running, _gateways, mut home, mut other) = two_gateways(Keeper::default()).await;
    for round in 1..=2 {
        home.message(1, "x").await;
        assert!(matches!(home.command().await, Command::SendToAll { .. }));
        let (number, _) = other.numbered_command().await;
        assert!(home.is_quiet().await, "not before the other gateway has it");
        other.send(ToPeer::Taken { through: number }).await;
        home.done(round).await;
    }
}

/// What was sent to everyone.
async fn cried(link: &mut FakeLink) -> (u64, String) {
    match link.numbered_command().await {
        (number, Command::SendToAll { message, .. }) => {
            (number, message.as_text().unwrap_or_default().to_owned())
        }
        other => panic!("{other:?}"),
    }
}

fn said(number: u64, text: &str) -> (u64, String) {
    (number, text.to_owned())
}

/// Answers until everything that the gateway has to say of its clients is known.
async fn relinked(gateway: &FakeGateway) -> FakeLink {
    let mut link = gateway.link().await;
    match link.next().await {
        ToGateway::Ping { token } => link.send(ToPeer::Pong { token }).await,
        // It may come first.
        other => panic!("a ping was expected, not {other:?}"),
    }
    link
}

#[tokio::test]
async fn an_event_waits_for_a_gateway_that_is_lost_until_that_has_taken_what_was_pushed() {
    let (_running, gateways, mut home, mut other) = two_gateways(Crier).await;
    home.message(1, "x").await;
    cried(&mut home).await;
    assert_eq!(cried(&mut other).await, said(1, "x"));
    drop(other);
    assert!(home.is_quiet().await, "not for losing a link");
    home.message(1, "y").await;
    cried(&mut home).await;
    let mut other = gateways[1].link().await;
    assert_eq!(cried(&mut other).await, said(1, "x"), "it had not taken it");
    assert_eq!(cried(&mut other).await, said(2, "y"));
    assert!(home.is_quiet().await);
    other.send(ToPeer::Taken { through: 1 }).await;
    home.done(1).await;
    assert!(home.is_quiet().await);
    other.send(ToPeer::Taken { through: 2 }).await;
    home.done(2).await;
}

#[tokio::test]
async fn an_event_is_done_when_the_gateway_says_at_its_return_that_it_had_taken_what_was_pushed() {
    let (_running, mut gateways, mut home, mut other) = two_gateways(Crier).await;
    home.message(1, "x").await;
    cried(&mut home).await;
    cried(&mut other).await;
    gateways[1].taken = 1;
    drop(other);
    let mut other = gateways[1].link().await;
    home.done(1).await;
    home.message(1, "y").await;
    assert_eq!(cried(&mut other).await, said(2, "y"), "and the first not again");
}

#[tokio::test]
async fn a_gateway_that_is_gone_holds_no_event_back() {
    let (mut running, [home_gateway, gone], mut home, mut other) = two_gateways(Crier).await;
    home.message(1, "x").await;
    cried(&mut other).await;
    cried(&mut home).await;
    drop((other, gone));
    assert!(home.is_quiet().await, "a register names it still");
    running.follower.list(&[&home_gateway]).await;
    home.done(1).await;
}

#[tokio::test]
async fn a_gateway_that_is_back_as_another_holds_no_event_back_and_gets_nothing_old() {
    let (_running, mut gateways, mut home, other) = two_gateways(Crier).await;
    home.message(1, "x").await;
    cried(&mut home).await;
    drop(other);
    gateways[1].instance = Instance::new("another").unwrap();
    let mut other = gateways[1].link().await;
    home.done(1).await;
    home.message(1, "y").await;
    assert_eq!(cried(&mut other).await, said(1, "y"));
}

#[tokio::test]
async fn what_an_event_pushed_to_its_own_gateway_is_left_to_the_event_that_comes_again() {
    let (_running, gateways, mut home, mut other) = two_gateways(Crier).await;
    other.takes = true;
    home.message(1, "x").await;
    cried(&mut home).await;
    assert_eq!(cried(&mut other).await, said(1, "x"));
    // An event of another gateway's client: it does not come again, so this must.
    other.message(2, "z").await;
    assert_eq!(cried(&mut home).await, said(2, "z"));
    assert_eq!(cried(&mut other).await, said(2, "z"));
    drop(home);
    let mut home = gateways[0].link().await;
    assert_eq!(cried(&mut home).await, said(2, "z"), "and not the first");
    let context = Some(Box::new(fake::context()));
    home.deliver(1, Event::Message("x".into()), context, true).await;
    assert_eq!(cried(&mut home).await, said(3, "x"));
    assert_eq!(cried(&mut other).await, said(3, "x"));
    home.send(ToPeer::Taken { through: 3 }).await;
    home.done(1).await;
    other.done(1).await;
}

/// Cries when it is let.
struct Patient(Arc<Semaphore>);

impl Worker for Patient {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        self.0.acquire().await?.forget();
        Ok(client.cluster().send_to_all(Recipients::All, message).await?)
    }
}

#[tokio::test]
async fn a_late_handler_of_a_gateway_that_is_lost_leaves_nothing_there() {
    let permits = Arc::new(Semaphore::new(0));
    let (_running, gateways, mut home, mut other) =
        two_gateways(Patient(Arc::clone(&permits))).await;
    home.message(1, "late").await;
    home.send(ToPeer::Ping { token: 7 }).await;
    assert_eq!(home.next().await, ToGateway::Pong { token: 7 }, "it has the message");
    drop(home);
    // Nothing else tells that the loss is noticed than the next call.
    let (stream, _) = fake::soon(gateways[0].listener.accept()).await.unwrap();
    permits.add_permits(1);
    assert_eq!(cried(&mut other).await, said(1, "late"));
    drop(stream);
    let mut home = relinked(&gateways[0]).await;
    permits.add_permits(1);
    other.message(2, "new").await;
    assert_eq!(cried(&mut home).await, said(1, "new"));
}

#[tokio::test]
async fn a_worker_that_ends_leaves_what_waits_for_a_lost_gateway_to_others() {
    let (running, _gateways, mut home, mut other) = two_gateways(Crier).await;
    home.message(1, "x").await;
    cried(&mut home).await;
    assert_eq!(cried(&mut other).await, said(1, "x"));
    other.send(ToPeer::Taken { through: 1 }).await;
    home.done(1).await;
    home.message(1, "y").await;
    cried(&mut home).await;
    drop(other);
    assert!(home.is_quiet().await);
    running.stop.cancel();
    let rest = home.until_closed().await;
    assert!(rest.is_empty(), "{rest:?}");
    running.ended().await.unwrap();
    assert_eq!(home.events_done(), 1, "the second is for another worker to do");
}
