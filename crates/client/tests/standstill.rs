//! A worker that stands still itself: what it finds afterwards may have happened long before.

mod fake;

use std::{sync::Arc, thread, time::Duration};

use client::{
    Cluster, Config,
    events::{Consumer, Intake, Room, Settlement},
    link::Link,
};
use fake::{FakeGateway, FakeRegister, SECRET, soon};
use protocol::{Instance, link::Delivery};
use tokio::sync::mpsc::{Sender, channel};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Notes whether gateways that are gone may have given our clients to others before.
struct Noting(Sender<bool>);

impl Consumer for Noting {
    fn linked(&self, _link: &Arc<Link>) -> Box<dyn Intake> {
        Box::new(Idle)
    }

    fn over(
        &self,
        _gateway: &Instance,
        in_doubt: bool,
        _settlement: Settlement,
    ) -> Vec<Vec<Instance>> {
        let _ = self.0.try_send(in_doubt);
        Vec::new()
    }
}

struct Idle;

impl Intake for Idle {
    fn take(&mut self, _delivery: Delivery) {}

    fn end_batch(&mut self) -> Option<Room> {
        None
    }
}

/// Whether the clients of a gateway are closed in doubt that ends its link, and then is there as another,
/// where the worker does nothing for that long in between.
#[expect(clippy::disallowed_methods, reason = "that is what is tested")]
async fn in_doubt(still: Duration) -> bool {
    let (register, mut gateway) = (FakeRegister::start().await, FakeGateway::start().await);
    let config = Config::new([register.address()], SECRET);
    let worker = Some("test:1".to_owned());
    let (sender, mut noted) = channel(1);
    let consumer = Arc::new(Noting(sender));
    let cluster = Cluster::idle(Config { worker, peer_timeout: TIMEOUT, ..config }, consumer);
    cluster.follow();
    let _follower = register.tell(&[&gateway]).await;
    let link = gateway.link().await;
    soon(cluster.ready()).await;
    drop(link);
    // All of it is on this thread.
    thread::sleep(still);
    gateway.instance = Instance::new("next").expect("a name");
    let _link = gateway.link().await;
    soon(noted.recv()).await.expect("it is told")
}

#[tokio::test]
async fn clients_of_a_gateway_that_died_while_we_stood_still_are_closed_in_doubt() {
    assert!(in_doubt(TIMEOUT * 2 / 3).await, "it may have given us up before");
}

#[tokio::test]
async fn clients_of_a_gateway_that_died_while_we_were_only_busy_are_closed_without_doubt() {
    assert!(!in_doubt(TIMEOUT / 5).await);
}
