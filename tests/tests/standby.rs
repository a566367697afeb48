//! Standbys: they receive state rather than events, as fast as they read it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::BytesMut;
use protocol::{
    Command, ConnectionId, Event, InstanceId, Message, Session,
    codec::native,
    link::{ToGateway, ToPeer},
    standby::WorkerMessage,
};
use suite_tests::{Peer, Raw, Suite, eventually, on_one_and_three_threads, suite::Builder};
use tokio::time::{Instant, sleep};

on_one_and_three_threads!(
    workers_stay_linked_with_sessions_of_any_size,
    session_update_burst_is_coalesced,
    standby_that_does_not_read_is_disconnected_and_holds_little_memory,
    standby_that_reads_slowly_stays_linked,
    standby_is_informed_before_the_owner_receives_the_client,
    clients_have_the_required_number_of_standbys,
    clients_of_a_dead_worker_are_reassigned_at_the_pace_of_the_next,
    worker_messages_are_relayed_and_those_of_other_peers_are_not,
);

const MIB: usize = 1024 * 1024;

/// A session of about this many bytes, different for each `version`.
fn session(bytes: usize, version: u64) -> Session {
    let object = serde_json::json!({ "version": version, "text": "x".repeat(bytes) });
    Session::encode(object.as_object().unwrap()).unwrap()
}

fn set(client: ConnectionId, edit: u64, bytes: usize) -> Command {
    Command::SetSession { client, edit, session: session(bytes, edit) }
}

/// A gateway and a worker link with this many clients, each with a session of this size.
async fn with_sessions(
    builder: Builder,
    clients: usize,
    bytes: usize,
) -> (Suite, Peer, Vec<(Raw, ConnectionId)>) {
    let suite = builder.gateways(1).logs("info").start().await;
    let mut owner = suite.worker_link(0, "owner:1").await;
    let mut all = Vec::new();
    for _ in 0..clients {
        let client = Raw::websocket(suite.gateways[0].clients).await;
        let id = owner.accept_client().await;
        owner.command(set(id, 1, bytes)).await;
        all.push((client, id));
        if all.len() % 20 == 0 {
            owner.acknowledged().await;
        }
    }
    owner.acknowledged().await;
    (suite, owner, all)
}

async fn metric(suite: &Suite, name: &str) -> f64 {
    suite.gateways[0].metric(name).await.unwrap()
}

async fn workers_stay_linked_with_sessions_of_any_size(threads: usize) {
    const CLIENTS: usize = 1000;
    const SESSION: usize = 150_000;
    let builder = Suite::builder().threads(threads);
    let (mut suite, mut owner, mut clients) = with_sessions(builder, CLIENTS, SESSION).await;
    let before = suite.gateways[0].resident();
    assert!(CLIENTS * SESSION < before);
    for _ in 0..2 {
        suite.spawn_worker();
    }
    let mut most = before;
    let started = Instant::now();
    loop {
        most = most.max(suite.gateways[0].resident());
        // The owner is served meanwhile.
        clients[0].0.send(&suite_tests::raw::masked(0x81, b"hello")).await;
        let hello = Event::Message(Message::text("hello"));
        assert_eq!(owner.event_of(clients[0].1).await, hello);
        let is_complete = metric(&suite, "pushsuite_gateway_standby_updates_pending").await == 0.0;
        if metric(&suite, "pushsuite_gateway_workers").await == 3.0 && is_complete {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "not complete within a minute");
    }
    assert!(most < before + before / 2, "{} MiB instead of {}", most / MIB, before / MIB);
    for worker in &mut suite.workers {
        worker.ready().await;
    }
    assert!(!suite.gateways[0].log().contains("worker disconnected"), "a worker was disconnected");
}

