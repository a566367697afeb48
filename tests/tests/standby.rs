//! Workers that stand by for others: what they are told is state, sent as fast as they read it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::BytesMut;
use protocol::{
    Command, ConnectionId, Event, Instance, Message, Session,
    codec::native,
    link::{ToGateway, ToPeer},
    standby::WorkerMessage,
};
use suite_tests::{Peer, Raw, Suite, eventually, on_one_and_three_threads, suite::Builder};
use tokio::time::{Instant, sleep};

on_one_and_three_threads!(
    workers_link_and_stay_however_large_the_sessions_are,
    burst_of_session_updates_is_told_as_few,
    standby_that_does_not_read_is_cut_off_for_the_time_and_holds_little,
    standby_that_reads_slowly_stays,
    standby_is_told_of_a_client_before_its_owner,
    clients_have_as_many_standbys_as_they_should,
    clients_of_a_dead_worker_are_reassigned_as_fast_as_the_next_takes_them,
    messages_of_workers_are_relayed_to_workers_and_those_of_other_peers_are_not,
);

const MIB: usize = 1024 * 1024;

/// A session of about so many bytes, which differ from those of another `version`.
fn session(bytes: usize, version: u64) -> Session {
    let object = serde_json::json!({ "version": version, "text": "x".repeat(bytes) });
    Session::encode(object.as_object().unwrap()).unwrap()
}

fn set(client: ConnectionId, edit: u64, bytes: usize) -> Command {
    Command::SetSession { client, edit, session: session(bytes, edit) }
}

/// A gateway with a worker link that has so many clients, each with a session of so many bytes.
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
        let id = owner.welcomes().await;
        owner.command(set(id, 1, bytes)).await;
        all.push((client, id));
        if all.len() % 20 == 0 {
            owner.taken().await;
        }
    }
    owner.taken().await;
    (suite, owner, all)
}

async fn metric(suite: &Suite, name: &str) -> f64 {
    suite.gateways[0].metric(name).await.unwrap()
}

async fn workers_link_and_stay_however_large_the_sessions_are(threads: usize) {
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
    let told = Instant::now();
    loop {
        most = most.max(suite.gateways[0].resident());
        // The owner is served meanwhile.
        clients[0].0.send(&suite_tests::raw::masked(0x81, b"hello")).await;
        let hello = Event::Message(Message::text("hello"));
        assert_eq!(owner.event_of(clients[0].1).await, hello);
        let is_told = metric(&suite, "gateway_standby_updates_pending").await == 0.0;
        if metric(&suite, "gateway_workers").await == 3.0 && is_told {
            break;
        }
        assert!(told.elapsed() < Duration::from_secs(60), "not told within a minute");
    }
    assert!(most < before + before / 2, "{} MiB instead of {}", most / MIB, before / MIB);
    for worker in &mut suite.workers {
        worker.ready().await;
    }
    assert!(!suite.gateways[0].log().contains("worker gone"), "a worker was cut off");
}

async fn burst_of_session_updates_is_told_as_few(threads: usize) {
    const UPDATES: u64 = 1000;
    const SESSION: usize = 2_000;
    let builder = Suite::builder().threads(threads);
    let (suite, mut owner, clients) = with_sessions(builder, 2, SESSION).await;
    let mut standby = suite.worker_link(0, "standby:1").await;
    let (changed, unchanged) = (clients[0].1, clients[1].1);
    // All in one write, and some that change nothing else behind it.
    let mut burst = BytesMut::new();
    let began = Instant::now();
    for edit in 2..2 + UPDATES {
        let changes = serde_json::json!({ "version": edit });
        let changes = Session::encode(changes.as_object().unwrap()).unwrap();
        let command = Command::UpdateSession { client: changed, edit, changes };
        let seq = 1 + edit;
        native::encode(&ToGateway::Command { seq, command }, &mut burst).unwrap();
    }
    owner.say_bytes(&burst).await;
    let last = session(SESSION, 1 + UPDATES);
    let mut told: BTreeMap<ConnectionId, usize> = BTreeMap::new();
    loop {
        if let ToPeer::StandbySession { client, session } = standby.next().await.unwrap() {
            *told.entry(client).or_default() += 1;
            if client == changed && session == last {
                break;
            }
        }
    }
    // A few a second, and one each at first.
    let ticks = began.elapsed().as_millis() as usize / 200 + 2;
    assert!(told[&changed] <= ticks, "{told:?} in {ticks} ticks");
    assert!(told.get(&unchanged).is_none_or(|times| *times == 1), "{told:?}");
    assert!(told[&changed] < UPDATES as usize / 10, "{told:?}");
}

/// Says now and then that it is there, as a worker does that has enough to do, and never reads.
async fn standby_that_does_not_read_is_cut_off_for_the_time_and_holds_little(threads: usize) {
    const SESSION: usize = 240_000;
    let builder = Suite::builder().threads(threads).gateway_flag("--peer-timeout", "3");
    let (suite, mut owner, clients) = with_sessions(builder, 20, SESSION).await;
    let gateway = &suite.gateways[0];
    let mut standby = suite.worker_link(0, "standby:1").await;
    let before = gateway.resident();
    let began = Instant::now();
    let (mut edit, mut most) = (1, before);
    while metric(&suite, "gateway_workers").await == 2.0 {
        assert!(began.elapsed() < Duration::from_secs(30), "it is never cut off");
        let _ = standby.try_say(&ToGateway::Pong { token: 0 }).await;
        edit += 1;
        for (_, id) in &clients {
            owner.command(set(*id, edit, SESSION)).await;
        }
        owner.taken().await;
        most = most.max(gateway.resident());
        sleep(Duration::from_millis(50)).await;
    }
    assert!(Duration::from_secs(2) < began.elapsed(), "for the time that it reads nothing");
    assert!(gateway.log().contains("worker does not read; link closed"));
    let told = (edit as usize) * clients.len() * SESSION;
    let grown = most - before;
    assert!(grown < told / 4 && grown < 24 * MIB, "{} of {} MiB", grown / MIB, told / MIB);
}

