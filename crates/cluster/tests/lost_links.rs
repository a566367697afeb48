//! Commands for a gateway whose link is lost: delivered once, in order, or dropped.

use std::time::Duration;

use prometheus_client::{encoding::text::encode, registry::Registry};
use protocol::{InstanceId, Message, discovery::Gateway, link::ToPeer};
use push_suite_cluster::{Cluster, ClusterGuard, Config, Error, internal::OUTGOING_LIMIT};
use test_support::fakes::{FakeGateway, FakeLink, FakeRegister, SECRET, Subscriber, sent_to, soon};
use tokio::task::yield_now;

/// A cluster with one linked gateway.
struct Scene {
    cluster: ClusterGuard,
    metrics: Registry,
    _register: FakeRegister,
    subscriber: Subscriber,
    gateway: FakeGateway,
}

impl Scene {
    async fn start(gateway_grace: Duration) -> (Self, FakeLink) {
        let (register, gateway) = (FakeRegister::start().await, FakeGateway::start().await);
        let config = Config::new([register.address()], SECRET);
        let cluster = Cluster::start(config.gateway_grace(gateway_grace));
        let subscriber = register.serve(&[&gateway]).await;
        let link = gateway.link().await;
        soon(cluster.ready()).await;
        let mut metrics = Registry::default();
        cluster.register_metrics(&mut metrics);
        (Self { cluster, metrics, _register: register, subscriber, gateway }, link)
    }

    async fn send(&self, text: &str) {
        let sent = self.cluster.send_to_client(self.gateway.client(1), text).await;
        sent.expect("the gateway is known");
    }

    /// Drops the link, and waits until the cluster has noticed.
    async fn lose(&self, link: FakeLink) {
        drop(link);
        self.until_linked(0).await;
    }

    async fn until_linked(&self, count: usize) {
        until(|| self.cluster.status().linked == count).await;
    }

    fn metric(&self, name: &str) -> i64 {
        let mut page = String::new();
        encode(&mut page, &self.metrics).expect("writing to a string succeeds");
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {page}"))
    }
}

async fn until(holds: impl Fn() -> bool) {
    soon(async {
        while !holds() {
            yield_now().await;
        }
    })
    .await;
}

const LONG: Duration = Duration::from_secs(60);

/// For what must not happen: a slow machine can only hide a failure.
const A_WHILE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn unacknowledged_and_queued_commands_precede_newer_ones_in_order() {
    let (scene, mut link) = Scene::start(LONG).await;
    for text in ["1", "2", "3"] {
        scene.send(text).await;
    }
    assert_eq!(link.numbered_command().await, (1, sent_to(1, "1")));
    link.send(ToPeer::CommandAck { through: 1 }).await;
    // Read, and lost with the gateway's end of the link.
    assert_eq!(link.numbered_command().await, (2, sent_to(1, "2")));
    scene.lose(link).await;
    scene.send("4").await;
    scene.cluster.send_to_uid("alice", "all").await.unwrap();
    assert!(scene.metric("parked_bytes") > 0);
    let mut link = scene.gateway.link().await;
    scene.until_linked(1).await;
    assert_eq!(scene.metric("parked_bytes"), 0);
    scene.send("6").await;
    // The first was acknowledged, although the gateway reports now that it has received nothing.
    for number in 2..=4 {
        assert_eq!(link.numbered_command().await, (number, sent_to(1, &number.to_string())));
    }
    assert_eq!(link.numbered_command().await.0, 5, "to the uid");
    assert_eq!(link.numbered_command().await, (6, sent_to(1, "6")));
    assert_eq!(scene.metric("commands_given_up_total"), 0);
}

#[tokio::test]
async fn commands_received_but_not_acknowledged_are_not_sent_again() {
    let (mut scene, mut link) = Scene::start(LONG).await;
    for text in ["1", "2", "3"] {
        scene.send(text).await;
        link.command().await;
    }
    scene.gateway.taken = 2;
    scene.lose(link).await;
    let mut link = scene.gateway.link().await;
    assert_eq!(link.numbered_command().await, (3, sent_to(1, "3")));
    // Once more, with a link on which nothing was acknowledged.
    scene.lose(link).await;
    let mut link = scene.gateway.link().await;
    assert_eq!(link.numbered_command().await, (3, sent_to(1, "3")));
    link.send(ToPeer::CommandAck { through: 3 }).await;
    scene.send("4").await;
    assert_eq!(link.numbered_command().await, (4, sent_to(1, "4")));
}

