//! Clients that come back to a stream: recovered as a whole, or not at all.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{cell::Cell, sync::atomic::Ordering, time::Duration};

use futures_util::future::join_all;
use protocol::{
    Answer, ClientId, CloseReason, Command, Event, Position, Query,
    streaming::{Enclosed, Held, Hold, Release, Released},
};
use push_suite_cluster::{Error, Message, NotRecovered, store::Rule};
use suite_tests::{
    Received, Scene, Suite,
    names::group,
    on_one_and_three_threads,
    streams::{Fallible, all, append, back_end, join, large, offsets_until, room},
};
use tokio::time::sleep;

on_one_and_three_threads!(
    clients_recover_while_ten_thousand_messages_are_published,
    client_without_everything_has_not_recovered,
    hold_of_a_worker_that_dies_ends_with_the_notice,
    hold_that_is_full_has_the_store_read_again,
    client_that_is_closed_while_it_recovers_leaves_nothing_behind,
    slow_client_is_closed_and_recovers_as_a_whole_or_not_at_all,
);

/// Clients join, leave and come back with a position, again and again, while messages are published.
async fn clients_recover_while_ten_thousand_messages_are_published(threads: usize) {
    const MESSAGES: u64 = 10_000;
    let scene = Scene::start(threads).await;
    let store = Fallible::new();
    let publisher = back_end(&scene.suite, &store, large()).await;
    let start = append(&store, "first", large(), false).await;
    // The publisher is not so far ahead that a client misses more than may be sent.
    let reached = [const { Cell::new(0) }; 4];
    let publishing = async {
        for number in 0..MESSAGES {
            while reached.iter().map(Cell::get).min().unwrap() + 3000 < number {
                sleep(Duration::from_millis(1)).await;
            }
            publisher.publish(room(), format!("{number}")).await.unwrap();
        }
    };
    let other = back_end(&scene.suite, &store, large()).await;
    let other = &other;
    let Scene { browsers, ids, .. } = scene;
    let clients = browsers.into_iter().zip(ids).zip(&reached);
    let clients = clients.map(async |((mut browser, id), reached)| {
        let (mut at, mut recoveries) = (start.offset, 0);
        while at <= MESSAGES {
            let after = Position { offset: at, ..start };
            let recovery = join(other, id, Some(after)).await;
            assert!(recovery.recovered, "{recovery:?}");
            recoveries += 1;
            let mut count = 0;
            // Some messages, as long as there are any.
            for live in 0..200 {
                let text = browser.receive_text().await;
                if let Some(number) = text.strip_prefix("joined:") {
                    assert_eq!(number.parse(), Ok(recovery.count));
                    assert_eq!(count, recovery.count, "all of them come before the others");
                } else {
                    let (offset, _) = text.split_once(':').unwrap();
                    at += 1;
                    assert_eq!(offset.parse(), Ok(at), "{text}");
                    reached.set(at);
                    count += 1;
                }
                if MESSAGES < at || (live == 199 && count <= recovery.count) {
                    break;
                }
            }
            // Messages on their way are dropped with the marker behind them, as by a lost client.
            other.leave_group(id, group("room")).await.unwrap();
            other.send_to_client(id, "left").await.unwrap();
            while browser.receive_text().await != "left" {}
        }
        recoveries
    });
    let ((), recoveries) = tokio::join!(publishing, join_all(clients));
    assert!(recoveries.iter().all(|recoveries| 3 < *recoveries), "{recoveries:?}");
}

async fn client_without_everything_has_not_recovered(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let store = Fallible::new();
    let small = Rule::new(3, Duration::from_secs(60), 1 << 20).unwrap();
    let publisher = back_end(&scene.suite, &store, small).await;
    let mut top = append(&store, "1", small, false).await;
    for number in 2..=5 {
        top = append(&store, &number.to_string(), small, false).await;
    }
    let at = |offset| Some(Position { offset, ..top });
    let cases = [
        (1, Some(NotRecovered::Trimmed), vec!["not recovered:trimmed"]),
        (2, None, vec!["3:3", "4:4", "5:5", "joined:3"]),
        (5, None, vec!["joined:0"]),
        (6, Some(NotRecovered::Ahead), vec!["not recovered:ahead"]),
    ];
    for ((offset, reason, expected), client) in cases.into_iter().zip(0..) {
        let recovery = join(&publisher, scene.ids[client], at(offset)).await;
        assert_eq!((recovery.reason, recovery.position), (reason, Some(top)));
        for text in expected {
            assert_eq!(scene.browsers[client].receive_text().await, text);
        }
    }
    publisher.publish(room(), "live").await.unwrap();
    for browser in &mut scene.browsers {
        assert_eq!(browser.receive_text().await, "6:live");
    }
    // A store that is out of reach: the client goes on with what is published later.
    store.is_down.store(true, Ordering::Relaxed);
    let recovery = join(&publisher, scene.ids[0], at(5)).await;
    assert_eq!(recovery.reason, Some(NotRecovered::Unavailable));
    let error = publisher.publish(room(), "refused").await.unwrap_err();
    assert!(matches!(error, Error::Store(_)) && error.is_retryable(), "{error}");
    store.is_down.store(false, Ordering::Relaxed);
    publisher.publish(room(), "again").await.unwrap();
    assert_eq!(scene.browsers[0].receive_text().await, "not recovered:unavailable");
    assert_eq!(scene.browsers[0].receive_text().await, "7:again");
}

