//! What is sent to a gateway whose link is lost: it gets it once, in order, or is gone.

mod fake;

use std::time::Duration;

use client::{Cluster, Config, Error, link::OUTGOING_LIMIT};
use fake::{FakeGateway, FakeLink, FakeRegister, Follower, SECRET, sent_to, soon};
use prometheus_client::{encoding::text::encode, registry::Registry};
use protocol::{Instance, Message, discovery::Gateway, link::ToPeer};
use tokio::task::yield_now;

/// A cluster of one gateway, linked.
struct Scene {
    cluster: Cluster,
    metrics: Registry,
    _register: FakeRegister,
    follower: Follower,
    gateway: FakeGateway,
}

impl Scene {
    async fn start(gateway_grace: Duration) -> (Self, FakeLink) {
        let (register, gateway) = (FakeRegister::start().await, FakeGateway::start().await);
        let config = Config::new([register.address()], SECRET);
        let cluster = Cluster::start(Config { gateway_grace, ..config });
        let follower = register.tell(&[&gateway]).await;
        let link = gateway.link().await;
        soon(cluster.ready()).await;
        let mut metrics = Registry::default();
        cluster.register_metrics(&mut metrics);
        (Self { cluster, metrics, _register: register, follower, gateway }, link)
    }

    async fn send(&self, text: &str) {
        let sent = self.cluster.send_to_client(self.gateway.client(1), text).await;
        sent.expect("it is known");
    }

    /// Drops the link, and waits until that is known.
    async fn lose(&self, link: FakeLink) {
        drop(link);
        self.until_linked(0).await;
    }

    async fn until_linked(&self, count: usize) {
        until(|| self.cluster.status().linked == count).await;
    }

