//! Which messages outlive a link, when the queue is full, and which waiters are notified.

use bytes::BytesMut;
use protocol::{Command, Message, Recipients};

use super::*;

fn command(body: &[u8]) -> ToGateway {
    let message = Message::binary(body.to_vec());
    ToGateway::Command { seq: 0, command: Command::SendToAll { to: Recipients::All, message } }
}

fn push(outgoing: &Outgoing, body: &[u8], lifetime: Lifetime) -> Push {
    outgoing.push(&mut command(body), lifetime).unwrap()
}

fn queue(outgoing: &Outgoing, body: &[u8], lifetime: Lifetime) -> u64 {
    match push(outgoing, body, lifetime) {
        Push::Queued(number) => number,
        other => panic!("{other:?}"),
    }
}

/// The next output: numbers and bodies of commands, `("done", n)` for events.
fn written(outgoing: &Outgoing) -> Vec<(u64, Vec<u8>)> {
    let (mut bytes, mut written) = (BytesMut::new(), Vec::new());
    outgoing.take(&mut bytes);
    while let Some(message) = native::decode(&mut bytes, native::MAX_FRAME).unwrap() {
        match message {
            ToGateway::Command { seq, command } => {
                written.push((seq, command.message().unwrap().body.to_vec()));
            }
            ToGateway::EventAck { last, .. } => written.push((last, b"done".to_vec())),
            other => panic!("{other:?}"),
        }
    }
    written
}

fn numbered(expected: &[(u64, &str)]) -> Vec<(u64, Vec<u8>)> {
    expected.iter().map(|(number, body)| (*number, body.as_bytes().to_vec())).collect()
}

/// A queue with its first link, and the number of that link.
fn linked() -> (Outgoing, u64) {
    let outgoing = Outgoing::parked(0, Arc::default());
    let link = outgoing.resume(0).unwrap();
    (outgoing, link)
}

#[test]
fn unacknowledged_commands_precede_others_on_the_next_link_with_their_numbers() {
    let (outgoing, link) = linked();
    queue(&outgoing, b"a", Lifetime::GatewaySession);
    queue(&outgoing, b"home", Lifetime::Link(link));
    queue(&outgoing, b"b", Lifetime::GatewaySession);
    assert_eq!(written(&outgoing), numbered(&[(1, "a"), (2, "home"), (3, "b")]));
    queue(&outgoing, b"present", Lifetime::Present);
    queue(&outgoing, b"c", Lifetime::GatewaySession);
    outgoing.park();
    queue(&outgoing, b"d", Lifetime::GatewaySession);
    let next = outgoing.resume(0).unwrap();
    queue(&outgoing, b"e", Lifetime::Link(next));
    assert_eq!(written(&outgoing), numbered(&[(1, "a"), (3, "b"), (5, "c"), (6, "d"), (7, "e")]));
}

#[test]
fn acknowledged_commands_are_not_sent_again() {
    let (outgoing, _) = linked();
    for body in [b"a", b"b", b"c"] {
        queue(&outgoing, body, Lifetime::GatewaySession);
    }
    outgoing.confirm(1);
    outgoing.park();
    queue(&outgoing, b"d", Lifetime::GatewaySession);
    outgoing.resume(2);
    assert_eq!(written(&outgoing), numbered(&[(3, "c"), (4, "d")]));
    // Acknowledged on the second link, which is lost as well.
    outgoing.confirm(3);
    outgoing.park();
    outgoing.resume(3);
    assert_eq!(written(&outgoing), numbered(&[(4, "d")]));
    outgoing.confirm(4);
    assert_eq!(outgoing.last_unacked(), None);
}

#[test]
fn gateway_with_earlier_commands_continues_the_numbering() {
    let outgoing = Outgoing::parked(57, Arc::default());
    outgoing.resume(57);
    assert_eq!(queue(&outgoing, b"a", Lifetime::GatewaySession), 58);
}