async fn session_update_burst_is_coalesced(threads: usize) {
    const UPDATES: u64 = 1000;
    const SESSION: usize = 2_000;
    let builder = Suite::builder().threads(threads);
    let (suite, mut owner, clients) = with_sessions(builder, 2, SESSION).await;
    let mut standby = suite.worker_link(0, "standby:1").await;
    let (changed, unchanged) = (clients[0].1, clients[1].1);
    // All in one write.
    let mut burst = BytesMut::new();
    let began = Instant::now();
    for edit in 2..2 + UPDATES {
        let changes = serde_json::json!({ "version": edit });
        let changes = Session::encode(changes.as_object().unwrap()).unwrap();
        let command = Command::UpdateSession { client: changed, edit, changes };
        let seq = 1 + edit;
        native::encode(&ToGateway::Command { seq, command }, &mut burst).unwrap();
    }
    owner.send_bytes(&burst).await;
    let last = session(SESSION, 1 + UPDATES);
    let mut updates: BTreeMap<ConnectionId, usize> = BTreeMap::new();
    loop {
        if let ToPeer::StandbySession { client, session } = standby.next().await.unwrap() {
            *updates.entry(client).or_default() += 1;
            if client == changed && session == last {
                break;
            }
        }
    }
    // A few per second, plus one per client at first.
    let ticks = began.elapsed().as_millis() as usize / 200 + 2;
    assert!(updates[&changed] <= ticks, "{updates:?} in {ticks} ticks");
    assert!(updates.get(&unchanged).is_none_or(|times| *times == 1), "{updates:?}");
    assert!(updates[&changed] < UPDATES as usize / 10, "{updates:?}");
}

/// Sends pongs, so that it does not time out, but never reads.
async fn standby_that_does_not_read_is_disconnected_and_holds_little_memory(threads: usize) {
    const SESSION: usize = 240_000;
    let builder = Suite::builder().threads(threads).gateway_flag("--peer-timeout", "3");
    let (suite, mut owner, clients) = with_sessions(builder, 20, SESSION).await;
    let gateway = &suite.gateways[0];
    let mut standby = suite.worker_link(0, "standby:1").await;
    let before = gateway.resident();
    let began = Instant::now();
    let (mut edit, mut most) = (1, before);
    while metric(&suite, "pushsuite_gateway_workers").await == 2.0 {
        assert!(began.elapsed() < Duration::from_secs(30), "it is never disconnected");
        let _ = standby.try_send(&ToGateway::Pong { token: 0 }).await;
        edit += 1;
        for (_, id) in &clients {
            owner.command(set(*id, edit, SESSION)).await;
        }
        owner.acknowledged().await;
        most = most.max(gateway.resident());
        sleep(Duration::from_millis(50)).await;
    }
    assert!(Duration::from_secs(2) < began.elapsed(), "not before the timeout");
    gateway.wait_for_log(&["worker stopped reading; link closed"]).await;
    let total = (edit as usize) * clients.len() * SESSION;
    let grown = most - before;
    assert!(grown < total / 4 && grown < 24 * MIB, "{} of {} MiB", grown / MIB, total / MIB);
}

async fn standby_that_reads_slowly_stays_linked(threads: usize) {
    const SESSION: usize = 200_000;
    let builder = Suite::builder().threads(threads).gateway_flag("--peer-timeout", "2");
    let (suite, mut owner, clients) = with_sessions(builder, 200, SESSION).await;
    let mut standby = suite.worker_link(0, "standby:1").await;
    let began = Instant::now();
    let mut read = 0;
    while began.elapsed() < Duration::from_secs(6) {
        // The buffers of the kernel must drain within the timeout.
        standby.discard(300_000).await;
        read += 300_000;
        let _ = standby.try_send(&ToGateway::Pong { token: 0 }).await;
        assert!(owner.has_no_event().await, "the owner gets no event");
        sleep(Duration::from_millis(200)).await;
    }
    assert!(read < clients.len() * SESSION, "there is more to read");
    assert_eq!(metric(&suite, "pushsuite_gateway_workers").await, 2.0);
}

