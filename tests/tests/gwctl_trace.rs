//! `gwctl trace`: one push, and the time of each of its steps.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use protocol::{
    Answer, ClientId, Command, Query,
    inspect::{TailTarget as OnGateway, Trace, Traced},
    link::{ToGateway, ToPeer},
};
use push_suite_cluster::{Error, MessageKind, Recipients, TailTarget, TracedFate, TracedPush};
use serde_json::{Value, json};
use suite_tests::{
    Gwctl, Peer, Raw, Scene, Suite, eventually,
    names::{group, uid},
    on_one_and_three_threads, ports, with_timeout,
};

on_one_and_three_threads!(
    push_is_traced_on_every_gateway_up_to_the_sockets,
    ping_reaches_no_program,
    client_that_does_not_read_is_reported_and_delays_no_other,
    peer_has_one_trace_at_a_time,
);

fn clients(trace: &Value) -> Vec<(&Value, &Value)> {
    let gateways = trace["gateways"].as_array().unwrap().iter();
    gateways.flat_map(|it| it["clients"].as_array().unwrap().iter().map(move |c| (it, c))).collect()
}

async fn push_is_traced_on_every_gateway_up_to_the_sockets(threads: usize) {
    let (mut scene, _workers) = Scene::with_workers(threads).await;
    let gwctl = Gwctl::of(&scene.suite);
    for client in [0, 1, 2] {
        scene.cluster.join_group(scene.ids[client], "room").report().await.unwrap();
    }
    let (trace, code) = gwctl.json(&["trace", "--group", "room", "hello"]).await;
    assert_eq!((&trace["push"], &trace["matched"], code), (&json!("message"), &json!(3), 0));
    assert_eq!((&trace["to"], &trace["unanswered"]), (&json!({ "group": "room" }), &json!([])));
    assert_eq!(trace["gateways"].as_array().unwrap().len(), 2);
    let mut traced: Vec<String> = Vec::new();
    for (gateway, client) in clients(&trace) {
        traced.push(client["client"].as_str().unwrap().to_owned());
        assert_eq!(client["fate"], json!("written"), "{trace}");
        assert!(client["thread"].as_u64().unwrap() < threads as u64);
        // Steps of one clock: the whole is no less than its parts.
        let steps = ["taken_micros", "queued_micros", "written_micros"];
        let steps: u64 = steps.iter().map(|step| client[*step].as_u64().unwrap()).sum();
        let all = gateway["dispatch_micros"].as_u64().unwrap() + steps;
        assert!(all <= gateway["total_micros"].as_u64().unwrap(), "{trace}");
        assert!(gateway["network_micros"].is_u64());
    }
    let mut expected = scene.ids[..3].iter().map(ToString::to_string).collect::<Vec<_>>();
    expected.sort();
    traced.sort();
    assert_eq!(traced, expected);
    assert_eq!(scene.received().await, [vec!["hello"], vec!["hello"], vec!["hello"], vec![]]);

    scene.cluster.bind_uid(scene.ids[3], "ann").report().await.unwrap();
    let shown = gwctl.ok(&["trace", "--uid", "ann", "again"]).await;
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "a message to 1 client of uid ann");
    assert!(lines[1].starts_with("CLIENT                NETWORK  DISPATCH  "), "{shown}");
    assert!(lines[2].starts_with(&scene.ids[3].to_string()), "{shown}");
    assert!(lines[2].ends_with("  written") && 4 <= lines[2].matches("µs").count(), "{shown}");
    let none = gwctl.run(&["trace", "--uid", "bob", "again"]).await;
    assert_eq!(none.out, "no client matches uid bob: nothing was sent\n");
    assert_eq!(none.code, 1);
    assert_eq!(gwctl.run(&["trace", "again"]).await.code, 2, "to whichever client");
    let absent = ClientId::new(scene.ids[0].gateway, protocol::ConnectionId(9999)).to_string();
    assert_eq!(gwctl.run(&["trace", "--client", &absent]).await.code, 1);
}

async fn ping_reaches_no_program(threads: usize) {
    let (mut scene, _workers) = Scene::with_workers(threads).await;
    let gwctl = Gwctl::of(&scene.suite);
    let id = scene.ids[2].to_string();
    let (trace, code) = gwctl.json(&["trace", "--client", &id]).await;
    assert_eq!((&trace["push"], &trace["matched"], code), (&json!("ping"), &json!(1), 0));
    assert_eq!(clients(&trace)[0].1["fate"], json!("written"));
    assert_eq!(scene.received().await, [const { Vec::<String>::new() }; 4]);
}

