//! Retries of failed handlers of clients whose gateway dies.

mod running;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use protocol::{CloseReason, ConnectionId, Event, discovery::Presence, link::ToGateway};
use push_suite_worker::{Client, Config, Message, Worker};
use running::{Running, start_as};
use test_support::fakes::{FakeGateway, FakeLink, context, soon};
use tokio::{
    io::AsyncWriteExt as _,
    sync::{
        Semaphore,
        mpsc::{self, Receiver, Sender},
    },
};

/// The client whose handlers fail.
const CLIENT: ConnectionId = ConnectionId(1);

/// Reports each call for that client, and fails while the number of failures is not used up.
struct Failing {
    calls: Sender<Call>,
    failures: Arc<AtomicUsize>,
    /// The first call for a message waits for a permit.
    permits: Arc<Semaphore>,
    /// And so does each for a message of another client, whose close adds one.
    others: Arc<Semaphore>,
}

#[derive(Debug, PartialEq, Eq)]
enum Call {
    Message { redelivered: bool },
    Close { reason: CloseReason, redelivered: bool },
}

impl Failing {
    async fn call(&self, client: &Client, call: Call) -> anyhow::Result<()> {
        if client.id().connection != CLIENT {
            match call {
                Call::Message { .. } => self.others.acquire().await?.forget(),
                Call::Close { .. } => self.others.add_permits(1),
            }
            return Ok(());
        }
        let is_first_message = call == Call::Message { redelivered: false };
        self.calls.send(call).await?;
        if is_first_message {
            self.permits.acquire().await?.forget();
        }
        let left = self.failures.load(Ordering::SeqCst);
        if left == 0 {
            return Ok(());
        }
        self.failures.store(left - 1, Ordering::SeqCst);
        anyhow::bail!("requested")
    }
}

impl Worker for Failing {
    async fn on_message(&self, client: &Client, _: Message) -> anyhow::Result<()> {
        self.call(client, Call::Message { redelivered: client.redelivered() }).await
    }

    async fn on_close(&self, client: &Client, reason: CloseReason) -> anyhow::Result<()> {
        self.call(client, Call::Close { reason, redelivered: client.redelivered() }).await
    }
}

/// A worker whose handlers fail, and its only gateway.
struct Scene {
    running: Running,
    link: FakeLink,
    calls: Receiver<Call>,
    failures: Arc<AtomicUsize>,
    permits: Arc<Semaphore>,
    others: Arc<Semaphore>,
    gateway: FakeGateway,
}

const LOST: Call = Call::Close { reason: CloseReason::GatewayLost, redelivered: false };
const CLOSE: Event = Event::Close(CloseReason::Client);

impl Scene {
    /// So many calls fail.
    async fn start(failures: usize) -> Self {
        let (sender, calls) = mpsc::channel(1024);
        let failures = Arc::new(AtomicUsize::new(failures));
        let permits = Arc::new(Semaphore::new(0));
        let others = Arc::new(Semaphore::new(0));
        let worker = Failing {
            calls: sender,
            failures: Arc::clone(&failures),
            permits: Arc::clone(&permits),
            others: Arc::clone(&others),
        };
        let gateway = FakeGateway::start().await;
        let settings = |config: &mut Config| {
            config.handler_retries = u32::MAX;
            config.gateway_grace = Duration::from_millis(100);
        };
        let running = start_as(worker, &[&gateway], settings).await;
        let mut link = gateway.link().await;
        link.event(CLIENT.0, Event::Connect).await;
        link.done(1).await;
        Self { running, link, calls, failures, permits, others, gateway }
    }

    async fn send(&mut self, event: Event) {
        self.link.event(CLIENT.0, event).await;
    }

    /// Waits until everything sent so far is read.
    async fn read(&mut self) {
        let done = self.link.events_done();
        self.link.event(3, Event::Connect).await;
        self.link.done(done + 1).await;
    }

    async fn call(&mut self) -> Call {
        soon(self.calls.recv()).await.expect("a call")
    }

    /// The gateway dies, as its register reports.
    async fn kill_gateway(&mut self) {
        self.close_link().await;
        self.running.subscriber.send_list(Vec::new(), Some(Presence::default())).await;
    }

    async fn close_link(&mut self) {
        let _ = self.link.stream.shutdown().await;
    }

    /// The gateway is linked again, and does not send its complete state.
    async fn relink(&mut self) {
        self.close_link().await;
        self.link = self.gateway.link().await;
        self.link.answers_pings = false;
    }

    /// From here on no handler fails.
    fn mend(&self) {
        self.failures.store(0, Ordering::SeqCst);
    }

    /// The worker is to end, and calls handlers until then. Returns the last call.
    async fn last_call(mut self) -> Option<Call> {
        self.running.stop.cancel();
        self.running.ended().await.expect("no error");
        let mut last = None;
        while let Ok(call) = self.calls.try_recv() {
            last = Some(call);
        }
        last
    }
}

const fn closed(reason: CloseReason, redelivered: bool) -> Call {
    Call::Close { reason, redelivered }
}