async fn standby_is_informed_before_the_owner_receives_the_client(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut workers = [suite.worker_link(0, "w:1").await, suite.worker_link(0, "w:2").await];
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Raw::websocket(suite.gateways[0].clients).await);
        let owner = eventually("a worker to receive it", async || {
            for (at, worker) in workers.iter_mut().enumerate() {
                if worker.has_event().await {
                    return Some(at);
                }
            }
            None
        })
        .await;
        let connect = workers[owner].event().await;
        // The standby list was written before the owner's event.
        let clients = workers[1 - owner].standby_clients().await;
        assert!(clients.contains(&connect.client), "{clients:?}");
        workers[owner].ack(&connect).await;
        let opened = workers[owner].event_of(connect.client).await;
        assert!(matches!(opened, Event::WebSocketConnect(_)));
    }
}

async fn clients_have_the_required_number_of_standbys(threads: usize) {
    for standbys in [0, 1, 2, 3] {
        let flag = standbys.to_string();
        let builder = Suite::builder().gateways(1).threads(threads);
        let suite = builder.gateway_flag("--standbys", &flag).start().await;
        let mut owner = suite.worker_link(0, "w:1").await;
        let _client = Raw::websocket(suite.gateways[0].clients).await;
        let id = owner.accept_client().await;
        let mut others = Vec::new();
        for at in 2..=4 {
            others.push(suite.worker_link(0, &format!("w:{at}")).await);
        }
        let mut positions = BTreeSet::new();
        for other in &mut others {
            let lists = other.standby_lists().await;
            positions.extend(lists.into_iter().filter(|(client, _)| *client == id).map(|it| it.1));
        }
        // Each standby has its own place among the holders.
        assert_eq!(positions.len(), standbys, "{positions:?}");
    }
}

async fn clients_of_a_dead_worker_are_reassigned_at_the_pace_of_the_next(threads: usize) {
    const CLIENTS: usize = 200;
    const SESSION: usize = 150_000;
    const WINDOW: usize = 2 * MIB;
    let builder = Suite::builder().threads(threads);
    let builder = builder.gateway_flag("--worker-window", &WINDOW.to_string());
    let (suite, owner, clients) = with_sessions(builder, CLIENTS, SESSION).await;
    let mut next = suite.worker_link(0, "next:1").await;
    let before = suite.gateways[0].resident();
    drop(owner);
    suite.gateways[0].wait_for_metric("pushsuite_gateway_workers", 1.0).await;
    sleep(Duration::from_millis(500)).await;
    let in_flight = metric(&suite, "pushsuite_gateway_events_in_flight_bytes").await as usize;
    let most = threads * (WINDOW + MIB + SESSION);
    assert!(0 < in_flight && in_flight < most, "{in_flight} of {most}");
    let mut reassigned = BTreeSet::new();
    while reassigned.len() < CLIENTS {
        let event = next.event().await;
        assert_eq!(event.event, Event::Reassigned);
        reassigned.insert(event.client);
        next.ack(&event).await;
        let grown = suite.gateways[0].resident().saturating_sub(before);
        assert!(grown < CLIENTS * SESSION / 2 + most, "grown by {} MiB", grown / MIB);
    }
    assert!(clients.iter().all(|(_, id)| reassigned.contains(id)));
}

async fn worker_messages_are_relayed_and_those_of_other_peers_are_not(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut one = suite.worker_link(0, "w:1").await;
    let mut other = suite.worker_link(0, "w:2").await;
    let mut back_end = suite.peer(0).await;
    let relay = |to: &Peer, number: u64| {
        let message = WorkerMessage::HandoverTaken { number };
        ToGateway::Relay { to: to.instance().clone(), message }
    };
    one.send(&relay(&other, 7)).await;
    let (from, message) = (one.instance().clone(), WorkerMessage::HandoverTaken { number: 7 });
    assert_eq!(other.next().await, Some(ToPeer::Relayed { from, message }));
    // To an unknown worker, and to a peer that is no worker.
    let unknown = InstanceId::new("unknown").unwrap();
    let message = WorkerMessage::HandoverTaken { number: 8 };
    one.send(&ToGateway::Relay { to: unknown, message }).await;
    one.send(&relay(&back_end, 9)).await;
    assert!(back_end.has_no_event().await && one.has_no_event().await);
    back_end.send(&relay(&one, 10)).await;
    back_end.closed().await;
}
