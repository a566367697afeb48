//! Which worker hears of a client, and what happens to clients when workers come and go.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    Answer, Command, ConnectionId, Event, Message, Query, Session,
    link::{Delivery, ToGateway},
};
use suite_tests::{Browser, Heard, Peer, Raw, Suite, eventually, on_one_and_three_threads};

on_one_and_three_threads!(
    clients_spread_over_the_workers_and_stay_with_theirs,
    a_workers_clients_go_to_the_others_when_it_leaves,
    a_leaving_worker_may_finish_what_it_has,
    no_client_is_closed_when_its_worker_dies_and_nothing_is_lost,
    what_was_done_is_not_told_again,
    a_worker_that_comes_late_hears_all_that_happened,
    a_client_that_leaves_while_there_is_no_worker_is_still_told_of,
    without_a_worker_a_client_is_told_to_try_again_later,
    a_newer_link_of_the_same_worker_replaces_the_older,
    a_session_changed_by_another_is_told_with_the_next_event,
);

async fn clients_spread_over_the_workers_and_stay_with_theirs(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut workers = [suite.worker_link(0, "w:1").await, suite.worker_link(0, "w:2").await];
    let mut browsers = Vec::new();
    for _ in 0..12 {
        browsers.push(suite.browser(0).await);
    }
    for browser in &mut browsers {
        browser.send("hello").await;
    }
    // Each says something, and its worker hears all of it.
    let mut heard = [BTreeMap::new(), BTreeMap::new()];
    eventually("three events of each client", async || {
        for (worker, heard) in workers.iter_mut().zip(&mut heard) {
            while !worker.has_no_event().await {
                let delivery = worker.event().await;
                worker.done(&delivery).await;
                heard.entry(delivery.client).or_insert_with(Vec::new).push(delivery.event);
            }
        }
        let events = heard.iter().flat_map(BTreeMap::values).map(Vec::len);
        (events.sum::<usize>() == 3 * 12).then_some(())
    })
    .await;
    for events in heard.iter().flat_map(BTreeMap::values) {
        assert_eq!(events.len(), 3, "one worker hears all of a client: {events:?}");
    }
    let sizes = heard.each_ref().map(BTreeMap::len);
    assert_eq!(sizes[0] + sizes[1], 12, "each client has one worker");
    // Each shard spreads its own clients, so each may be off by one.
    assert!(sizes[0].abs_diff(sizes[1]) <= threads, "{sizes:?}");
}

async fn a_workers_clients_go_to_the_others_when_it_leaves(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut first = suite.worker_link(0, "w:1").await;
    let mut clients = welcomed(&suite, &mut first, 6).await;
    let mut second = suite.worker_link(0, "w:2").await;
    first.say(&ToGateway::Leaving).await;
    // The gateway took that before it answers this.
    assert!(first.has_no_event().await);
    let mut reassigned = BTreeSet::new();
    for _ in &clients {
        let delivery = second.event().await;
        second.done(&delivery).await;
        assert_eq!(delivery.event, Event::Adopt);
        assert!(delivery.context.is_some(), "the first on this link tells what there is to know");
        assert!(!delivery.redelivered);
        reassigned.insert(delivery.client);
    }
    assert_eq!(reassigned, clients.iter().map(|(_, id)| *id).collect());
    for (browser, id) in &mut clients {
        browser.send("who hears me?").await;
        assert_eq!(second.event_of(*id).await, Event::Message("who hears me?".into()));
    }
    assert!(first.has_no_event().await);
}

async fn a_leaving_worker_may_finish_what_it_has(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut first = suite.worker_link(0, "w:1").await;
    let mut clients = welcomed(&suite, &mut first, 1).await;
    let mut second = suite.worker_link(0, "w:2").await;
    let (ann, id) = &mut clients[0];
    ann.send("begun").await;
    let begun = first.event().await;
    first.say(&ToGateway::Leaving).await;
    assert!(first.has_no_event().await);
    ann.send("next").await;
    let message = Message::text("finished");
    first.command(Command::SendToClient { to: *id, message }).await;
    assert_eq!(ann.hears_text().await, "finished");
    first.done(&begun).await;
    drop(first);
    // What was begun is done, so only what came after it is told.
    assert_eq!(second.event_of(*id).await, Event::Message("next".into()));
    assert!(second.has_no_event().await);
}

async fn no_client_is_closed_when_its_worker_dies_and_nothing_is_lost(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut first = suite.worker_link(0, "w:1").await;
    let mut clients = welcomed(&suite, &mut first, 4).await;
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
    let mut heard = BTreeMap::<_, Vec<Delivery>>::new();
    for _ in 0..21 * clients.len() {
        let delivery = second.event().await;
        second.done(&delivery).await;
        heard.entry(delivery.client).or_default().push(delivery);
    }
    let mut again = 0;
    for (browser, id) in &mut clients {
        let deliveries = &heard[id];
        for (at, delivery) in deliveries.iter().enumerate() {
            assert_eq!(delivery.event, Event::Message(at.to_string().into()), "of {id}");
        }
        assert!(deliveries[0].context.is_some());
        let told_again = deliveries.iter().take_while(|delivery| delivery.redelivered).count();
        let new = deliveries.iter().skip(told_again).filter(|delivery| delivery.redelivered);
        assert_eq!(new.count(), 0, "what was told before comes first");
        again += told_again;
        second.command(Command::SendToClient { to: *id, message: "still here".into() }).await;
        assert_eq!(browser.hears_text().await, "still here");
    }
    assert!(30 <= again, "only {again} were told again, but 30 were read for sure");
    assert!(second.has_no_event().await);
}

