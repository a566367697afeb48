//! Bounds on what a peer with the secret can cost its gateway and other clients.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, Instant};

use protocol::{
    Answer, Command, ConnectionId, Fields, Filter, Group, Message, Query, Session, Uid,
    bounded::MAX_TARGETS, codec::gateway_worker::Opcode, link::ToGateway,
};
use suite_tests::{Browser, Peer, Php, Raw, Suite, eventually, peer::encoded};

const MIB: usize = 1 << 20;

/// Number of clients with a large session.
const CLIENTS: usize = 100;

/// Total bytes of their sessions.
const SESSIONS: usize = CLIENTS * 200_000;

/// A gateway, a worker, clients with large sessions, and one client that uses the worker.
struct Scene {
    suite: Suite,
    _clients: Vec<Raw>,
    victim: Browser,
    before: usize,
}

impl Scene {
    async fn start() -> Self {
        let suite = Suite::builder().gateways(1).workers(1).start().await;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(Raw::websocket(suite.gateways[0].clients).await);
        }
        let mut peer = suite.peer(0).await;
        let text = format!(r#"{{"large":"{}"}}"#, "x".repeat(200_000));
        let session = Session::from_encoded(text.into()).unwrap();
        for client in ids(&mut peer).await {
            let session = session.clone();
            peer.command(Command::SetSession { client, edit: 0, session }).await;
        }
        peer.query(Query::Groups).await;
        let victim = suite.browser(0).await;
        let before = suite.gateways[0].resident();
        Self { suite, _clients: clients, victim, before }
    }

    /// Asserts that other clients are served, and that the gateway has grown by at most this many
    /// bytes.
    async fn assert_served(&mut self, most: usize) {
        for _ in 0..20 {
            self.victim.echo("still here").await;
            let grown = self.suite.gateways[0].resident().saturating_sub(self.before);
            assert!(grown <= most, "grown by {} MiB", grown / MIB);
        }
    }
}

