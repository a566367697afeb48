//! Assignment of clients to workers, and reassignment when workers join and leave.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    Answer, Command, Event, Message, Query, Session,
    link::{Delivery, ToGateway},
};
use suite_tests::{Raw, Received, Suite, eventually, on_one_and_three_threads};

on_one_and_three_threads!(
    clients_are_spread_over_workers_and_stay_assigned,
    clients_of_a_leaving_worker_are_reassigned,
    leaving_worker_may_finish_events_in_flight,
    dead_worker_costs_no_client_and_no_event,
    acknowledged_events_are_not_redelivered,
    late_worker_receives_all_unassigned_events,
    close_without_a_worker_is_delivered_to_the_next_worker,
    client_without_a_worker_is_closed_with_1013,
    newer_link_of_a_worker_replaces_the_older,
    session_changed_by_another_peer_comes_with_the_next_event,
);

async fn clients_are_spread_over_workers_and_stay_assigned(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut workers = [suite.worker_link(0, "w:1").await, suite.worker_link(0, "w:2").await];
    let mut browsers = Vec::new();
    for _ in 0..12 {
        browsers.push(suite.browser(0).await);
    }
    for browser in &mut browsers {
        browser.send("hello").await;
    }
    // Each sends something, and its worker receives all of it.
    let mut received = [BTreeMap::new(), BTreeMap::new()];
    eventually("three events of each client", async || {
        for (worker, received) in workers.iter_mut().zip(&mut received) {
            while !worker.has_no_event().await {
                let delivery = worker.event().await;
                worker.ack(&delivery).await;
                received.entry(delivery.client).or_insert_with(Vec::new).push(delivery.event);
            }
        }
        let events = received.iter().flat_map(BTreeMap::values).map(Vec::len);
        (events.sum::<usize>() == 3 * 12).then_some(())
    })
    .await;
    for events in received.iter().flat_map(BTreeMap::values) {
        assert_eq!(events.len(), 3, "one worker receives all events of a client: {events:?}");
    }
    let sizes = received.each_ref().map(BTreeMap::len);
    assert_eq!(sizes[0] + sizes[1], 12, "each client has one worker");
    // Each shard distributes its own clients, so each may be off by one.
    assert!(sizes[0].abs_diff(sizes[1]) <= threads, "{sizes:?}");
}

async fn clients_of_a_leaving_worker_are_reassigned(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut first = suite.worker_link(0, "w:1").await;
    let mut clients = suite.accepted_clients(&mut first, 6).await;
    let mut second = suite.worker_link(0, "w:2").await;
    first.send(&ToGateway::Leaving).await;
    // The gateway has processed it once it answers this.
    assert!(first.has_no_event().await);
    let mut reassigned = BTreeSet::new();
    for _ in &clients {
        let delivery = second.event().await;
        second.ack(&delivery).await;
        assert_eq!(delivery.event, Event::Reassigned);
        assert!(delivery.context.is_some(), "the first event on a link carries the context");
        assert!(!delivery.redelivered);
        reassigned.insert(delivery.client);
    }
    assert_eq!(reassigned, clients.iter().map(|(_, id)| *id).collect());
    for (browser, id) in &mut clients {
        browser.send("hello?").await;
        assert_eq!(second.event_of(*id).await, Event::Message("hello?".into()));
    }
    assert!(first.has_no_event().await);
}

async fn leaving_worker_may_finish_events_in_flight(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut first = suite.worker_link(0, "w:1").await;
    let mut clients = suite.accepted_clients(&mut first, 1).await;
    let mut second = suite.worker_link(0, "w:2").await;
    let (ann, id) = &mut clients[0];
    ann.send("begun").await;
    let begun = first.event().await;
    first.send(&ToGateway::Leaving).await;
    assert!(first.has_no_event().await);
    ann.send("next").await;
    let message = Message::text("finished");
    first.command(Command::SendToClient { to: *id, message }).await;
    assert_eq!(ann.receive_text().await, "finished");
    first.ack(&begun).await;
    drop(first);
    // The first event is acknowledged, so only the second is delivered.
    assert_eq!(second.event_of(*id).await, Event::Message("next".into()));
    assert!(second.has_no_event().await);
}

async fn dead_worker_costs_no_client_and_no_event(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut first = suite.worker_link(0, "w:1").await;
    let mut clients = suite.accepted_clients(&mut first, 4).await;
    let mut second = suite.worker_link(0, "w:2").await;
    for at in 0..20 {
        for (browser, _) in &mut clients {
            browser.send(at.to_string()).await;
        }
    }
    for _ in 0..30 {
        first.event().await;
    }
    drop(first);
    for (browser, _) in &mut clients {
        browser.send("20").await;
    }
    let mut received = BTreeMap::<_, Vec<Delivery>>::new();
    for _ in 0..21 * clients.len() {
        let delivery = second.event().await;
        second.ack(&delivery).await;
        received.entry(delivery.client).or_default().push(delivery);
    }
    let mut again = 0;
    for (browser, id) in &mut clients {
        let deliveries = &received[id];
        for (at, delivery) in deliveries.iter().enumerate() {
            assert_eq!(delivery.event, Event::Message(at.to_string().into()), "of {id}");
        }
        assert!(deliveries[0].context.is_some());
        let redelivered = deliveries.iter().take_while(|delivery| delivery.redelivered).count();
        let new = deliveries.iter().skip(redelivered).filter(|delivery| delivery.redelivered);
        assert_eq!(new.count(), 0, "redelivered events come first");
        again += redelivered;
        second.command(Command::SendToClient { to: *id, message: "still here".into() }).await;
        assert_eq!(browser.receive_text().await, "still here");
    }
    assert!(30 <= again, "only {again} were redelivered, although 30 were read");
    assert!(second.has_no_event().await);
}