fn hold(client: ClientId, number: u64) -> Query {
    Query::HoldStream(Box::new(Hold {
        client: client.connection,
        number,
        stream: room(),
        joins: true,
        lost: Enclosed(Message::text("lost")),
        ordinal: 0,
    }))
}

fn release(client: ClientId, number: u64, top: Position) -> Query {
    Query::ReleaseStream(Box::new(Release {
        client: client.connection,
        number,
        stream: room(),
        top: Some(top),
        recovered: true,
        messages: vec![Enclosed(Message::text("missed"))],
    }))
}

async fn hold_of_a_worker_that_dies_ends_with_the_notice(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let mut worker = scene.suite.worker_link(0, "w:2").await;
    assert_eq!(worker.query(hold(scene.ids[0], 7)).await, Answer::Held(Held::Held));
    drop(worker);
    assert_eq!(scene.browsers[0].receive_text().await, "lost");
    // The next worker repeats the handler.
    let mut worker = scene.suite.worker_link(0, "w:3").await;
    let ended = Answer::Held(Held::Ended { recovered: false });
    assert_eq!(worker.query(hold(scene.ids[0], 7)).await, ended);
}

async fn hold_that_is_full_has_the_store_read_again(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let store = Fallible::new();
    let publisher = back_end(&scene.suite, &store, large()).await;
    let start = publisher.publish(room(), "before").await.unwrap().position.unwrap();
    let mut worker = scene.suite.worker_link(0, "w:2").await;
    join(&publisher, scene.ids[0], None).await;
    let client = scene.ids[2];
    assert_eq!(worker.query(hold(client, 7)).await, Answer::Held(Held::Held));
    for _ in 0..1500 {
        publisher.publish(room(), "live").await.unwrap();
    }
    assert_eq!(scene.browsers[0].receive_text().await, "joined:0");
    offsets_until(&mut scene.browsers[0], 1501).await;
    let again = Answer::Released(Released::Again);
    assert_eq!(worker.query(release(client, 7, start)).await, again);
    let top = Position { offset: 1490, ..start };
    assert_eq!(worker.query(release(client, 7, top)).await, Answer::Released(Released::Done));
    assert_eq!(scene.browsers[2].receive_text().await, "missed");
    assert_eq!(offsets_until(&mut scene.browsers[2], 1501).await, all(1491, 1501));
}

async fn client_that_is_closed_while_it_recovers_leaves_nothing_behind(threads: usize) {
    let scene = Scene::start(threads).await;
    let store = Fallible::new();
    let publisher = back_end(&scene.suite, &store, large()).await;
    let mut worker = scene.suite.worker_link(0, "w:2").await;
    let top = publisher.publish(room(), "before").await.unwrap().position.unwrap();
    let client = scene.ids[0];
    assert_eq!(worker.query(hold(client, 7)).await, Answer::Held(Held::Held));
    worker.command(Command::Destroy { client: client.connection }).await;
    let ended = Answer::Released(Released::Ended);
    assert_eq!(worker.query(release(client, 7, top)).await, ended);
    assert_eq!(worker.query(hold(client, 8)).await, Answer::Held(Held::Offline));
    let error = publisher.join_stream(client, room(), Some(top)).await.unwrap_err();
    assert!(matches!(error, Error::Offline { .. }), "{error}");
    scene.suite.gateways[0].wait_for_metric("pushsuite_gateway_stream_holds", 0.0).await;
    // Others go on.
    publisher.publish(room(), "live").await.unwrap();
    assert_eq!(join(&publisher, scene.ids[1], Some(top)).await.count, 1);
}

async fn slow_client_is_closed_and_recovers_as_a_whole_or_not_at_all(threads: usize) {
    let suite = Suite::builder()
        .threads(threads)
        .gateway_flag("--send-to-client-buffer-size", "65536")
        .start()
        .await;
    let store = Fallible::new();
    let publisher = back_end(&suite, &store, large()).await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut slow = suite.browser(0).await;
    let id = ClientId::new(suite.gateways[0].inner, worker.accept_client().await);
    join(&publisher, id, None).await;
    assert_eq!(slow.receive_text().await, "joined:0");
    let payload = "x".repeat(50_000);
    let mut last = publisher.publish(room(), "first").await.unwrap().position.unwrap();
    for _ in 0..400 {
        last = publisher.publish(room(), payload.clone()).await.unwrap().position.unwrap();
    }
    // It reads what it got before it was closed.
    let mut at = 0;
    while let Received::Text(text) = slow.receive().await {
        at += 1;
        assert_eq!(text.split_once(':').unwrap().0.parse(), Ok(at));
    }
    assert!(at < last.offset, "it was closed");
    assert_eq!(worker.event_of(id.connection).await, Event::Close(CloseReason::Slow));
    let mut back = suite.browser(0).await;
    let id = ClientId::new(suite.gateways[0].inner, worker.accept_client().await);
    // More than may be sent: nothing partial is.
    let recovery = join(&publisher, id, Some(Position { offset: at, ..last })).await;
    assert_eq!((recovery.reason, recovery.count), (Some(NotRecovered::TooMuch), 0));
    assert_eq!(back.receive_text().await, "not recovered:too_much");
    publisher.leave_group(id, group("room")).await.unwrap();
    let after = Position { offset: last.offset - 1, ..last };
    assert_eq!(join(&publisher, id, Some(after)).await.count, 1);
    publisher.publish(room(), "live").await.unwrap();
    assert!(back.receive_text().await.starts_with(&format!("{}:x", last.offset)));
    assert_eq!(back.receive_text().await, "joined:1");
    assert_eq!(back.receive_text().await, format!("{}:live", last.offset + 1));
}
