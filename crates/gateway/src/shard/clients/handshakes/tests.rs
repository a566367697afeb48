//! Accepting and refusing handshakes, on a shard with sockets.

use std::time::Duration;

use protocol::{Command, Group, Message, Refusal, Session, Uid};
use runtime::clock;

use super::*;
use crate::shard::test_shard::TestShard;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: k\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v1, v2\r\n";

/// A frame of a client that contains `hi`.
const FRAME: &[u8] = b"\x81\x82\0\0\0\0hi";

/// A shard whose worker decides, and its clients, which have sent their requests.
async fn undecided(clients: usize, flags: &[&str]) -> TestShard {
    let flags = [&["--handshake-auth=worker"], flags].concat();
    let mut test = TestShard::with_flags(clients, "ws://", &flags).await;
    for client in 0..clients {
        test.send(client, format!("{REQUEST}\r\n").as_bytes());
        test.send(client, FRAME);
        test.poll(client).await;
    }
    test.run_once();
    test
}

fn grant() -> Grant {
    let grant = Grant::new().with_uid("ann").unwrap().with_group("a").unwrap();
    let grant = grant.with_group("b").unwrap().with_subprotocol("v2").unwrap();
    let session = Session::from_encoded(r#"{"role":"admin"}"#.into()).unwrap();
    grant.with_encoded_session(session).with_header("X-A", "b").unwrap()
}

fn accept(client: ConnectionId, grant: Grant) -> Command {
    Command::AcceptHandshake { client, edit: 0, grant: grant.into() }
}

fn refuse(client: ConnectionId, status: u16) -> Command {
    Command::RefuseHandshake { client, refusal: Refusal::new(status, "no").unwrap().into() }
}

fn refused(test: &TestShard, reason: &'static str) -> u64 {
    test.shard.gateway.metrics.refused_because(reason)
}

#[tokio::test]
async fn handshake_waits_for_the_answer_and_counts_as_pending() {
    let mut test = undecided(1, &[]).await;
    assert_eq!(test.received(), [""]);
    assert!(matches!(test.shard.connections[test.keys[0]].phase, Phase::Undecided(_)));
    assert_eq!(test.shard.connections[test.keys[0]].events, 2, "connect and request");
    let pending = |test: &TestShard| test.shard.gateway.metrics.requests.get();
    // The acceptor, which this test has none of, counts it.
    assert_eq!(pending(&test), 0);
    test.poll(0).await;
    assert_eq!(test.shard.connections[test.keys[0]].events, 2, "its message is not read");
    let client = test.last();
    test.command([accept(client, Grant::new())]);
    test.run_once();
    assert_eq!(pending(&test), -1);
}

#[tokio::test]
async fn accepted_client_has_its_grant_before_later_commands_and_messages_follow_the_response() {
    let mut test = undecided(1, &[]).await;
    let client = test.last();
    let text = |text: &str| Message::text(text.to_owned());
    test.command([
        Command::SendToClient { to: client, message: text("early") },
        accept(client, grant()),
        Command::SendToUids { uids: vec![Uid::new("ann").unwrap()], message: text("uid") },
        Command::SendToGroups {
            groups: vec![Group::new("b").unwrap()],
            exclude: Vec::new(),
            message: text("group"),
        },
    ]);
    test.run_once();
    let received = test.received().remove(0);
    let (head, frames) = received.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("\r\nSec-WebSocket-Protocol: v2"), "{head}");
    assert!(head.contains("\r\nX-A: b"), "{head}");
    assert!(frames.contains("early") && frames.contains("uid") && frames.contains("group"));
    assert!(frames.find("early") < frames.find("uid"), "{frames:?}");
    let session = test.shard.directory.session(client);
    assert_eq!(&session.as_encoded()[..], br#"{"role":"admin"}"#);
    let groups: Vec<_> = test.shard.directory.get(client).unwrap().groups().cloned().collect();
    assert_eq!(groups, [Group::new("a").unwrap(), Group::new("b").unwrap()]);
    test.poll(0).await;
    assert_eq!(test.shard.connections[test.keys[0]].events, 3, "its message was read");
}

#[tokio::test]
async fn second_answer_changes_nothing() {
    let mut test = undecided(1, &[]).await;
    let client = test.last();
    test.command([accept(client, Grant::new()), accept(client, grant()), refuse(client, 401)]);
    test.run_once();
    let received = test.received().remove(0);
    assert_eq!(received.matches("HTTP/1.1").count(), 1, "{received}");
    assert!(matches!(test.shard.connections[test.keys[0]].phase, Phase::Open(_)));
    assert!(test.shard.directory.get(client).unwrap().uid().is_none());
    assert!(!test.shard.connections.has_deadline(test.keys[0]));
}

#[tokio::test]
async fn refused_client_gets_the_response_only_and_is_counted_by_status() {
    let mut test = undecided(3, &[]).await;
    let ids: Vec<_> =
        test.keys.iter().map(|key| test.shard.connections[*key].id.unwrap()).collect();
    test.command([Command::SendToClient { to: ids[0], message: Message::text("early") }]);
    test.command([refuse(ids[0], 401), refuse(ids[1], 403), refuse(ids[2], 429)]);
    test.run_once();
    let received = test.received();
    for (received, status) in received.iter().zip(["401 Unauthorized", "403 Forbidden", "429 "]) {
        assert!(received.starts_with(&format!("HTTP/1.1 {status}")), "{received}");
        assert!(received.ends_with("\r\n\r\nno"), "{received}");
    }
    for reason in ["unauthorized", "forbidden", "auth"] {
        assert_eq!(refused(&test, reason), 1, "{reason}");
    }
    assert_eq!(test.shard.directory.len(), 0);
}

#[tokio::test]
async fn client_that_is_closed_before_the_answer_is_refused() {
    let mut test = undecided(2, &[]).await;
    let ids: Vec<_> =
        test.keys.iter().map(|key| test.shard.connections[*key].id.unwrap()).collect();
    test.command([
        Command::Close { client: ids[0], farewell: Some(Message::text("bye")) },
        Command::Destroy { client: ids[1] },
        accept(ids[0], grant()),
    ]);
    test.run_once();
    let received = test.received();
    assert!(received[0].starts_with("HTTP/1.1 403 "), "{received:?}");
    assert!(!received[0].contains("bye") && received[1].is_empty(), "{received:?}");
    assert_eq!(refused(&test, "forbidden"), 1);
}

#[tokio::test]
async fn handshake_without_an_answer_in_time_is_refused_with_503() {
    let mut test = undecided(1, &["--handshake-auth-timeout=5"]).await;
    let now = clock::now();
    test.shard.tick(now + Duration::from_secs(4));
    assert!(matches!(test.shard.connections[test.keys[0]].phase, Phase::Undecided(_)));
    // Not later: the closed connection has five seconds to take its response.
    test.shard.tick(now + Duration::from_secs(5));
    test.run_once();
    let received = test.received().remove(0);
    assert!(received.starts_with("HTTP/1.1 503 "), "{received}");
    assert!(received.contains("\r\nRetry-After: "), "{received}");
    assert_eq!(refused(&test, "auth_timeout"), 1);
}

#[tokio::test]
async fn subprotocol_that_is_not_offered_is_answered_with_500() {
    let mut test = undecided(1, &[]).await;
    let client = test.last();
    test.command([accept(client, Grant::new().with_subprotocol("v3").unwrap())]);
    test.run_once();
    assert!(test.received()[0].starts_with("HTTP/1.1 500 "));
    assert!(test.shard.directory.get(client).is_none());
}

#[tokio::test]
async fn grant_of_the_gateway_is_applied_before_the_first_event() {
    let mut test = TestShard::with_flags(1, "ws://", &[]).await;
    let key = test.keys[0];
    let head = format!("{REQUEST}\r\n");
    let (request, _) = framing::http::parse(head.as_bytes()).unwrap().unwrap();
    let policy = &test.shard.settings.handshake_policy;
    let framing::websocket::Reply::Accept(upgrade) = framing::websocket::evaluate(&request, policy)
    else {
        panic!("a valid handshake");
    };
    test.shard.accept_handshake(key, upgrade, request.handshake, Some(&grant()));
    test.run_once();
    assert!(test.received()[0].starts_with("HTTP/1.1 101 "));
    let client = test.last();
    assert!(test.shard.directory.get(client).unwrap().uid().is_some());
    assert_eq!(test.shard.connections[key].events, 2);
    test.shard.refuse_undecided(client, Refusal::new(401, "").unwrap());
    assert!(matches!(test.shard.connections[key].phase, Phase::Open(_)), "it awaits no answer");
}
