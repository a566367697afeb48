//! Tails: live messages of clients, as a back end follows them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use protocol::{
    Group,
    inspect::{OpenTail, TailTarget as OnGateway},
    link::{ToGateway, ToPeer},
};
use push_suite_cluster::{ClientId, Direction, Error, Message, Tail, TailFrame, TailTarget};
use suite_tests::{
    Scene,
    names::{group, uid},
    on_one_and_three_threads, with_timeout,
};

on_one_and_three_threads!(
    messages_of_a_client_are_followed_in_both_directions,
    messages_of_a_group_are_followed_on_all_gateways,
    tail_of_a_uid_follows_its_clients_as_they_are_bound,
    payload_is_left_out_unless_requested,
    tail_ends_when_it_is_dropped_or_its_gateway_ends,
    peer_that_does_not_read_its_tail_loses_messages_that_are_counted,
);

/// The next messages, as many as that.
async fn frames(tail: &mut Tail, count: usize) -> Vec<TailFrame> {
    let mut frames = Vec::new();
    while frames.len() < count {
        let batch = with_timeout("messages of a tail", tail.next()).await.unwrap();
        assert_eq!(batch.dropped, 0);
        assert!(batch.frames.iter().all(|frame| frame.client.gateway == batch.gateway));
        frames.extend(batch.frames);
    }
    frames
}

fn facts(frame: &TailFrame) -> (ClientId, Direction, &[u8]) {
    (frame.client, frame.direction, &frame.payload)
}

async fn messages_of_a_client_are_followed_in_both_directions(threads: usize) {
    let (mut scene, _workers) = Scene::with_workers(threads).await;
    let (cluster, id) = (scene.cluster.cluster().clone(), scene.ids[2]);
    let mut tail = cluster.tail(TailTarget::Client(id), 100).await.unwrap();
    cluster.flush().await.unwrap();
    cluster.send_to_client(id, "to it").await.unwrap();
    cluster.send_to_client(scene.ids[0], "to another").await.unwrap();
    assert_eq!(scene.browsers[2].receive_text().await, "to it");
    scene.browsers[0].send("from another").await;
    scene.browsers[2].send("from it").await;
    let found = frames(&mut tail, 2).await;
    assert_eq!(facts(&found[0]), (id, Direction::Out, &b"to it"[..]));
    assert_eq!(facts(&found[1]), (id, Direction::In, &b"from it"[..]));
    assert!(found[0].at <= found[1].at && 1_700_000_000_000_000 < found[0].at);
    assert!(tail.unreachable().is_empty());
}

async fn messages_of_a_group_are_followed_on_all_gateways(threads: usize) {
    let (scene, _workers) = Scene::with_workers(threads).await;
    let cluster = &scene.cluster;
    let mut tail = cluster.tail(TailTarget::Group(group("r")), 100).await.unwrap();
    for at in [0, 1, 3] {
        cluster.join_group(scene.ids[at], "r").await.unwrap();
    }
    cluster.send_to_group("r", "news").await.unwrap();
    let mut clients: Vec<_> = frames(&mut tail, 3).await.iter().map(|it| it.client).collect();
    clients.sort_by_key(|client| scene.ids.iter().position(|id| id == client));
    assert_eq!(clients, [scene.ids[0], scene.ids[1], scene.ids[3]]);
}

async fn tail_of_a_uid_follows_its_clients_as_they_are_bound(threads: usize) {
    let (mut scene, _workers) = Scene::with_workers(threads).await;
    let cluster = scene.cluster.cluster().clone();
    let mut tail = cluster.tail(TailTarget::Uid(uid("ann")), 100).await.unwrap();
    cluster.send_to_client(scene.ids[1], "before").await.unwrap();
    cluster.bind_uid(scene.ids[1], "ann").await.unwrap();
    cluster.send_to_client(scene.ids[1], "bound").await.unwrap();
    cluster.unbind_uid(scene.ids[1]).await.unwrap();
    cluster.send_to_client(scene.ids[1], "after").await.unwrap();
    cluster.bind_uid(scene.ids[1], "ann").await.unwrap();
    cluster.send_to_client(scene.ids[1], "again").await.unwrap();
    let found = frames(&mut tail, 2).await;
    let texts: Vec<_> = found.iter().map(|frame| &frame.payload[..]).collect();
    assert_eq!(texts, [&b"bound"[..], b"again"]);
    scene.received_until(1, "again").await;
}

async fn payload_is_left_out_unless_requested(threads: usize) {
    let (scene, _workers) = Scene::with_workers(threads).await;
    let (cluster, id) = (&scene.cluster, scene.ids[0]);
    let mut without = cluster.tail(TailTarget::Client(id), 0).await.unwrap();
    let mut three = cluster.tail(TailTarget::Client(id), 3).await.unwrap();
    cluster.send_to_client(id, Message::binary(vec![7; 5000])).await.unwrap();
    let found = frames(&mut without, 1).await;
    assert_eq!((found[0].size, found[0].payload.len()), (5000, 0));
    let found = frames(&mut three, 1).await;
    assert_eq!((found[0].size, &found[0].payload[..]), (5000, &[7, 7, 7][..]));
}

async fn tail_ends_when_it_is_dropped_or_its_gateway_ends(threads: usize) {
    let (mut scene, _workers) = Scene::with_workers(threads).await;
    let cluster = scene.cluster.cluster().clone();
    let id = scene.ids[0];
    // More than a peer may have open at once: each is ended.
    for _ in 0..40 {
        let mut tail = cluster.tail(TailTarget::Client(id), 0).await.unwrap();
        cluster.send_to_client(id, "x").await.unwrap();
        assert_eq!(frames(&mut tail, 1).await.len(), 1);
    }
    let mut tail = cluster.tail(TailTarget::Client(id), 0).await.unwrap();
    scene.suite.gateways[0].kill();
    assert_eq!(with_timeout("the tail to end", tail.next()).await, None);
    let error = cluster.tail(TailTarget::Client(id), 0).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

async fn peer_that_does_not_read_its_tail_loses_messages_that_are_counted(threads: usize) {
    let (mut scene, _workers) = Scene::with_workers(threads).await;
    let cluster = scene.cluster.cluster().clone();
    cluster.join_group(scene.ids[0], "r").await.unwrap();
    cluster.flush().await.unwrap();
    let mut peer = scene.suite.peer(0).await;
    let target = OnGateway::Group(Group::new("r").unwrap());
    let open = OpenTail { tail: 9, target, payload: 64 * 1024 };
    peer.send(&ToGateway::Tail(Box::new(open))).await;
    peer.query(protocol::Query::Groups).await;
    // Far more than the sockets and the bound take, while the peer reads nothing.
    let sent = 400;
    for _ in 0..sent {
        cluster.send_to_group("r", "x".repeat(64 * 1024)).await.unwrap();
        scene.browsers[0].receive_text().await;
    }
    let mut seen = 0;
    let mut dropped = 0;
    let mut last = 0;
    while last == 0 {
        let message = with_timeout("the tail", peer.next()).await.unwrap();
        if let ToPeer::Tailed(tailed) = message {
            assert_eq!(tailed.tail, 9);
            seen += tailed.frames.len() as u64;
            dropped += tailed.dropped;
        }
        if seen + dropped < sent {
            // Once it reads again, the next message reports those that are missing.
            cluster.send_to_group("r", "end").await.unwrap();
            scene.browsers[0].receive_text().await;
        } else {
            last = 1;
        }
    }
    assert!(0 < dropped, "{seen} of {sent} and more");
}
