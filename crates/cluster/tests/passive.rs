//! A worker that does not reach every gateway while another one does: it takes no events, and keeps
//! sending.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use protocol::{
    Command, Event, InstanceId, Message, Recipients,
    discovery::{Gateway, Presence},
    link::{Delivery, Role, ToGateway},
};
use push_suite_cluster::{
    Config,
    internal::{self, Consumer, EventReceiver, HandlerScope, Link, Room, WorkerCluster},
};
use test_support::fakes::{FakeGateway, FakeLink, FakeRegister, SECRET, soon};
use tokio::{
    sync::{mpsc, watch},
    task::yield_now,
    time::sleep,
};

/// The worker becomes passive after three quarters of it.
const GRACE: Duration = Duration::from_millis(800);

/// Forwards events together with their link.
struct Forwarder(mpsc::Sender<(Arc<Link>, Delivery)>);

impl Consumer for Forwarder {
    fn linked(&self, link: &Arc<Link>) -> Box<dyn EventReceiver> {
        Box::new(ForwardingReceiver { link: Arc::clone(link), to: self.0.clone() })
    }
}

struct ForwardingReceiver {
    link: Arc<Link>,
    to: mpsc::Sender<(Arc<Link>, Delivery)>,
}

impl EventReceiver for ForwardingReceiver {
    fn take(&mut self, delivery: Delivery) {
        let _ = self.to.try_send((Arc::clone(&self.link), delivery));
    }

    fn end_batch(&mut self) -> Option<Room> {
        None
    }
}

/// A worker that is linked to the first of two gateways and has lost the second.
struct Scene {
    cluster: WorkerCluster,
    events: mpsc::Receiver<(Arc<Link>, Delivery)>,
    _register: FakeRegister,
    updates: watch::Sender<(Vec<Gateway>, Presence)>,
    near: FakeGateway,
    far: SocketAddr,
}

impl Scene {
    async fn start() -> (Self, FakeLink) {
        Self::start_with(true).await
    }

    /// With a register that answers, or one that stalls after reporting that another worker reaches
    /// both gateways.
    async fn start_with(answers: bool) -> (Self, FakeLink) {
        let (register, near) = (FakeRegister::start().await, FakeGateway::start().await);
        let second = FakeGateway { instance: far_instance(), ..FakeGateway::start().await };
        let far = second.addr();
        let config = Config::new([register.address()], SECRET);
        let (sender, events) = mpsc::channel(8);
        let config = config.gateway_grace(GRACE);
        let cluster = WorkerCluster::new(config, "test:1".to_owned(), Arc::new(Forwarder(sender)));
        cluster.follow();
        let (mut subscriber, _) = register.subscriber().await;
        let (updates, lists) = watch::channel(Default::default());
        let scene = Self { cluster, events, _register: register, updates, near, far };
        scene.report(true);
        let (gateways, presence) = lists.borrow().clone();
        subscriber.send_list(gateways, Some(presence)).await;
        tokio::spawn(async move {
            if answers {
                return subscriber.serve_updates(lists).await;
            }
            std::future::pending().await
        });
        let (link, far_link) = (scene.near.link().await, second.link().await);
        soon(scene.cluster.ready()).await;
        drop((far_link, second));
        until(|| scene.cluster.status().linked == 1).await;
        (scene, link)
    }

    /// Reports whether another worker reaches both gateways.
    fn report(&self, other: bool) {
        let gateway = |address: SocketAddr, instance: InstanceId| Gateway {
            native: true,
            instance: Some(instance),
            ..Gateway::plain(address.to_string())
        };
        let near = gateway(self.near.addr(), self.near.instance.clone());
        let far = gateway(self.far, far_instance());
        let other = other.then(|| InstanceId::new("other").expect("a valid name"));
        let workers: Vec<_> = other.into_iter().collect();
        let presence = Presence { complete: workers.clone(), workers, ..Presence::default() };
        self.updates.send_replace((vec![near, far], presence));
    }

    /// The next link of a gateway, in the role of a worker or of a back end.
    async fn next_link(gateway: &FakeGateway, takes_events: bool) -> FakeLink {
        let link = gateway.link().await;
        assert_eq!(matches!(link.role, Some(Role::Worker { .. })), takes_events, "{:?}", link.role);
        link
    }
}

