//! Streams: messages once and in order, whatever is lost on the way.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use protocol::{Command, Excluded, Position};
use push_suite_cluster::{
    Bytes, Error, Message, NotRecovered, Streams,
    store::{Limit, Range, Read, Reading, Rule, StreamStore},
};
use push_suite_worker::{Client, Handshake, Worker, anyhow, serve};
use service::Starting;
use suite_tests::{
    Scene, Suite, eventually, on_one_and_three_threads,
    streams::{
        Fallible, Numbered, all, append, back_end, join, large, offsets_until, room, with_streams,
    },
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

on_one_and_three_threads!(
    members_receive_the_messages_of_all_publishers_once_and_in_order,
    appended_message_that_was_never_sent_is_filled,
    last_message_of_a_quiet_stream_comes_although_its_worker_has_died,
    messages_that_cannot_be_had_end_in_a_reset,
    new_epoch_ends_in_a_reset,
    message_is_not_for_an_excluded_client,
    repeated_handler_publishes_and_recovers_once,
);

async fn members_receive_the_messages_of_all_publishers_once_and_in_order(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let store = Fallible::new();
    let publishers = [
        back_end(&scene.suite, &store, large()).await,
        back_end(&scene.suite, &store, large()).await,
    ];
    for client in scene.ids {
        assert_eq!(join(&publishers[0], client, None).await.count, 0);
    }
    join_all(publishers.iter().map(async |publisher| {
        for number in 0..500 {
            publisher.publish(room(), format!("{number}")).await.unwrap();
        }
    }))
    .await;
    for browser in &mut scene.browsers {
        assert_eq!(browser.receive_text().await, "joined:0");
        assert_eq!(offsets_until(browser, 1000).await, all(1, 1000));
    }
    // A client that joins plainly begins with the next message.
    let Scene { suite, cluster, .. } = &scene;
    cluster.flush().await.unwrap();
    assert_eq!(suite.gateways.len(), 2);
}

async fn appended_message_that_was_never_sent_is_filled(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let store = Fallible::new();
    let publisher = back_end(&scene.suite, &store, large()).await;
    for client in scene.ids {
        join(&publisher, client, None).await;
    }
    publisher.publish(room(), "sent").await.unwrap();
    for _ in 0..700 {
        append(&store, "lost", large(), false).await;
    }
    publisher.publish(room(), "sent").await.unwrap();
    for browser in &mut scene.browsers {
        assert_eq!(browser.receive_text().await, "joined:0");
        assert_eq!(offsets_until(browser, 702).await, all(1, 702));
    }
}

async fn last_message_of_a_quiet_stream_comes_although_its_worker_has_died(threads: usize) {
    let (mut scene, workers) = Scene::with_workers(threads).await;
    let store = Fallible::new();
    let publisher = back_end(&scene.suite, &store, large()).await;
    for client in scene.ids {
        join(&publisher, client, None).await;
    }
    append(&store, "lost", large(), false).await;
    drop(workers);
    for browser in &mut scene.browsers {
        assert_eq!(browser.receive_text().await, "joined:0");
        assert_eq!(browser.receive_text().await, "1:lost");
    }
}

async fn messages_that_cannot_be_had_end_in_a_reset(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let store = Fallible::new();
    let small = Rule::new(2, Duration::from_secs(60), 1 << 20).unwrap();
    let publisher = back_end(&scene.suite, &store, small).await;
    for client in scene.ids {
        join(&publisher, client, None).await;
    }
    for _ in 0..5 {
        append(&store, "lost", small, false).await;
    }
    publisher.publish(room(), "sent").await.unwrap();
    for browser in &mut scene.browsers {
        assert_eq!(browser.receive_text().await, "joined:0");
        assert_eq!(browser.receive_text().await, "reset:trimmed");
        assert_eq!(browser.receive_text().await, "6:sent");
    }
}

async fn new_epoch_ends_in_a_reset(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let store = Fallible::new();
    let publisher = back_end(&scene.suite, &store, large()).await;
    for client in scene.ids {
        join(&publisher, client, None).await;
    }
    let before = publisher.publish(room(), "before").await.unwrap().position.unwrap();
    let lost = append(&store, "lost", large(), true).await;
    assert_ne!(lost.epoch, before.epoch);
    let after = publisher.publish(room(), "after").await.unwrap().position.unwrap();
    assert_eq!(after, lost.next());
    for browser in &mut scene.browsers {
        assert_eq!(browser.receive_text().await, "joined:0");
        assert_eq!(browser.receive_text().await, "1:before");
        assert_eq!(browser.receive_text().await, "reset:epoch");
        assert_eq!(browser.receive_text().await, format!("{}:after", after.offset));
    }
    let recovery = join(&publisher, scene.ids[0], Some(before)).await;
    assert_eq!(recovery.reason, Some(NotRecovered::Epoch));
}

async fn message_is_not_for_an_excluded_client(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let store = Fallible::new();
    let publisher = back_end(&scene.suite, &store, large()).await;
    for client in [scene.ids[0], scene.ids[1]] {
        join(&publisher, client, None).await;
    }
    let echo = publisher.publish_except(room(), &[scene.ids[0]], "echo").await.unwrap();
    let start = Position { offset: 0, ..echo.position.unwrap() };
    publisher.publish(room(), "next").await.unwrap();
    for (client, expected) in
        [(0, vec!["joined:0", "2:next"]), (1, vec!["joined:0", "1:echo", "2:next"])]
    {
        for text in expected {
            assert_eq!(scene.browsers[client].receive_text().await, text);
        }
    }
    // Nor when it is read from the store.
    let recovery = join(&publisher, scene.ids[0], Some(start)).await;
    assert_eq!(recovery.count, 2);
    assert_eq!(scene.browsers[0].receive_text().await, "2:next");
    assert_eq!(scene.browsers[0].receive_text().await, "joined:2");
    // A command of a peer that knows no store is in order as well.
    let mut peer = scene.suite.peer(1).await;
    let position = Position { offset: 3, ..start };
    let (message, exclude) = (Message::text("3:raw"), Excluded::default());
    let command = Command::Publish { stream: room(), position, exclude, shard: None, message };
    peer.command(command).await;
    assert_eq!(scene.browsers[1].receive_text().await, "3:raw");
}

/// A worker that adds each client to the stream and publishes its messages.
struct Publisher {
    /// Handlers that are to fail behind what they publish.
    failures: AtomicUsize,
    /// Whether the handler of this message does not end.
    hangs: bool,
}

impl Publisher {
    async fn end(&self) -> anyhow::Result<()> {
        let next = |failures: usize| failures.checked_sub(1);
        match self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => anyhow::bail!("to be repeated"),
            Err(_) => Ok(()),
        }
    }
}