#[tokio::test]
async fn new_instance_of_a_gateway_receives_no_earlier_commands() {
    let (mut scene, link) = Scene::start(LONG).await;
    scene.send("1").await;
    scene.lose(link).await;
    scene.send("2").await;
    scene.gateway.instance = InstanceId::new("another").unwrap();
    let mut link = scene.gateway.link().await;
    scene.until_linked(1).await;
    scene.send("new").await;
    assert_eq!(link.numbered_command().await, (1, sent_to(1, "new")), "numbering restarts");
    assert_eq!(scene.metric("commands_given_up_total"), 2);
}

#[tokio::test]
async fn unlisted_gateway_is_awaited_for_the_grace_period() {
    let (mut scene, link) = Scene::start(LONG).await;
    scene.lose(link).await;
    scene.subscriber.list(&[]).await;
    scene.send("kept").await;
    let mut link = scene.gateway.link().await;
    assert_eq!(link.command().await, sent_to(1, "kept"));

    let (mut scene, link) = Scene::start(Duration::ZERO).await;
    scene.lose(link).await;
    scene.send("in vain").await;
    scene.subscriber.list(&[]).await;
    until(|| scene.metric("commands_given_up_total") == 1).await;
    let sent = scene.cluster.send_to_client(scene.gateway.client(1), "x").await;
    assert!(matches!(sent, Err(Error::Unreachable { .. })), "{sent:?}");
    let sent = scene.cluster.send_to_uid("alice", "x").await;
    assert!(matches!(sent, Err(Error::NoGateway)), "{sent:?}");
}

#[tokio::test]
async fn never_linked_gateway_receives_earlier_commands_if_its_instance_is_known() {
    let (register, gateway) = (FakeRegister::start().await, FakeGateway::start().await);
    let cluster = Cluster::start(Config::new([register.address()], SECRET));
    let (mut subscriber, _) = register.subscriber().await;
    let alive = |instance: &InstanceId| Gateway {
        native: true,
        instance: Some(instance.clone()),
        ..Gateway::plain(gateway.address())
    };
    subscriber.send_gateways(vec![alive(&gateway.instance)]).await;
    // The first connection is lost before the handshake.
    drop(soon(gateway.listener.accept()).await.unwrap());
    soon(cluster.ready()).await;
    cluster.send_to_client(gateway.client(1), "1").await.unwrap();
    cluster.send_to_client(gateway.client(1), "2").await.unwrap();
    let mut link = gateway.link().await;
    assert_eq!(link.numbered_command().await, (1, sent_to(1, "1")));
    assert_eq!(link.numbered_command().await, (2, sent_to(1, "2")));
}

#[tokio::test]
async fn next_instance_receives_commands_sent_since_it_was_listed() {
    let (mut scene, link) = Scene::start(LONG).await;
    scene.lose(link).await;
    scene.send("for the previous instance").await;
    scene.gateway.instance = InstanceId::new("another").unwrap();
    let alive = Gateway {
        native: true,
        instance: Some(scene.gateway.instance.clone()),
        ..Gateway::plain(scene.gateway.address())
    };
    // No new link is established yet.
    scene.subscriber.send_gateways(vec![alive]).await;
    until(|| scene.metric("commands_given_up_total") == 1).await;
    scene.send("for this one").await;
    let mut link = scene.gateway.link().await;
    assert_eq!(link.command().await, sent_to(1, "for this one"));
}

#[tokio::test]
async fn unreachable_gateway_is_not_awaited_beyond_the_grace_period() {
    let (register, gateway) = (FakeRegister::start().await, FakeGateway::start().await);
    let config = Config::new([register.address()], SECRET);
    let cluster = Cluster::start(config.gateway_grace(Duration::ZERO));
    let (mut subscriber, _) = register.subscriber().await;
    let alive = Gateway {
        native: true,
        instance: Some(gateway.instance.clone()),
        ..Gateway::plain(gateway.address())
    };
    let to = gateway.client(1);
    drop(gateway);
    for _ in 0..2 {
        subscriber.send_gateways(vec![alive.clone()]).await;
        until(|| cluster.status().settled && cluster.status().missing.len() == 1).await;
        soon(async {
            while cluster.send_to_client(to, "x").await.is_ok() {
                yield_now().await;
            }
        })
        .await;
    }
    let sent = cluster.send_to_uid("alice", "x").await;
    assert!(matches!(sent, Err(Error::NoGateway)), "{sent:?}");
}