async fn what_was_done_is_not_told_again(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut first = suite.worker_link(0, "w:1").await;
    let mut clients = welcomed(&suite, &mut first, 1).await;
    let (ann, id) = &mut clients[0];
    let mut deliveries = Vec::new();
    for at in 0..10 {
        ann.send(at.to_string()).await;
        deliveries.push(first.event().await);
    }
    // Out of order, as handlers of different clients finish.
    for at in [7, 0, 2, 1] {
        first.done(&deliveries[at]).await;
    }
    assert!(first.has_no_event().await);
    drop(first);
    let mut second = suite.worker_link(0, "w:2").await;
    for at in [3, 4, 5, 6, 8, 9] {
        let delivery = second.event().await;
        assert_eq!(delivery.event, Event::Message(at.to_string().into()));
        assert!(delivery.redelivered);
        assert_eq!(delivery.client, *id);
        second.done(&delivery).await;
    }
    assert!(second.has_no_event().await);
}

async fn a_worker_that_comes_late_hears_all_that_happened(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut ann = suite.browser(0).await;
    ann.send("is anybody there?").await;
    ann.send("hello?").await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let id = worker.welcomes().await;
    assert_eq!(worker.event_of(id).await, Event::Message("is anybody there?".into()));
    assert_eq!(worker.event_of(id).await, Event::Message("hello?".into()));
    worker.command(Command::SendToClient { to: id, message: "yes".into() }).await;
    assert_eq!(ann.hears_text().await, "yes");
}

async fn a_client_that_leaves_while_there_is_no_worker_is_still_told_of(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut clients = welcomed(&suite, &mut worker, 2).await;
    drop(worker);
    eventually("the worker to be gone", async || {
        (suite.gateways[0].metric("gateway_workers").await? == 0.0).then_some(())
    })
    .await;
    // Every shard knows too, once it has answered.
    suite.peer(0).await.ask(Query::Groups).await;
    let (ann, ann_id) = clients.remove(0);
    ann.close().await;
    let mut worker = suite.worker_link(0, "w:2").await;
    let stayed = clients[0].1;
    for _ in 0..2 {
        let told = worker.event().await;
        worker.done(&told).await;
        match told.event {
            Event::Close(_) => assert_eq!(told.client, ann_id),
            other => assert_eq!((told.client, other), (stayed, Event::Adopt), "it is w:2's now"),
        }
    }
    assert!(worker.has_no_event().await);
}

async fn without_a_worker_a_client_is_told_to_try_again_later(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_flag("--no-worker-timeout", "1").start().await;
    let mut ann = suite.browser(0).await;
    assert_eq!(ann.hears().await, Heard::End(Some(1013)));
    // With a worker, a client may be as silent as it likes.
    let mut worker = suite.worker_link(0, "w:1").await;
    // Ann may or may not be told of: nobody ever heard of her. Bob comes now.
    let mut bob = Raw::websocket(suite.gateways[0].clients).await;
    let id = loop {
        let delivery = worker.event().await;
        worker.done(&delivery).await;
        if matches!(delivery.event, Event::WebSocketConnect(_))
            && worker.ask(Query::IsOnline { client: delivery.client }).await == Answer::Online(true)
        {
            break delivery.client;
        }
    };
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    worker.command(Command::SendToClient { to: id, message: "still here".into() }).await;
    assert_eq!(bob.frame().await.unwrap().payload, b"still here");
}

async fn a_newer_link_of_the_same_worker_replaces_the_older(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut older = suite.worker_link(0, "w:1").await;
    let mut clients = welcomed(&suite, &mut older, 2).await;
    let mut newer = suite.worker_link(0, "w:1").await;
    older.ends().await;
    for _ in &clients {
        let adopted = newer.event().await;
        assert_eq!(adopted.event, Event::Adopt);
        newer.done(&adopted).await;
    }
    for (browser, id) in &mut clients {
        browser.send("hello").await;
        assert_eq!(newer.event_of(*id).await, Event::Message("hello".into()));
    }
}

async fn a_session_changed_by_another_is_told_with_the_next_event(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut clients = welcomed(&suite, &mut worker, 1).await;
    let (ann, id) = &mut clients[0];
    let session = Session::from_encoded(r#"{"a":1}"#.into()).unwrap();

    let set = Command::SetSession { client: *id, edit: 1, session: session.clone() };
    let mut other = suite.peer(0).await;
    other.command(set.clone()).await;
    other.taken().await;
    ann.send("one").await;
    let told = worker.event().await;
    worker.done(&told).await;
    assert_eq!(told.context.expect("what changed").session, session);

    // What a worker changed itself, it knows.
    ann.send("two").await;
    let known = worker.event().await;
    worker.done(&known).await;
    assert_eq!(known.context, None);
    worker.command(set).await;
    worker.taken().await;
    ann.send("three").await;
    let own = worker.event().await;
    assert_eq!(own.context, None);
}

async fn welcomed(
    suite: &Suite,
    worker: &mut Peer,
    clients: usize,
) -> Vec<(Browser, ConnectionId)> {
    let mut welcomed = Vec::new();
    for _ in 0..clients {
        welcomed.push((suite.browser(0).await, worker.welcomes().await));
    }
    welcomed
}