/// A client that does not read, in the group `r`, with a full socket and bytes in its queue.
async fn slow_client(scene: &Scene) -> (Raw, ClientId) {
    let slow = Raw::with_small_buffers(scene.suite.gateways[0].clients).await;
    let cluster = &scene.cluster;
    let id = eventually("the slow client", async || {
        let all = cluster.all_clients().await.unwrap();
        all.into_iter().find(|client| !scene.ids.contains(client))
    })
    .await;
    let large = "x".repeat(128 * 1024);
    eventually("a queue", async || {
        let only = Recipients::Only(vec![id]);
        cluster.send_to_all(only, large.as_str()).report().await.unwrap();
        let details = cluster.inspect_client(id).await.unwrap().unwrap();
        details.blocked.then_some(())
    })
    .await;
    cluster.join_group(id, "r").report().await.unwrap();
    (slow, id)
}

async fn client_that_does_not_read_is_reported_and_delays_no_other(threads: usize) {
    let (mut scene, _workers) = Scene::with_workers(threads).await;
    let (slow, id) = slow_client(&scene).await;
    scene.cluster.join_group(scene.ids[0], "r").report().await.unwrap();
    scene.cluster.join_group(scene.ids[1], "r").report().await.unwrap();
    let gwctl = Gwctl::of(&scene.suite);
    let (trace, code) = gwctl.json(&["trace", "--group", "r", "--wait", "1", "hello"]).await;
    assert_eq!((&trace["matched"], code), (&json!(3), 1));
    for (gateway, client) in clients(&trace) {
        if client["client"] != json!(id) {
            assert_eq!(client["fate"], json!("written"), "{trace}");
            assert_eq!(client["queue_bytes"], json!(0), "{trace}");
            continue;
        }
        assert_eq!((&client["fate"], &client["written_micros"]), (&json!("waiting"), &Value::Null));
        assert!(1_000_000 <= gateway["total_micros"].as_u64().unwrap(), "{trace}");
        let [before, left] = ["queue_bytes", "left_bytes"].map(|it| client[it].as_u64().unwrap());
        // The kernel may have taken more of the queue meanwhile.
        assert!(0 < before && 0 < left && left <= before + 100, "{trace}");
    }
    assert_eq!(scene.received_until(0, "hello").await, Vec::<String>::new());
    assert_eq!(scene.received_until(1, "hello").await, Vec::<String>::new());
    let shown = gwctl.run(&["trace", "--client", &id.to_string(), "--wait", "1"]).await;
    assert_eq!(shown.code, 1);
    assert!(shown.out.contains("  queued, not written in 1"), "{shown:?}");
    assert!(shown.out.ends_with(&format!("  next: `gwctl client {id}` shows its queue\n")));

    // A client that is closed meanwhile ends the wait.
    let mut peer = scene.suite.peer(0).await;
    let target = OnGateway::Client(id.connection);
    let trace = Trace { target, push: TracedPush::Ping, wait: 30_000 };
    peer.send(&ToGateway::Query { request: 1000, query: Query::Trace(Box::new(trace)) }).await;
    peer.command(Command::Destroy { client: id.connection }).await;
    let answer = answer_of(&mut peer, 1000).await;
    assert_eq!(answer.clients[0].fate, TracedFate::Closed);
    drop(slow);
}

/// The answer to the trace with this number.
async fn answer_of(peer: &mut Peer, number: u64) -> Traced {
    loop {
        let message = with_timeout("an answer", peer.next()).await.unwrap();
        if let ToPeer::Answer { request, answer: Answer::Traced(traced) } = message {
            assert_eq!(request, number);
            return *traced;
        }
    }
}

async fn peer_has_one_trace_at_a_time(threads: usize) {
    let (scene, _workers) = Scene::with_workers(threads).await;
    let (_slow, id) = slow_client(&scene).await;
    let mut peer = scene.suite.peer(0).await;
    let trace = |client: ClientId, wait| {
        let target = OnGateway::Client(client.connection);
        Query::Trace(Box::new(Trace { target, push: TracedPush::Ping, wait }))
    };
    peer.send(&ToGateway::Query { request: 1000, query: trace(id, 1500) }).await;
    assert_eq!(peer.query(trace(scene.ids[0], 100)).await, Answer::Unavailable);
    let first = answer_of(&mut peer, 1000).await;
    assert!(matches!(first.clients[0].fate, TracedFate::Waiting { .. }), "{first:?}");
    let body = vec![b'x'; 64 * 1024 + 1];
    let push = TracedPush::Message { kind: MessageKind::Text, body };
    let target = OnGateway::Client(scene.ids[0].connection);
    let long = Trace { target, push, wait: 100 };
    assert_eq!(peer.query(Query::Trace(Box::new(long))).await, Answer::Unavailable);
    let Answer::Traced(next) = peer.query(trace(scene.ids[0], 100)).await else { panic!() };
    assert!(matches!(next.clients[0].fate, TracedFate::Written { .. }), "{next:?}");
}