#[tokio::test]
async fn close_of_a_dead_gateway_is_retried_while_its_worker_drains() {
    let mut scene = Scene::start(3).await;
    scene.kill_gateway().await;
    assert_eq!(scene.call().await, LOST);
    // The first attempt has failed, and no other worker closes the client.
    assert_eq!(scene.last_call().await, Some(closed(CloseReason::GatewayLost, true)));
}

#[tokio::test]
async fn close_that_awaits_a_retry_is_handled_after_its_gateway_has_died() {
    let mut scene = Scene::start(usize::MAX).await;
    scene.send(CLOSE).await;
    assert_eq!(scene.call().await, closed(CloseReason::Client, false));
    scene.read().await;
    scene.kill_gateway().await;
    for _ in 0..5 {
        assert_eq!(scene.call().await, closed(CloseReason::Client, true));
    }
    scene.mend();
    assert_eq!(scene.last_call().await, Some(closed(CloseReason::Client, true)));
}

#[tokio::test]
async fn client_whose_message_awaits_a_retry_is_closed_after_its_gateway_has_died() {
    for is_close_queued in [false, true] {
        let mut scene = Scene::start(usize::MAX).await;
        scene.permits.add_permits(1);
        scene.send(Event::Message(Message::text("fails"))).await;
        assert_eq!(scene.call().await, Call::Message { redelivered: false });
        if is_close_queued {
            scene.send(CLOSE).await;
        }
        scene.read().await;
        scene.kill_gateway().await;
        for _ in 0..5 {
            assert_eq!(scene.call().await, Call::Message { redelivered: true });
        }
        scene.mend();
        let close = loop {
            match scene.call().await {
                Call::Message { redelivered } => assert!(redelivered),
                close @ Call::Close { .. } => break close,
            }
        };
        let reason = if is_close_queued { CloseReason::Client } else { CloseReason::GatewayLost };
        assert_eq!(close, closed(reason, false));
        assert_eq!(scene.last_call().await, None, "once");
    }
}

#[tokio::test]
async fn client_is_closed_if_its_message_fails_after_its_gateway_was_declared_dead() {
    let mut scene = Scene::start(1).await;
    scene.send(Event::Message(Message::text("fails"))).await;
    assert_eq!(scene.call().await, Call::Message { redelivered: false });
    scene.read().await;
    scene.kill_gateway().await;
    soon(scene.others.acquire()).await.unwrap().forget();
    scene.permits.add_permits(1);
    assert_eq!(scene.call().await, Call::Message { redelivered: true });
    assert_eq!(scene.call().await, LOST);
    assert_eq!(scene.last_call().await, None, "once");
}

#[tokio::test]
async fn client_left_by_a_draining_worker_is_closed_if_its_gateway_dies_meanwhile() {
    for is_close_sent in [false, true] {
        let mut scene = Scene::start(usize::MAX).await;
        scene.permits.add_permits(1);
        scene.send(Event::Message(Message::text("fails"))).await;
        assert_eq!(scene.call().await, Call::Message { redelivered: false });
        if is_close_sent {
            scene.send(CLOSE).await;
        }
        // Keeps the worker from ending.
        scene.link.event(2, Event::Connect).await;
        scene.link.message(2, "slow").await;
        scene.read().await;
        scene.running.stop.cancel();
        soon(async { while scene.link.next().await != ToGateway::Leaving {} }).await;
        scene.mend();
        scene.kill_gateway().await;
        assert_eq!(scene.call().await, closed(CloseReason::GatewayLost, true), "{is_close_sent}");
        scene.others.add_permits(1);
        assert_eq!(scene.last_call().await, None, "once");
    }
}

#[tokio::test]
async fn close_of_an_earlier_link_is_handled_though_the_next_one_is_lost_before_it_has_the_state() {
    let mut scene = Scene::start(0).await;
    scene.send(Event::Message(Message::text("slow"))).await;
    assert_eq!(scene.call().await, Call::Message { redelivered: false });
    scene.send(CLOSE).await;
    scene.read().await;
    scene.relink().await;
    scene.read().await;
    scene.kill_gateway().await;
    soon(scene.others.acquire()).await.unwrap().forget();
    scene.permits.add_permits(1);
    assert_eq!(scene.call().await, closed(CloseReason::Client, false));
    assert_eq!(scene.last_call().await, None, "once");
}

#[tokio::test]
async fn close_that_a_later_link_has_delivered_is_not_repeated_when_its_gateway_dies() {
    let mut scene = Scene::start(0).await;
    scene.relink().await;
    let context = Some(Box::new(context()));
    scene.link.deliver(CLIENT.0, CLOSE, context, true).await;
    assert_eq!(scene.call().await, closed(CloseReason::Client, true));
    scene.read().await;
    scene.kill_gateway().await;
    // The other client is closed as well.
    soon(scene.others.acquire()).await.unwrap().forget();
    assert_eq!(scene.last_call().await, None, "once");
}