fn far_instance() -> InstanceId {
    InstanceId::new("far").expect("a valid name")
}

fn to_all(text: &str) -> Command {
    Command::SendToAll { to: Recipients::All, message: Message::text(text) }
}

async fn closes(link: &mut FakeLink) {
    while soon(link.try_next()).await.is_some() {}
}

#[tokio::test]
async fn passive_worker_keeps_sending_and_becomes_active_once_it_reaches_every_gateway() {
    let (scene, mut link) = Scene::start().await;
    closes(&mut link).await;
    let mut link = Scene::next_link(&scene.near, false).await;
    until(|| scene.cluster.status().passive && scene.cluster.status().linked == 1).await;
    scene.cluster.send_to_all(push_suite_cluster::Recipients::All, "to all").await.unwrap();
    assert_eq!(link.command().await, to_all("to all"));
    let far = FakeGateway { instance: far_instance(), ..FakeGateway::on(scene.far).await };
    let mut far_link = Scene::next_link(&far, false).await;
    assert_eq!(far_link.command().await, to_all("to all"), "it was queued");
    closes(&mut far_link).await;
    closes(&mut link).await;
    let _links = (Scene::next_link(&far, true).await, Scene::next_link(&scene.near, true).await);
    assert!(!scene.cluster.status().passive);
}

#[tokio::test]
async fn scoped_commands_are_dropped_when_their_event_is_left_to_another_worker() {
    let (mut scene, mut link) = Scene::start().await;
    link.event(1, Event::Connect).await;
    let (origin, event) = soon(scene.events.recv()).await.unwrap();
    let scope = Arc::new(HandlerScope::new(Arc::clone(&origin), event.client));
    let cluster = internal::scoped(&scene.cluster, Arc::clone(&scope));
    cluster.send_to_all(push_suite_cluster::Recipients::All, "of the event").await.unwrap();
    assert_eq!(link.command().await, to_all("of the event"));
    origin.finish(event.shard, event.seq, Some(&scope));
    scene.cluster.send_to_all(push_suite_cluster::Recipients::All, "of no event").await.unwrap();
    closes(&mut link).await;
    assert_eq!(link.events_done(), 0, "the other gateway has not acknowledged the command");
    let far = FakeGateway { instance: far_instance(), ..FakeGateway::on(scene.far).await };
    let mut far_link = far.link().await;
    assert_eq!(far_link.command().await, to_all("of no event"));
}

#[tokio::test]
async fn worker_stays_active_if_the_register_with_the_reports_stalls() {
    let (mut scene, mut link) = Scene::start_with(false).await;
    sleep(GRACE * 2).await;
    assert!(!scene.cluster.status().passive);
    link.event(1, Event::Connect).await;
    soon(scene.events.recv()).await.unwrap();
}

#[tokio::test]
async fn worker_stays_active_if_no_other_worker_reaches_every_gateway() {
    let (mut scene, mut link) = Scene::start().await;
    scene.report(false);
    sleep(GRACE * 2).await;
    assert!(!scene.cluster.status().passive);
    link.event(1, Event::Connect).await;
    soon(scene.events.recv()).await.unwrap();
}

#[tokio::test]
async fn passive_worker_that_leaves_keeps_its_links_until_it_stops() {
    let (scene, mut link) = Scene::start().await;
    closes(&mut link).await;
    let mut link = Scene::next_link(&scene.near, false).await;
    until(|| scene.cluster.status().passive && scene.cluster.status().linked == 1).await;
    scene.cluster.leave().await;
    sleep(GRACE).await;
    scene.cluster.send_to_all(push_suite_cluster::Recipients::All, "last words").await.unwrap();
    while !matches!(soon(link.next()).await, ToGateway::Command { .. }) {}
}

#[tokio::test]
async fn passive_worker_is_active_again_if_no_other_worker_reaches_every_gateway() {
    let (mut scene, mut link) = Scene::start().await;
    closes(&mut link).await;
    let mut link = Scene::next_link(&scene.near, false).await;
    scene.report(false);
    closes(&mut link).await;
    let mut link = Scene::next_link(&scene.near, true).await;
    link.event(1, Event::Connect).await;
    soon(scene.events.recv()).await.unwrap();
}

async fn until(holds: impl Fn() -> bool) {
    soon(async {
        while !holds() {
            yield_now().await;
        }
    })
    .await;
}