#[tokio::test]
async fn traces_of_many_peers_are_bounded_and_forgotten() {
    let (scene, _workers) = Scene::with_workers(1).await;
    let (_slow, id) = slow_client(&scene).await;
    let trace = |client: ClientId, wait| {
        let target = OnGateway::Client(client.connection);
        Query::Trace(Box::new(Trace { target, push: TracedPush::Ping, wait }))
    };
    for _ in 0..16 {
        let mut peer = scene.suite.peer(0).await;
        peer.send(&ToGateway::Query { request: 1, query: trace(id, 2000) }).await;
        peer.query(Query::Groups).await;
    }
    let mut peer = scene.suite.peer(0).await;
    let refused = peer.query(trace(scene.ids[0], 100)).await;
    assert_eq!(refused, Answer::Unavailable, "although the links of the others have ended");
    eventually("the others to end", async || {
        let answer = peer.query(trace(scene.ids[0], 100)).await;
        matches!(answer, Answer::Traced(_)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn gateway_that_does_not_answer_is_named() {
    let (mut scene, _workers) = Scene::with_workers(1).await;
    scene.cluster.join_group(scene.ids[0], "room").report().await.unwrap();
    scene.suite.gateways[1].kill();
    let inner = scene.suite.gateways[1].inner.to_string();
    let trace = with_timeout("a trace", async {
        let room = TailTarget::Group(group("room"));
        scene.cluster.trace(room, TracedPush::Ping, Duration::from_secs(1)).await
    });
    let trace = trace.await.unwrap();
    assert_eq!((trace.gateways.len(), trace.gateways[0].matched), (1, 1));
    assert_eq!(trace.unanswered[0].0, inner);
    let id = scene.ids[1];
    let error = scene.cluster.trace(TailTarget::Client(id), TracedPush::Ping, Duration::ZERO);
    assert!(matches!(error.await, Err(Error::Unreachable { .. })));
    let body = vec![b'x'; 64 * 1024 + 1];
    let long = TracedPush::Message { kind: MessageKind::Text, body };
    let error = scene.cluster.trace(TailTarget::Uid(uid("ann")), long, Duration::ZERO).await;
    assert!(matches!(error, Err(Error::TooLarge { limit: 65_536 })), "{error:?}");
}

#[tokio::test]
async fn ping_to_a_listener_without_pings_is_not_sent_and_tls_is_traced() {
    let port = ports::free();
    let listen = format!("text://{port}");
    let suite = Suite::builder().gateways(1).wss().gateway_flag("--listen", &listen).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut line = Raw::plain(port).await;
    let connect = worker.event().await;
    worker.ack(&connect).await;
    let id = ClientId::new(suite.gateways[0].inner, connect.client);
    let cluster = suite.cluster().await;
    let client = TailTarget::Client(id);
    let trace = cluster.trace(client.clone(), TracedPush::Ping, Duration::from_secs(1)).await;
    assert_eq!(trace.unwrap().gateways[0].clients[0].fate, TracedFate::Unframable);
    let shown = Gwctl::of(&suite).run(&["trace", "--client", &id.to_string()]).await;
    assert!(shown.out.contains("not sent: its listener has no pings, give a TEXT"), "{shown:?}");
    let (kind, body) = (MessageKind::Text, b"news".to_vec());
    let push = TracedPush::Message { kind, body };
    let trace = cluster.trace(client, push.clone(), Duration::from_secs(1)).await.unwrap();
    assert!(matches!(trace.gateways[0].clients[0].fate, TracedFate::Written { .. }), "{trace:?}");
    assert_eq!(line.bytes(5).await, b"news\n");

    let mut browser = suite.browser(0).await;
    let id = ClientId::new(suite.gateways[0].inner, worker.accept_client().await);
    let trace = cluster.trace(TailTarget::Client(id), push, Duration::from_secs(5)).await.unwrap();
    assert!(matches!(trace.gateways[0].clients[0].fate, TracedFate::Written { .. }), "{trace:?}");
    assert_eq!(browser.receive_text().await, "news");
}