async fn standby_that_reads_slowly_stays(threads: usize) {
    const SESSION: usize = 200_000;
    let builder = Suite::builder().threads(threads).gateway_flag("--peer-timeout", "2");
    let (suite, mut owner, clients) = with_sessions(builder, 200, SESSION).await;
    let mut standby = suite.worker_link(0, "standby:1").await;
    let began = Instant::now();
    let mut read = 0;
    while began.elapsed() < Duration::from_secs(6) {
        // What the kernel holds of it must move within the time.
        standby.skim(300_000).await;
        read += 300_000;
        let _ = standby.try_say(&ToGateway::Pong { token: 0 }).await;
        assert!(owner.has_no_event().await, "it answers pings meanwhile");
        sleep(Duration::from_millis(200)).await;
    }
    assert!(read < clients.len() * SESSION, "there is more to read");
    assert_eq!(metric(&suite, "gateway_workers").await, 2.0);
}

async fn standby_is_told_of_a_client_before_its_owner(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut workers = [suite.worker_link(0, "w:1").await, suite.worker_link(0, "w:2").await];
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Raw::websocket(suite.gateways[0].clients).await);
        let owner = eventually("a worker to hear of it", async || {
            for (at, worker) in workers.iter_mut().enumerate() {
                if worker.has_event().await {
                    return Some(at);
                }
            }
            None
        })
        .await;
        let connect = workers[owner].event().await;
        // What was written to it before was written before the owner heard anything.
        let told = workers[1 - owner].standby_clients().await;
        assert!(told.contains(&connect.client), "{told:?}");
        workers[owner].done(&connect).await;
        let opened = workers[owner].event_of(connect.client).await;
        assert!(matches!(opened, Event::WebSocketConnect(_)));
    }
}

async fn clients_have_as_many_standbys_as_they_should(threads: usize) {
    for standbys in [0, 1, 2, 3] {
        let flag = standbys.to_string();
        let builder = Suite::builder().gateways(1).threads(threads);
        let suite = builder.gateway_flag("--standbys", &flag).start().await;
        let mut owner = suite.worker_link(0, "w:1").await;
        let _client = Raw::websocket(suite.gateways[0].clients).await;
        let id = owner.welcomes().await;
        let mut others = Vec::new();
        for at in 2..=4 {
            others.push(suite.worker_link(0, &format!("w:{at}")).await);
        }
        let mut positions = BTreeSet::new();
        for other in &mut others {
            let told = other.standby_lists().await;
            positions.extend(told.into_iter().filter(|(client, _)| *client == id).map(|it| it.1));
        }
        // Each stands behind all that are named before it.
        assert_eq!(positions.len(), standbys, "{positions:?}");
    }
}

async fn clients_of_a_dead_worker_are_reassigned_as_fast_as_the_next_takes_them(threads: usize) {
    const CLIENTS: usize = 200;
    const SESSION: usize = 150_000;
    const WINDOW: usize = 2 * MIB;
    let builder = Suite::builder().threads(threads);
    let builder = builder.gateway_flag("--worker-window", &WINDOW.to_string());
    let (suite, owner, clients) = with_sessions(builder, CLIENTS, SESSION).await;
    let mut next = suite.worker_link(0, "next:1").await;
    let before = suite.gateways[0].resident();
    drop(owner);
    eventually("the owner to be gone", async || {
        (metric(&suite, "gateway_workers").await == 1.0).then_some(())
    })
    .await;
    sleep(Duration::from_millis(500)).await;
    let in_flight = metric(&suite, "gateway_events_in_flight_bytes").await as usize;
    let most = threads * (WINDOW + MIB + SESSION);
    assert!(0 < in_flight && in_flight < most, "{in_flight} of {most}");
    let mut reassigned = BTreeSet::new();
    while reassigned.len() < CLIENTS {
        let event = next.event().await;
        assert_eq!(event.event, Event::Adopt);
        reassigned.insert(event.client);
        next.done(&event).await;
        let grown = suite.gateways[0].resident().saturating_sub(before);
        assert!(grown < CLIENTS * SESSION / 2 + most, "grown by {} MiB", grown / MIB);
    }
    assert!(clients.iter().all(|(_, id)| reassigned.contains(id)));
}

async fn messages_of_workers_are_relayed_to_workers_and_those_of_other_peers_are_not(
    threads: usize,
) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut one = suite.worker_link(0, "w:1").await;
    let mut other = suite.worker_link(0, "w:2").await;
    let mut back_end = suite.peer(0).await;
    let relay = |to: &Peer, number: u64| {
        let message = WorkerMessage::HandoverTaken { number };
        ToGateway::Relay { to: to.instance().clone(), message }
    };
    one.say(&relay(&other, 7)).await;
    let (from, message) = (one.instance().clone(), WorkerMessage::HandoverTaken { number: 7 });
    assert_eq!(other.next().await, Some(ToPeer::Relayed { from, message }));
    // An unknown worker, and a peer that is no worker.
    let nobody = Instance::new("nobody").unwrap();
    let message = WorkerMessage::HandoverTaken { number: 8 };
    one.say(&ToGateway::Relay { to: nobody, message }).await;
    one.say(&relay(&back_end, 9)).await;
    assert!(back_end.has_no_event().await && one.has_no_event().await);
    back_end.say(&relay(&one, 10)).await;
    back_end.ends().await;
}