#[test]
fn closed_link_refuses_messages_and_its_events_are_not_acknowledged_on_the_next() {
    let (outgoing, link) = linked();
    let finish = |link, seq| {
        let mut finished = Finished::default();
        finished.add(0, seq);
        outgoing.finish(link, &mut finished);
        assert!(finished.is_empty());
    };
    finish(link, 1);
    outgoing.park();
    for lifetime in [Lifetime::Link(link), Lifetime::Present] {
        assert!(matches!(push(&outgoing, b"a", lifetime), Push::Closed));
    }
    finish(link, 2);
    let next = outgoing.resume(0).unwrap();
    assert_ne!(link, next);
    assert!(matches!(push(&outgoing, b"a", Lifetime::Link(link)), Push::Closed));
    queue(&outgoing, b"b", Lifetime::Present);
    finish(link, 3);
    finish(next, 4);
    assert_eq!(written(&outgoing), numbered(&[(1, "b"), (4, "done")]));
}

#[test]
fn unacknowledged_commands_count_against_the_limit() {
    let (outgoing, link) = linked();
    let half = vec![0; OUTGOING_LIMIT / 2];
    let first = queue(&outgoing, &half, Lifetime::GatewaySession);
    // Once as a frame, and once as a kept command.
    assert!(matches!(push(&outgoing, b"", Lifetime::Link(link)), Push::Full));
    written(&outgoing);
    outgoing.take(&mut BytesMut::new());
    let second = queue(&outgoing, &half, Lifetime::GatewaySession);
    outgoing.park();
    assert!(matches!(push(&outgoing, b"", Lifetime::GatewaySession), Push::Full));
    assert_eq!(outgoing.metrics.parked.get() as usize, outgoing.lock().unacked.bytes());
    outgoing.resume(first).unwrap();
    assert_eq!(outgoing.metrics.parked.get(), 0);
    written(&outgoing);
    outgoing.take(&mut BytesMut::new());
    outgoing.confirm(second);
    queue(&outgoing, b"", Lifetime::Link(link + 1));
}

#[tokio::test]
async fn blocked_sender_is_notified_of_space_and_of_every_end() {
    let waits = |outgoing: &Arc<Outgoing>, lifetime| {
        let outgoing = Arc::clone(outgoing);
        tokio::spawn(async move { outgoing.room(lifetime).await })
    };
    let full = || {
        let (outgoing, link) = linked();
        queue(&outgoing, &vec![0; OUTGOING_LIMIT], Lifetime::GatewaySession);
        (Arc::new(outgoing), link)
    };
    let (outgoing, link) = full();
    let (on_link, blocked) =
        (waits(&outgoing, Lifetime::Link(link)), waits(&outgoing, Lifetime::GatewaySession));
    tokio::task::yield_now().await;
    outgoing.park();
    on_link.await.unwrap();
    // The waiter may be notified as well, and finds that there is no space.
    blocked.await.unwrap();
    let again = waits(&outgoing, Lifetime::GatewaySession);
    tokio::task::yield_now().await;
    assert!(!again.is_finished());
    outgoing.resume(1).unwrap();
    again.await.unwrap();
    for end in [|it: &Outgoing| it.close(), |it: &Outgoing| assert!(it.abandon())] {
        let (outgoing, _) = full();
        outgoing.park();
        let waiting = waits(&outgoing, Lifetime::GatewaySession);
        tokio::task::yield_now().await;
        end(&outgoing);
        waiting.await.unwrap();
    }
}

#[test]
fn gateway_with_an_open_link_is_not_abandoned() {
    let (outgoing, link) = linked();
    assert!(!outgoing.abandon());
    queue(&outgoing, b"a", Lifetime::Link(link));
}

#[test]
fn dropped_commands_are_counted() {
    let (outgoing, _) = linked();
    queue(&outgoing, b"a", Lifetime::GatewaySession);
    outgoing.park();
    queue(&outgoing, b"b", Lifetime::GatewaySession);
    assert!(outgoing.abandon());
    assert_eq!(
        queue(&outgoing, b"c", Lifetime::GatewaySession),
        3,
        "numbered, so that its acknowledgement can be awaited"
    );
    assert_eq!((outgoing.metrics.given_up.get(), outgoing.metrics.parked.get()), (3, 0));
    assert_eq!(outgoing.resume(0), None);
    outgoing.close();
    assert!(matches!(push(&outgoing, b"d", Lifetime::GatewaySession), Push::Closed));
    assert_eq!(outgoing.metrics.given_up.get(), 3);
}
