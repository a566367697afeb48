//! Waiting until the linked gateways have acknowledged what was sent.

use std::net::SocketAddr;

use protocol::link::{ToGateway, ToPeer};
use push_suite_cluster::{Cluster, ClusterGuard, Config, Error};
use test_support::fakes::{FakeGateway, FakeLink, FakeRegister, SECRET, Subscriber, sent_to, soon};

struct Scene {
    cluster: ClusterGuard,
    gateway: FakeGateway,
    _register: FakeRegister,
    _subscriber: Subscriber,
}

impl Scene {
    async fn start() -> (Self, FakeLink) {
        let (register, gateway) = (FakeRegister::start().await, FakeGateway::start().await);
        let cluster = Cluster::start(Config::new([register.address()], SECRET));
        let subscriber = register.serve(&[&gateway]).await;
        let link = gateway.link().await;
        soon(cluster.ready()).await;
        (Self { cluster, gateway, _register: register, _subscriber: subscriber }, link)
    }

    /// Sends a message, and waits until the gateway has acknowledged it.
    async fn publish(&self, text: &str) -> Result<Vec<SocketAddr>, Error> {
        self.cluster.send_to_client(self.gateway.client(1), text).await?;
        self.cluster.flush_linked().await
    }
}

#[tokio::test]
async fn callers_at_the_same_time_ask_once_and_wait_each_for_its_own_command() {
    let (scene, mut link) = Scene::start().await;
    let mut callers = Box::pin(async {
        tokio::join!(scene.publish("a"), scene.publish("b"), scene.publish("c"))
    });
    let gateway = async {
        for (number, text) in [(1, "a"), (2, "b"), (3, "c")] {
            assert_eq!(link.numbered_command().await, (number, sent_to(1, text)));
        }
        assert_eq!(link.next().await, ToGateway::Acknowledge);
        assert!(link.is_quiet().await, "once for all of them");
        link.send(ToPeer::CommandAck { through: 2 }).await;
        assert!(link.is_quiet().await);
        link
    };
    let mut link = tokio::select! {
        _ = &mut callers => panic!("the last command is not acknowledged"),
        link = gateway => link,
    };
    link.send(ToPeer::CommandAck { through: 3 }).await;
    let (a, b, c) = soon(callers).await;
    for unreached in [a, b, c] {
        assert_eq!(unreached.unwrap(), []);
    }
}

#[tokio::test]
async fn acknowledged_commands_are_not_waited_for() {
    let (scene, mut link) = Scene::start().await;
    let (sent, ()) = tokio::join!(scene.publish("a"), async {
        assert_eq!(link.command().await, sent_to(1, "a"));
        link.send(ToPeer::CommandAck { through: 1 }).await;
    });
    assert_eq!(sent.unwrap(), []);
    // The gateway says no more.
    assert_eq!(soon(scene.cluster.flush_linked()).await.unwrap(), []);
}

#[tokio::test]
async fn gateway_whose_link_is_lost_meanwhile_is_named() {
    let (scene, mut link) = Scene::start().await;
    let (sent, ()) = tokio::join!(scene.publish("a"), async {
        assert_eq!(link.command().await, sent_to(1, "a"));
        drop(link);
    });
    assert_eq!(sent.unwrap(), [scene.gateway.addr()]);
}

#[tokio::test]
async fn gateway_that_does_not_acknowledge_is_named_after_a_while() {
    let (scene, mut link) = Scene::start().await;
    tokio::time::pause();
    let (sent, ()) = tokio::join!(scene.publish("a"), async {
        assert_eq!(link.command().await, sent_to(1, "a"));
    });
    assert_eq!(sent.unwrap(), [scene.gateway.addr()]);
    drop(link);
}