async fn ids(peer: &mut Peer) -> Vec<ConnectionId> {
    let query = Query::Select { fields: Fields::default(), filter: Filter::All };
    match peer.query(query).await {
        Answer::Rows(rows) => rows.into_iter().map(|row| row.client).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn queries_of_a_native_peer_that_does_not_read_are_not_executed() {
    let mut scene = Scene::start().await;
    let mut peer = scene.suite.peer(0).await;
    let query = Query::Sessions { group: None };
    let queries = encoded(&ToGateway::Query { request: 1, query }).repeat(4096);
    peer.send_bytes(&queries).await;
    // One answer while it is built and one while it is queued.
    scene.assert_served(3 * SESSIONS).await;
}

#[tokio::test]
async fn queries_of_a_php_peer_that_does_not_read_are_not_executed() {
    let mut scene = Scene::start().await;
    let (gateway, secret) = (scene.suite.gateways[0].inner, scene.suite.secret());
    let mut php = Php::back_end(gateway, &secret).await;
    for _ in 0..1000 {
        php.send(Opcode::GetAllClientSessions, 0, "", "").await;
    }
    // The sessions in PHP format, and one reply while it is built and one while it is queued.
    scene.assert_served(4 * SESSIONS).await;
}

#[tokio::test]
async fn answers_for_unread_peers_are_bounded_in_total() {
    let mut scene = Scene::start().await;
    let mut peers = Vec::new();
    for _ in 0..30 {
        let mut peer = scene.suite.peer(0).await;
        let query = Query::Sessions { group: None };
        peer.send_bytes(&encoded(&ToGateway::Query { request: 1, query }).repeat(16)).await;
        peers.push(peer);
    }
    // 30 answers would be 600 MB. The allocator retains freed memory for about a second.
    scene.assert_served(256 * MIB + 6 * SESSIONS).await;
    // A small query is answered even while other peers do not read.
    let mut other = scene.suite.peer(0).await;
    assert_eq!(other.query(Query::Count { group: None }).await, Answer::Count(CLIENTS as u64 + 1));
}

#[tokio::test]
async fn frame_with_too_many_names_is_refused_before_decoding_them() {
    let mut scene = Scene::start().await;
    // Names of one byte each, far more than any peer of the suite would send.
    let uids = vec![Uid::new("u").unwrap(); 8_000_000];
    let command = Command::SendToUids { uids, message: Message::text("hi") };
    let frame = encoded(&ToGateway::Command { seq: 1, command });
    let mut peer = scene.suite.peer(0).await;
    peer.send_bytes(&frame).await;
    peer.closed().await;
    scene.assert_served(3 * frame.len()).await;
    scene.suite.gateways[0].wait_for_log(&["a list of more than 10000"]).await;
}

#[tokio::test]
async fn uid_repeated_up_to_the_limit_only_delays_other_clients() {
    let mut scene = Scene::start().await;
    let mut peer = scene.suite.peer(0).await;
    let uid = Uid::new("all").unwrap();
    for client in ids(&mut peer).await {
        peer.command(Command::BindUid { client, uid: uid.clone() }).await;
    }
    let uids = vec![uid; MAX_TARGETS];
    peer.command(Command::SendToUids { uids, message: Message::text("x") }).await;
    assert_eq!(peer.query(Query::Count { group: None }).await, Answer::Count(CLIENTS as u64 + 1));
    let sent =
        scene.suite.gateways[0].metric("pushsuite_gateway_messages_out_total").await.unwrap();
    // The victim is one of the recipients, and receives them before anything else.
    assert!((MAX_TARGETS * CLIENTS) as f64 <= sent, "{sent}");
    for _ in 0..MAX_TARGETS {
        assert_eq!(scene.victim.receive_text().await, "x");
    }
    scene.assert_served(256 * MIB).await;
}

#[tokio::test]
async fn small_updates_cost_the_same_in_large_and_small_sessions() {
    let suite = Suite::builder().gateways(1).start().await;
    let _clients = [suite.browser(0).await, suite.browser(0).await];
    let mut peer = suite.peer(0).await;
    let [small, large] = ids(&mut peer).await.try_into().unwrap();
    let object = |size: usize| format!(r#"{{"large":"{}"}}"#, "x".repeat(size));
    let list = |size: usize| {
        let entries: String = (0..size).map(|at| format!("i:{at};i:1;")).collect();
        format!("a:{size}:{{{entries}}}")
    };
    let json = |text: String| Session::from_encoded(text.into()).unwrap();
    let php = |text: String| Session::from_php(text.into()).unwrap();
    for (sessions, updates) in [
        (
            [json(object(10)), json(object(220_000))],
            [json(r#"{"k":1}"#.into()), json(r#"{"k":2}"#.into())],
        ),
        (
            [php(list(10)), php(list(500_000))],
            [php(r#"a:1:{s:1:"k";i:1;}"#.into()), php(r#"a:1:{s:1:"k";i:2;}"#.into())],
        ),
    ] {
        let mut times = Vec::new();
        for (client, session) in [small, large].into_iter().zip(sessions) {
            peer.command(Command::SetSession { client, edit: 0, session }).await;
            peer.query(Query::Count { group: None }).await;
            let since = Instant::now();
            for round in 0..2000 {
                let changes = updates[round % 2].clone();
                peer.command(Command::UpdateSession { client, edit: 0, changes }).await;
            }
            peer.query(Query::Count { group: None }).await;
            times.push(since.elapsed());
            let Answer::Session(Some(session)) = peer.query(Query::Session { client }).await else {
                panic!("no session");
            };
            assert_eq!(session.decode().unwrap()["k"], 2);
        }
        assert!(times[1] < times[0] * 20, "{times:?}");
    }
}

#[tokio::test]
async fn client_cannot_exceed_the_group_limit() {
    let builder = Suite::builder().gateways(1).gateway_flag("--max-groups-per-client", "1000");
    let suite = builder.start().await;
    let _client = Raw::websocket(suite.gateways[0].clients).await;
    let mut peer = suite.peer(0).await;
    let client = ids(&mut peer).await[0];
    let group = |number: usize| Group::new(format!("g{number}")).unwrap();
    for number in 0..5000 {
        peer.command(Command::JoinGroup { client, group: group(number) }).await;
    }
    // Joining a group again does not count.
    peer.command(Command::JoinGroup { client, group: group(0) }).await;
    let Answer::Groups(groups) = peer.query(Query::Groups).await else { panic!("no groups") };
    assert_eq!(groups, (0..1000).map(group).collect::<Vec<_>>());
    let refused = suite.gateways[0].metric("pushsuite_gateway_joins_refused_total").await;
    assert_eq!(refused, Some(4000.0));
    let lines = eventually("a warning", async || {
        let log = suite.gateways[0].log();
        let count = log.lines().filter(|line| line.contains("at the group limit")).count();
        (0 < count).then_some(count)
    })
    .await;
    assert!(lines < 100, "{lines} lines for 4,000 joins");
    peer.command(Command::LeaveGroup { client, group: group(0) }).await;
    peer.command(Command::JoinGroup { client, group: group(7777) }).await;
    let Answer::Groups(groups) = peer.query(Query::Groups).await else { panic!("no groups") };
    assert_eq!(groups.last(), Some(&group(7777)));
}

#[tokio::test]
async fn peer_that_waits_for_acknowledgements_gets_them_at_once() {
    let suite = Suite::builder().gateways(1).start().await;
    let mut peer = suite.peer(0).await;
    let group = Group::new("empty").unwrap();
    let mut least = Duration::MAX;
    for _ in 0..20 {
        let command = Command::Ungroup { group: group.clone() };
        let start = Instant::now();
        peer.command(command).await;
        peer.send(&ToGateway::Acknowledge).await;
        peer.acknowledged().await;
        least = least.min(start.elapsed());
    }
    // Otherwise they are sent every 20 ms, in step with a peer that waits for each.
    assert!(least < Duration::from_millis(10), "{least:?}");
}