#[tokio::test]
async fn unlisted_gateway_that_refuses_connections_is_given_up_at_once() {
    let (mut scene, link) = Scene::start(LONG).await;
    scene.send("in vain").await;
    let elsewhere = FakeGateway::start().await;
    let gateway = std::mem::replace(&mut scene.gateway, elsewhere);
    drop((link, gateway));
    scene.until_linked(0).await;
    assert_eq!(scene.metric("commands_given_up_total"), 0, "a register lists it");
    scene.subscriber.list(&[]).await;
    until(|| scene.metric("commands_given_up_total") == 1).await;
}

#[tokio::test]
async fn sender_beyond_the_limit_waits_until_the_gateway_is_back() {
    let (scene, link) = Scene::start(LONG).await;
    scene.lose(link).await;
    let piece = Message::binary(vec![0; 1024 * 1024]);
    let pieces = 3 * OUTGOING_LIMIT / piece.body.len();
    let (sending, to) = (scene.cluster.clone(), scene.gateway.client(1));
    let sender = tokio::spawn(async move {
        for _ in 0..pieces {
            sending.send_to_client(to, piece.clone()).await.unwrap();
        }
    });
    until(|| OUTGOING_LIMIT as i64 <= scene.metric("parked_bytes")).await;
    tokio::time::sleep(A_WHILE).await;
    assert!(!sender.is_finished());
    let parked = scene.metric("parked_bytes") as usize;
    assert!(parked < OUTGOING_LIMIT + 2 * 1024 * 1024, "{parked}");
    let mut link = scene.gateway.link().await;
    link.acks_commands = true;
    for number in 1..=pieces as u64 {
        assert_eq!(link.numbered_command().await.0, number);
    }
    soon(sender).await.unwrap();
}

#[tokio::test]
async fn blocked_sender_fails_when_the_gateway_is_given_up() {
    let (mut scene, link) = Scene::start(Duration::ZERO).await;
    scene.lose(link).await;
    let (sending, to) = (scene.cluster.clone(), scene.gateway.client(1));
    let sender = tokio::spawn(async move {
        let piece = Message::binary(vec![0; 1024 * 1024]);
        loop {
            if let Err(error) = sending.send_to_client(to, piece.clone()).await {
                return error;
            }
        }
    });
    until(|| OUTGOING_LIMIT as i64 <= scene.metric("parked_bytes")).await;
    scene.subscriber.list(&[]).await;
    assert!(matches!(soon(sender).await.unwrap(), Error::Unreachable { .. }));
    assert_eq!(scene.metric("parked_bytes"), 0);
}

#[tokio::test]
async fn blocked_sender_fails_when_the_cluster_is_closed() {
    let (scene, link) = Scene::start(LONG).await;
    scene.lose(link).await;
    let (sending, to) = (scene.cluster.cluster().clone(), scene.gateway.client(1));
    let sender = tokio::spawn(async move {
        let piece = Message::binary(vec![0; 1024 * 1024]);
        loop {
            if let Err(error) = sending.send_to_client(to, piece.clone()).await {
                return error;
            }
        }
    });
    until(|| OUTGOING_LIMIT as i64 <= scene.metric("parked_bytes")).await;
    drop(scene.cluster);
    assert!(matches!(soon(sender).await.unwrap(), Error::Closed));
}

#[tokio::test]
async fn unreachable_gateway_fails_queries() {
    let (scene, link) = Scene::start(LONG).await;
    scene.lose(link).await;
    let one = scene.cluster.is_online(scene.gateway.client(1)).await;
    assert!(matches!(one, Err(Error::Unreachable { .. })), "{one:?}");
    let all = scene.cluster.count().await;
    assert!(matches!(all, Err(Error::Unreachable { .. })), "{all:?}");
    assert_eq!(scene.cluster.status().missing, [scene.gateway.address()]);
}

#[tokio::test]
async fn flush_with_unreachable_gateway_waits_for_pending_commands() {
    let (scene, link) = Scene::start(LONG).await;
    scene.lose(link).await;
    scene.cluster.flush().await.expect("nothing is pending");
    scene.send("x").await;
    let flushing = scene.cluster.clone();
    let flush = tokio::spawn(async move { flushing.flush().await });
    let mut link = scene.gateway.link().await;
    let (through, _) = link.numbered_command().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!flush.is_finished());
    link.send(ToPeer::CommandAck { through }).await;
    soon(flush).await.unwrap().unwrap();
}