    fn metric(&self, name: &str) -> i64 {
        let mut page = String::new();
        encode(&mut page, &self.metrics).expect("a string takes it");
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

/// For what must not happen; a slow machine can only make it blind.
const A_WHILE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn what_was_not_taken_and_what_came_meanwhile_arrives_in_order_before_what_is_newer() {
    let (scene, mut link) = Scene::start(LONG).await;
    for text in ["1", "2", "3"] {
        scene.send(text).await;
    }
    assert_eq!(link.numbered_command().await, (1, sent_to(1, "1")));
    link.send(ToPeer::Taken { through: 1 }).await;
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
    for number in 1..=4 {
        if number == 1 {
            // It says that it has taken nothing, and knows best.
            continue;
        }
        assert_eq!(link.numbered_command().await, (number, sent_to(1, &number.to_string())));
    }
    assert_eq!(link.numbered_command().await.0, 5, "to the uid");
    assert_eq!(link.numbered_command().await, (6, sent_to(1, "6")));
    assert_eq!(scene.metric("commands_given_up_total"), 0);
}

#[tokio::test]
async fn what_the_gateway_has_taken_without_saying_so_is_not_sent_again() {
    let (mut scene, mut link) = Scene::start(LONG).await;
    for text in ["1", "2", "3"] {
        scene.send(text).await;
        link.command().await;
    }
    scene.gateway.taken = 2;
    scene.lose(link).await;
    let mut link = scene.gateway.link().await;
    assert_eq!(link.numbered_command().await, (3, sent_to(1, "3")));
    // And once more, by a link that brought nothing new.
    scene.lose(link).await;
    let mut link = scene.gateway.link().await;
    assert_eq!(link.numbered_command().await, (3, sent_to(1, "3")));
    link.send(ToPeer::Taken { through: 3 }).await;
    scene.send("4").await;
    assert_eq!(link.numbered_command().await, (4, sent_to(1, "4")));
}

#[tokio::test]
async fn another_life_of_the_gateway_gets_nothing_of_it() {
    let (mut scene, link) = Scene::start(LONG).await;
    scene.send("1").await;
    scene.lose(link).await;
    scene.send("2").await;
    scene.gateway.instance = Instance::new("another").unwrap();
    let mut link = scene.gateway.link().await;
    scene.until_linked(1).await;
    scene.send("new").await;
    assert_eq!(link.numbered_command().await, (1, sent_to(1, "new")), "counted anew");
    assert_eq!(scene.metric("commands_given_up_total"), 2);
}

#[tokio::test]
async fn a_gateway_that_nobody_names_is_waited_for_as_long_as_the_grace_lasts() {
    let (mut scene, link) = Scene::start(LONG).await;
    scene.lose(link).await;
    scene.follower.list(&[]).await;
    scene.send("kept").await;
    let mut link = scene.gateway.link().await;
    assert_eq!(link.command().await, sent_to(1, "kept"));

    let (mut scene, link) = Scene::start(Duration::ZERO).await;
    scene.lose(link).await;
    scene.send("in vain").await;
    scene.follower.list(&[]).await;
    until(|| scene.metric("commands_given_up_total") == 1).await;
    let sent = scene.cluster.send_to_client(scene.gateway.client(1), "x").await;
    assert!(matches!(sent, Err(Error::Unreachable { .. })), "{sent:?}");
    let sent = scene.cluster.send_to_uid("alice", "x").await;
    assert!(matches!(sent, Err(Error::NoGateway)), "{sent:?}");
}

#[tokio::test]
async fn a_gateway_that_was_never_linked_gets_what_was_sent_if_its_life_is_known() {
    let (register, gateway) = (FakeRegister::start().await, FakeGateway::start().await);
    let cluster = Cluster::start(Config::new([register.address()], SECRET));
    let (mut follower, _) = register.follower().await;
    let alive = |instance: &Instance| Gateway {
        native: true,
        instance: Some(instance.clone()),
        ..Gateway::plain(gateway.address())
    };
    follower.say(vec![alive(&gateway.instance)]).await;
    // Its first connection is lost before it is a link.
    drop(soon(gateway.listener.accept()).await.unwrap());
    soon(cluster.ready()).await;
    cluster.send_to_client(gateway.client(1), "1").await.unwrap();
    cluster.send_to_client(gateway.client(1), "2").await.unwrap();
    let mut link = gateway.link().await;
    assert_eq!(link.numbered_command().await, (1, sent_to(1, "1")));
    assert_eq!(link.numbered_command().await, (2, sent_to(1, "2")));
}

#[tokio::test]
async fn the_next_life_of_a_lost_gateway_gets_what_was_sent_since_registers_name_it() {
    let (mut scene, link) = Scene::start(LONG).await;
    scene.lose(link).await;
    scene.send("for the life before").await;
    scene.gateway.instance = Instance::new("another").unwrap();
    let alive = Gateway {
        native: true,
        instance: Some(scene.gateway.instance.clone()),
        ..Gateway::plain(scene.gateway.address())
    };
    // Its link is not made yet: nobody has answered.
    scene.follower.say(vec![alive]).await;
    until(|| scene.metric("commands_given_up_total") == 1).await;
    scene.send("for this one").await;
    let mut link = scene.gateway.link().await;
    assert_eq!(link.command().await, sent_to(1, "for this one"));
}

#[tokio::test]
async fn one_that_is_never_reached_is_not_waited_for_beyond_the_grace() {
    let (register, gateway) = (FakeRegister::start().await, FakeGateway::start().await);
    let config = Config::new([register.address()], SECRET);
    let cluster = Cluster::start(Config { gateway_grace: Duration::ZERO, ..config });
    let (mut follower, _) = register.follower().await;
    let alive = Gateway {
        native: true,
        instance: Some(gateway.instance.clone()),
        ..Gateway::plain(gateway.address())
    };
    let to = gateway.client(1);
    drop(gateway);
    for _ in 0..2 {
        follower.say(vec![alive.clone()]).await;
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
async fn one_that_nobody_names_and_where_nobody_listens_is_gone_at_once() {
    let (mut scene, link) = Scene::start(LONG).await;
    scene.send("in vain").await;
    let elsewhere = FakeGateway::start().await;
    let gateway = std::mem::replace(&mut scene.gateway, elsewhere);
    drop((link, gateway));
    scene.until_linked(0).await;
    assert_eq!(scene.metric("commands_given_up_total"), 0, "a register names it");
    scene.follower.list(&[]).await;
    until(|| scene.metric("commands_given_up_total") == 1).await;
}

#[tokio::test]
async fn whoever_sends_more_than_is_kept_waits_until_the_gateway_is_back() {
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
    link.takes = true;
    for number in 1..=pieces as u64 {
        assert_eq!(link.numbered_command().await.0, number);
    }
    soon(sender).await.unwrap();
}

#[tokio::test]
async fn whoever_waits_for_room_is_told_that_the_gateway_is_gone() {
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
    scene.follower.list(&[]).await;
    assert!(matches!(soon(sender).await.unwrap(), Error::Unreachable { .. }));
    assert_eq!(scene.metric("parked_bytes"), 0);
}

#[tokio::test]
async fn whoever_waits_for_room_is_told_that_the_cluster_is_closed() {
    let (scene, link) = Scene::start(LONG).await;
    scene.lose(link).await;
    let (sending, to) = (scene.cluster.detached(), scene.gateway.client(1));
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
    assert!(matches!(soon(sender).await.unwrap(), Error::Unreachable { .. }));
}

#[tokio::test]
async fn a_gateway_that_is_out_of_reach_cannot_be_asked() {
    let (scene, link) = Scene::start(LONG).await;
    scene.lose(link).await;
    let one = scene.cluster.is_online(scene.gateway.client(1)).await;
    assert!(matches!(one, Err(Error::Unreachable { .. })), "{one:?}");
    let all = scene.cluster.count().await;
    assert!(matches!(all, Err(Error::Unreachable { .. })), "{all:?}");
    assert_eq!(scene.cluster.status().missing, [scene.gateway.address()]);
}

#[tokio::test]
async fn a_flush_waits_for_what_is_on_its_way_to_a_gateway_out_of_reach() {
    let (scene, link) = Scene::start(LONG).await;
    scene.lose(link).await;
    scene.cluster.flush().await.expect("there is nothing");
    scene.send("x").await;
    let flushing = scene.cluster.clone();
    let flush = tokio::spawn(async move { flushing.flush().await });
    let mut link = scene.gateway.link().await;
    let (through, _) = link.numbered_command().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!flush.is_finished());
    link.send(ToPeer::Taken { through }).await;
    soon(flush).await.unwrap().unwrap();
}
