//! A stall of the worker itself: events found afterwards may have happened long before.

use std::{sync::Arc, thread, time::Duration};

use protocol::{InstanceId, link::Delivery};
use push_suite_cluster::{
    Config,
    internal::{CleanupGuard, Consumer, EventReceiver, Link, Room, WorkerCluster},
};
use test_support::fakes::{FakeGateway, FakeRegister, SECRET, soon};
use tokio::sync::mpsc::{Sender, channel};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Records whether dead gateways may have reassigned the worker's clients before.
struct RecordingWorker(Sender<bool>);

impl Consumer for RecordingWorker {
    fn linked(&self, _link: &Arc<Link>) -> Box<dyn EventReceiver> {
        Box::new(Idle)
    }

    fn over(
        &self,
        _gateway: &InstanceId,
        in_doubt: bool,
        _cleanup: CleanupGuard,
    ) -> Vec<Vec<InstanceId>> {
        let _ = self.0.try_send(in_doubt);
        Vec::new()
    }
}

struct Idle;

impl EventReceiver for Idle {
    fn take(&mut self, _delivery: Delivery) {}

    fn end_batch(&mut self) -> Option<Room> {
        None
    }
}

/// Whether clients are closed in doubt if their gateway closes its link and comes back as another
/// instance, while the worker stalls for that long in between.
#[expect(clippy::disallowed_methods, reason = "the stall is the subject of the test")]
async fn in_doubt(stall: Duration) -> bool {
    let (register, mut gateway) = (FakeRegister::start().await, FakeGateway::start().await);
    let config = Config::new([register.address()], SECRET).peer_timeout(TIMEOUT);
    let (sender, mut recorded) = channel(1);
    let consumer = Arc::new(RecordingWorker(sender));
    let cluster = WorkerCluster::new(config, "test:1".to_owned(), consumer);
    cluster.follow();
    let _subscriber = register.serve(&[&gateway]).await;
    let link = gateway.link().await;
    soon(cluster.ready()).await;
    drop(link);
    // The whole runtime is on this thread.
    thread::sleep(stall);
    gateway.instance = InstanceId::new("next").expect("a name");
    let _link = gateway.link().await;
    soon(recorded.recv()).await.expect("the consumer is notified")
}

#[tokio::test]
async fn clients_of_a_gateway_that_died_during_a_stall_are_closed_in_doubt() {
    assert!(in_doubt(TIMEOUT * 2 / 3).await, "the gateway may have closed the link before");
}

#[tokio::test]
async fn clients_of_a_gateway_that_died_while_the_worker_was_busy_are_closed_without_doubt() {
    assert!(!in_doubt(TIMEOUT / 5).await);
}
