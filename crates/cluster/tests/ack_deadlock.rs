//! A consumer under backpressure that itself waits for acknowledgements.

use std::{future::pending, sync::Arc};

use protocol::{Event, Message, link::Delivery};
use push_suite_cluster::{
    Config,
    internal::{Consumer, EventReceiver, Link, OUTGOING_LIMIT, Room, WorkerCluster},
};
use test_support::fakes::{FakeGateway, FakeRegister, SECRET, soon};

/// Accepts no more events after the first.
struct Full(bool);

impl Consumer for Full {
    fn linked(&self, _link: &Arc<Link>) -> Box<dyn EventReceiver> {
        Box::new(Self(false))
    }
}

impl EventReceiver for Full {
    fn take(&mut self, _delivery: Delivery) {
        self.0 = true;
    }

    fn end_batch(&mut self) -> Option<Room> {
        self.0.then(|| Box::pin(pending()) as Room)
    }
}

#[tokio::test]
async fn acknowledgements_are_read_while_the_consumer_applies_backpressure() {
    let (register, gateway) = (FakeRegister::start().await, FakeGateway::start().await);
    let config = Config::new([register.address()], SECRET);
    let cluster = WorkerCluster::new(config, "Test:1".to_owned(), Arc::new(Full(false)));
    cluster.follow();
    let _subscriber = register.serve(&[&gateway]).await;
    let mut link = gateway.link().await;
    soon(cluster.ready()).await;
    link.event(1, Event::Connect).await;
    let piece = Message::binary(vec![0; 1024 * 1024]);
    let pieces = 3 * OUTGOING_LIMIT / piece.body.len();
    let sending = cluster.clone();
    let sender = tokio::spawn(async move {
        for _ in 0..pieces {
            sending.send_to_uid("alice", piece.clone()).await.unwrap();
        }
    });
    link.acks_commands = true;
    for number in 1..=pieces as u64 {
        assert_eq!(link.numbered_command().await.0, number);
    }
    soon(sender).await.unwrap();
}