async fn acknowledged_events_are_not_redelivered(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut first = suite.worker_link(0, "w:1").await;
    let mut clients = suite.accepted_clients(&mut first, 1).await;
    let (ann, id) = &mut clients[0];
    let mut deliveries = Vec::new();
    for at in 0..10 {
        ann.send(at.to_string()).await;
        deliveries.push(first.event().await);
    }
    // Out of order, like handlers of different clients.
    for at in [7, 0, 2, 1] {
        first.ack(&deliveries[at]).await;
    }
    assert!(first.has_no_event().await);
    drop(first);
    let mut second = suite.worker_link(0, "w:2").await;
    for at in [3, 4, 5, 6, 8, 9] {
        let delivery = second.event().await;
        assert_eq!(delivery.event, Event::Message(at.to_string().into()));
        assert!(delivery.redelivered);
        assert_eq!(delivery.client, *id);
        second.ack(&delivery).await;
    }
    assert!(second.has_no_event().await);
}

async fn late_worker_receives_all_unassigned_events(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut ann = suite.browser(0).await;
    ann.send("is a worker linked?").await;
    ann.send("hello?").await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let id = worker.accept_client().await;
    assert_eq!(worker.event_of(id).await, Event::Message("is a worker linked?".into()));
    assert_eq!(worker.event_of(id).await, Event::Message("hello?".into()));
    worker.command(Command::SendToClient { to: id, message: "yes".into() }).await;
    assert_eq!(ann.receive_text().await, "yes");
}

async fn close_without_a_worker_is_delivered_to_the_next_worker(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut clients = suite.accepted_clients(&mut worker, 2).await;
    drop(worker);
    suite.gateways[0].wait_for_metric("pushsuite_gateway_workers", 0.0).await;
    // Every shard has processed it once this is answered.
    suite.peer(0).await.query(Query::Groups).await;
    let (ann, ann_id) = clients.remove(0);
    ann.close().await;
    let mut worker = suite.worker_link(0, "w:2").await;
    let stayed = clients[0].1;
    for _ in 0..2 {
        let delivery = worker.event().await;
        worker.ack(&delivery).await;
        match delivery.event {
            Event::Close(_) => assert_eq!(delivery.client, ann_id),
            other => {
                assert_eq!(
                    (delivery.client, other),
                    (stayed, Event::Reassigned),
                    "it is assigned to w:2"
                )
            }
        }
    }
    assert!(worker.has_no_event().await);
}

async fn client_without_a_worker_is_closed_with_1013(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_flag("--no-worker-timeout", "1").start().await;
    let mut ann = suite.browser(0).await;
    assert_eq!(ann.receive().await, Received::Closed(Some(1013)));
    // With a worker, a client may be idle.
    let mut worker = suite.worker_link(0, "w:1").await;
    // Events of Ann may or may not be delivered, since no worker received any. Bob connects now.
    let mut bob = Raw::websocket(suite.gateways[0].clients).await;
    let id = loop {
        let delivery = worker.event().await;
        worker.ack(&delivery).await;
        if matches!(delivery.event, Event::WebSocketConnect(_))
            && worker.query(Query::IsOnline { client: delivery.client }).await
                == Answer::Online(true)
        {
            break delivery.client;
        }
    };
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    worker.command(Command::SendToClient { to: id, message: "still here".into() }).await;
    assert_eq!(bob.frame().await.unwrap().payload, b"still here");
}

async fn newer_link_of_a_worker_replaces_the_older(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut older = suite.worker_link(0, "w:1").await;
    let mut clients = suite.accepted_clients(&mut older, 2).await;
    let mut newer = suite.worker_link(0, "w:1").await;
    older.closed().await;
    for _ in &clients {
        let reassigned = newer.event().await;
        assert_eq!(reassigned.event, Event::Reassigned);
        newer.ack(&reassigned).await;
    }
    for (browser, id) in &mut clients {
        browser.send("hello").await;
        assert_eq!(newer.event_of(*id).await, Event::Message("hello".into()));
    }
}

async fn session_changed_by_another_peer_comes_with_the_next_event(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut clients = suite.accepted_clients(&mut worker, 1).await;
    let (ann, id) = &mut clients[0];
    let session = Session::from_encoded(r#"{"a":1}"#.into()).unwrap();

    let set = Command::SetSession { client: *id, edit: 1, session: session.clone() };
    let mut other = suite.peer(0).await;
    other.command(set.clone()).await;
    other.acknowledged().await;
    ann.send("one").await;
    let delivery = worker.event().await;
    worker.ack(&delivery).await;
    assert_eq!(delivery.context.expect("the changed context").session, session);

    // A change by the worker itself is not sent back.
    ann.send("two").await;
    let known = worker.event().await;
    worker.ack(&known).await;
    assert_eq!(known.context, None);
    worker.command(set).await;
    worker.acknowledged().await;
    ann.send("three").await;
    let own = worker.event().await;
    assert_eq!(own.context, None);
}