impl Worker for Publisher {
    async fn on_websocket_connect(&self, client: &Client, _: &Handshake) -> anyhow::Result<()> {
        client.join_stream(room(), None).await?;
        self.end().await
    }

    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        for _ in 0..2 {
            client.cluster().publish(room(), message.body.clone()).await?;
        }
        if self.hangs && &message.body[..] == b"b" {
            std::future::pending::<()>().await;
        }
        self.end().await
    }
}

/// Starts a worker, and returns its task.
async fn start(
    suite: &Suite,
    store: &Arc<Fallible>,
    publisher: Publisher,
    id: &str,
) -> JoinHandle<anyhow::Result<()>> {
    let shared: Arc<dyn StreamStore> = store.clone();
    let registers = suite.register_addrs.iter().map(ToString::to_string);
    let config = push_suite_worker::Config::new(registers, suite.secret())
        .id(id)
        .threads(1)
        .handler_retries(2)
        .tls(suite.tls())
        .streams(Streams::shared(shared, Numbered(large())));
    let starting = Starting::new(None, CancellationToken::new(), Duration::from_secs(5));
    let health = starting.health.clone();
    let task = tokio::spawn(serve(publisher, config, starting));
    eventually("a worker to be linked", async || health.is_ready().then_some(())).await;
    task
}

