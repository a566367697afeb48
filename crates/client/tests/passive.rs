//! A worker that does not reach every gateway while another does: it takes no events, and goes on
//! sending.

mod fake;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use client::{
    Cluster, Config,
    events::{Consumer, Intake, Room},
    link::{Link, Pushes},
};
use fake::{FakeGateway, FakeLink, FakeRegister, SECRET, soon};
use protocol::{
    Command, Event, Instance, Message, Recipients,
    discovery::{Gateway, Presence},
    link::{Delivery, Role},
};
use tokio::{
    sync::{mpsc, watch},
    task::yield_now,
    time::sleep,
};

/// Passive after three quarters of it.
const GRACE: Duration = Duration::from_millis(800);

/// Hands events on with the link that they came on.
struct HandsOn(mpsc::Sender<(Arc<Link>, Delivery)>);

impl Consumer for HandsOn {
    fn linked(&self, link: &Arc<Link>) -> Box<dyn Intake> {
        Box::new(HandOn { link: Arc::clone(link), to: self.0.clone() })
    }
}

struct HandOn {
    link: Arc<Link>,
    to: mpsc::Sender<(Arc<Link>, Delivery)>,
}

impl Intake for HandOn {
    fn take(&mut self, delivery: Delivery) {
        let _ = self.to.try_send((Arc::clone(&self.link), delivery));
    }

    fn end_batch(&mut self) -> Option<Room> {
        None
    }
}

/// A worker that is linked to the first of two gateways and cannot reach the second any more.
struct Scene {
    cluster: Cluster,
    events: mpsc::Receiver<(Arc<Link>, Delivery)>,
    _register: FakeRegister,
    says: watch::Sender<(Vec<Gateway>, Presence)>,
    near: FakeGateway,
    far: SocketAddr,
}

impl Scene {
    async fn start() -> (Self, FakeLink) {
        Self::start_with(true).await
    }

    /// With a register that answers, or one that stands still once it has said that another worker
    /// reaches both.
    async fn start_with(answers: bool) -> (Self, FakeLink) {
        let (register, near) = (FakeRegister::start().await, FakeGateway::start().await);
        let second = FakeGateway { instance: far_instance(), ..FakeGateway::start().await };
        let far = second.addr();
        let config = Config::new([register.address()], SECRET);
        let worker = Some("test:1".to_owned());
        let (sender, events) = mpsc::channel(8);
        let config = Config { worker, gateway_grace: GRACE, ..config };
        let cluster = Cluster::idle(config, Arc::new(HandsOn(sender)));
        cluster.follow();
        let (mut follower, _) = register.follower().await;
        let (says, said) = watch::channel(Default::default());
        let scene = Self { cluster, events, _register: register, says, near, far };
        scene.tell(true);
        let (gateways, presence) = said.borrow().clone();
        follower.tell(gateways, Some(presence)).await;
        tokio::spawn(async move {
            if answers {
                return follower.answers(said).await;
            }
            std::future::pending().await
        });
        let (link, far_link) = (scene.near.link().await, second.link().await);
        soon(scene.cluster.ready()).await;
        drop((far_link, second));
        until(|| scene.cluster.status().linked == 1).await;
        (scene, link)
    }

    /// The register says whether another worker reaches both.
    fn tell(&self, other: bool) {
        let gateway = |address: SocketAddr, instance: Instance| Gateway {
            native: true,
            instance: Some(instance),
            ..Gateway::plain(address.to_string())
        };
        let near = gateway(self.near.addr(), self.near.instance.clone());
        let far = gateway(self.far, far_instance());
        let other = other.then(|| Instance::new("other").expect("a valid name"));
        let workers: Vec<_> = other.into_iter().collect();
        let presence = Presence { complete: workers.clone(), workers, ..Presence::default() };
        self.says.send_replace((vec![near, far], presence));
    }

    /// The link that a gateway is called by next, which is one that takes events, or none.
    async fn next_link(gateway: &FakeGateway, takes_events: bool) -> FakeLink {
        let link = gateway.link().await;
        assert_eq!(matches!(link.role, Some(Role::Worker { .. })), takes_events, "{:?}", link.role);
        link
    }
}

fn far_instance() -> Instance {
    Instance::new("far").expect("a valid name")
}

fn to_all(text: &str) -> Command {
    Command::SendToAll { to: Recipients::All, message: Message::text(text) }
}

async fn ends(link: &mut FakeLink) {
    while soon(link.try_next()).await.is_some() {}
}

#[tokio::test]
async fn passive_worker_goes_on_sending_and_is_active_again_once_it_reaches_every_gateway() {
    let (scene, mut link) = Scene::start().await;
    ends(&mut link).await;
    let mut link = Scene::next_link(&scene.near, false).await;
    until(|| scene.cluster.status().passive && scene.cluster.status().linked == 1).await;
    scene.cluster.send_to_all(client::Recipients::All, "to all").await.unwrap();
    assert_eq!(link.command().await, to_all("to all"));
    let far = FakeGateway { instance: far_instance(), ..FakeGateway::on(scene.far).await };
    let mut far_link = Scene::next_link(&far, false).await;
    assert_eq!(far_link.command().await, to_all("to all"), "it has waited");
    ends(&mut far_link).await;
    ends(&mut link).await;
    let _links = (Scene::next_link(&far, true).await, Scene::next_link(&scene.near, true).await);
    assert!(!scene.cluster.status().passive);
}

#[tokio::test]
async fn what_was_sent_on_behalf_of_an_event_is_dropped_when_that_is_left_to_another_worker() {
    let (mut scene, mut link) = Scene::start().await;
    link.event(1, Event::Connect).await;
    let (home, event) = soon(scene.events.recv()).await.unwrap();
    let pushes = Arc::new(Pushes::new(Arc::clone(&home), event.client));
    let cluster = scene.cluster.on_behalf_of(Arc::clone(&pushes));
    cluster.send_to_all(client::Recipients::All, "of the event").await.unwrap();
    assert_eq!(link.command().await, to_all("of the event"));
    home.finish(event.shard, event.seq, Some(&pushes));
    scene.cluster.send_to_all(client::Recipients::All, "of no event").await.unwrap();
    ends(&mut link).await;
    assert_eq!(link.events_done(), 0, "the other gateway has not taken what it sent");
    let far = FakeGateway { instance: far_instance(), ..FakeGateway::on(scene.far).await };
    let mut far_link = far.link().await;
    assert_eq!(far_link.command().await, to_all("of no event"));
}

#[tokio::test]
async fn worker_stays_active_if_the_register_that_said_so_stands_still() {
    let (mut scene, mut link) = Scene::start_with(false).await;
    sleep(GRACE * 2).await;
    assert!(!scene.cluster.status().passive);
    link.event(1, Event::Connect).await;
    soon(scene.events.recv()).await.unwrap();
}

#[tokio::test]
async fn worker_stays_active_if_nobody_else_reaches_every_gateway() {
    let (mut scene, mut link) = Scene::start().await;
    scene.tell(false);
    sleep(GRACE * 2).await;
    assert!(!scene.cluster.status().passive);
    link.event(1, Event::Connect).await;
    soon(scene.events.recv()).await.unwrap();
}

#[tokio::test]
async fn passive_worker_is_active_again_if_nobody_else_reaches_every_gateway() {
    let (mut scene, mut link) = Scene::start().await;
    ends(&mut link).await;
    let mut link = Scene::next_link(&scene.near, false).await;
    scene.tell(false);
    ends(&mut link).await;
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
