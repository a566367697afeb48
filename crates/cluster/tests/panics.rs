//! A panic in a task of a cluster, in a program where a panic does not end the process.

use std::sync::Arc;

use push_suite_cluster::{
    Config, Recipients,
    internal::{Consumer, EventReceiver, Link, WorkerCluster},
};
use test_support::fakes::{FakeGateway, FakeRegister, SECRET, soon};

/// A consumer that panics in the task that maintains a link.
struct Panicking;

impl Consumer for Panicking {
    fn linked(&self, _link: &Arc<Link>) -> Box<dyn EventReceiver> {
        panic!("on purpose")
    }
}

#[tokio::test]
async fn cluster_after_a_panic_in_one_of_its_tasks_fails_every_call() {
    let (register, gateway) = (FakeRegister::start().await, FakeGateway::start().await);
    let (well, other) = (FakeGateway::start().await, gateway.client(1));
    let config = Config::new([register.address()], SECRET);
    let cluster = WorkerCluster::new(config, "w:1".to_owned(), Arc::new(Panicking));
    cluster.follow();
    let _subscriber = register.serve(&[&gateway, &well]).await;
    let _link = gateway.link().await;
    // Calls must neither wait nor succeed.
    let failed = async {
        while cluster.send_to_all(Recipients::All, "text").await.is_ok() {
            tokio::task::yield_now().await;
        }
        cluster.send_to_client(other, "text").await.unwrap_err();
        cluster.all_sessions().await.unwrap_err();
    };
    soon(failed).await;
    soon(cluster.close()).await;
}