async fn repeated_handler_publishes_and_recovers_once(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let store = Fallible::new();
    let publisher = Publisher { failures: AtomicUsize::new(4), hangs: false };
    let first = start(&suite, &store, publisher, "1").await;
    let mut browser = suite.browser(0).await;
    assert_eq!(browser.receive_text().await, "joined:0");
    browser.send("a").await;
    assert_eq!(browser.receive_text().await, "1:a");
    assert_eq!(browser.receive_text().await, "2:a");
    // The next worker dies behind what it has published, and another one has the event again.
    first.abort();
    let publisher = Publisher { failures: AtomicUsize::new(0), hangs: true };
    let second = start(&suite, &store, publisher, "2").await;
    browser.send("b").await;
    assert_eq!(browser.receive_text().await, "3:b");
    assert_eq!(browser.receive_text().await, "4:b");
    second.abort();
    let publisher = Publisher { failures: AtomicUsize::new(0), hangs: false };
    let _third = start(&suite, &store, publisher, "3").await;
    browser.send("c").await;
    assert_eq!(browser.receive_text().await, "5:c");
    assert_eq!(browser.receive_text().await, "6:c");
    let read = Read { stream: room(), range: Range::Top, limit: Limit::default() };
    assert_eq!(store.store.read(read).await.unwrap().top().offset, 6);
}

#[tokio::test]
async fn without_a_store_messages_have_no_position_and_no_client_recovers() {
    let mut scene = Scene::start(1).await;
    for (cluster, text) in [
        (scene.suite.cluster().await, "x"),
        (with_streams(&scene.suite, Streams::without_store(Numbered(large()))).await, "-:x"),
    ] {
        let recovery = join(&cluster, scene.ids[0], None).await;
        assert_eq!((recovery.recovered, recovery.reason), (false, Some(NotRecovered::Unavailable)));
        assert_eq!(cluster.publish(room(), "x").await.unwrap().position, None);
        assert_eq!(scene.browsers[0].receive_text().await, text);
        let error = cluster.stream_history(room(), Range::Newest, Limit::default()).await;
        assert!(matches!(error, Err(Error::NoStore)));
    }
}

#[tokio::test]
async fn message_that_the_store_does_not_take_is_delivered_if_set_and_breaks_the_epoch() {
    let mut scene = Scene::start(1).await;
    let store = Fallible::new();
    let shared: Arc<dyn StreamStore> = store.clone();
    let streams = Streams::shared(shared, Numbered(large())).delivers_unrecorded(true);
    let cluster = with_streams(&scene.suite, streams).await;
    join(&cluster, scene.ids[0], None).await;
    let first = cluster.publish(room(), "first").await.unwrap().position.unwrap();
    store.is_down.store(true, Ordering::Relaxed);
    assert_eq!(cluster.publish(room(), "unrecorded").await.unwrap().position, None);
    store.is_down.store(false, Ordering::Relaxed);
    let recovery = join(&cluster, scene.ids[1], Some(first)).await;
    assert_eq!(recovery.reason, Some(NotRecovered::Unavailable), "it has missed one");
    let next = cluster.publish(room(), "next").await.unwrap().position.unwrap();
    assert_ne!(next.epoch, first.epoch);
    for text in ["joined:0", "1:first", "-:unrecorded", "reset:epoch"] {
        assert_eq!(scene.browsers[0].receive_text().await, text);
    }
    let recovery = join(&cluster, scene.ids[2], Some(first)).await;
    assert_eq!(recovery.reason, Some(NotRecovered::Epoch));
    let page = cluster.stream_history(room(), Range::Newest, Limit::default()).await.unwrap();
    let Reading::Page(page) = page else { panic!("{page:?}") };
    assert_eq!(page.items.last().map(|item| item.payload.clone()), Some(Bytes::from("next")));
    assert_eq!(cluster.delete_stream(room()).await.unwrap(), next);
}
