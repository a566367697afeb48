//! Gateways that announce an unreachable address.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use prometheus_client::{encoding::text::encode, registry::Registry};
use protocol::{Answer, ClientId, ConnectionId, Message, discovery::Gateway};
use push_suite_cluster::{Cluster, ClusterGuard, Config, Error, Recipients, SETTLE};
use test_support::fakes::{FakeGateway, FakeLink, FakeRegister, SECRET, Subscriber, soon};
use tokio::time::sleep;

/// A cluster of one linked gateway, and of a second address that registers list.
struct Scene {
    cluster: ClusterGuard,
    metrics: Registry,
    _register: FakeRegister,
    _subscriber: Subscriber,
    link: FakeLink,
}

impl Scene {
    async fn start(gateway_grace: Duration, second: SocketAddr) -> Self {
        let (register, gateway) = (FakeRegister::start().await, FakeGateway::start().await);
        let config = Config::new([register.address()], SECRET);
        let cluster = Cluster::start(config.gateway_grace(gateway_grace));
        let mut subscriber = register.serve(&[&gateway]).await;
        let mut link = gateway.link().await;
        link.acks_commands = true;
        soon(cluster.ready()).await;
        let native = |address: String| Gateway { native: true, ..Gateway::plain(address) };
        let addresses = [gateway.address(), second.to_string()];
        subscriber.send_gateways(addresses.map(native).to_vec()).await;
        while cluster.status().missing.is_empty() {
            tokio::task::yield_now().await;
        }
        let mut metrics = Registry::default();
        cluster.register_metrics(&mut metrics);
        Self { cluster, metrics, _register: register, _subscriber: subscriber, link }
    }

    fn metric(&self, name: &str) -> i64 {
        let mut page = String::new();
        encode(&mut page, &self.metrics).expect("writing to a string succeeds");
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {page}"))
    }
}

/// An address that refuses connections.
async fn nowhere() -> SocketAddr {
    FakeGateway::start().await.addr()
}

#[tokio::test]
async fn gateway_never_linked_within_the_grace_period_is_skipped_by_queries() {
    let (grace, nowhere, began) = (Duration::from_millis(500), nowhere().await, Instant::now());
    let mut scene = Scene::start(grace, nowhere).await;
    let cluster = scene.cluster.clone();
    let asking = async {
        while let Err(error) = cluster.count().await {
            assert!(matches!(error, Error::Unreachable { .. }), "{error}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    let answering = scene.link.answer(|_| Answer::Count(3));
    soon(async { tokio::join!(asking, answering) }).await;
    assert!(grace <= began.elapsed(), "it may be linked within the grace period");
    assert_eq!(scene.metric("queries_partial_total"), 1);
    assert_eq!(scene.cluster.status().missing, [nowhere.to_string()], "it is still missing");
    // A query for a client of the missing gateway still fails.
    let client = ClientId::new(nowhere, ConnectionId(1));
    let one = scene.cluster.is_online(client).await;
    assert!(matches!(one, Err(Error::Unreachable { .. })), "{one:?}");
}

#[tokio::test]
async fn gateway_that_was_linked_once_is_never_skipped_by_queries() {
    let (grace, second) = (Duration::from_millis(200), FakeGateway::start().await);
    let mut scene = Scene::start(grace, second.addr()).await;
    drop(second.link().await);
    sleep(grace * 5).await;
    let all = scene.cluster.count().await;
    assert!(matches!(all, Err(Error::Unreachable { .. })), "{all:?}");
    assert!(scene.link.is_quiet().await);
    assert_eq!(scene.metric("queries_partial_total"), 0);
}

#[tokio::test]
async fn gateway_address_that_drops_packets_delays_calls_once() {
    // It accepts connections, and sends nothing: the first attempt lasts for seconds.
    let silent = FakeGateway::start().await;
    let mut scene = Scene::start(Duration::from_secs(60), silent.addr()).await;
    let began = Instant::now();
    for n in 0..20 {
        let sent = scene.cluster.send_to_group("room", Message::text(n.to_string())).await;
        sent.expect("one gateway is linked");
        scene.link.command().await;
    }
    assert!(began.elapsed() < SETTLE * 3, "{:?}", began.elapsed());
}

#[tokio::test]
async fn report_of_a_long_list_names_a_missing_gateway_of_whatever_part() {
    let nowhere = nowhere().await;
    let scene = Scene::start(Duration::from_millis(200), nowhere).await;
    // More than one command has room for, of a gateway that is not in the cluster.
    let unknown = ClientId::new(SocketAddr::from(([127, 0, 0, 1], 1)), ConnectionId(1));
    let mut clients = vec![unknown; 10_000];
    clients.push(ClientId::new(nowhere, ConnectionId(1)));
    let sending = scene.cluster.send_to_all(Recipients::Only(clients), "hello");
    let report = soon(sending.report()).await.expect("a gateway is linked");
    assert_eq!((report.matched, report.unreachable), (0, vec![nowhere]));
}
