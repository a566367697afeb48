//! A panic in a cluster's own tasks, in a program where that ends nothing else.

mod fake;

use std::sync::Arc;

use client::{
    Cluster, Config, Recipients,
    events::{Consumer, Intake},
    link::Link,
};
use fake::{FakeGateway, FakeRegister, SECRET, soon};

/// A consumer that panics where it is called by the task that looks after a gateway.
struct Panicking;

impl Consumer for Panicking {
    fn linked(&self, _link: &Arc<Link>) -> Box<dyn Intake> {
        panic!("on purpose")
    }
}

#[tokio::test]
async fn cluster_after_a_panic_in_one_of_its_tasks_fails_every_call() {
    let (register, gateway) = (FakeRegister::start().await, FakeGateway::start().await);
    let (well, other) = (FakeGateway::start().await, gateway.client(1));
    let config = Config::new([register.address()], SECRET);
    let cluster =
        Cluster::idle(Config { worker: Some("w:1".to_owned()), ..config }, Arc::new(Panicking));
    cluster.follow();
    let _follower = register.tell(&[&gateway, &well]).await;
    let _link = gateway.link().await;
    // Not that the call waits, nor that it says that all is well.
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
