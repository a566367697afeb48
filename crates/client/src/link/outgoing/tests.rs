//! What outlives a link and what does not, what is full, and who is told.

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

/// What is written next: numbers and bodies of commands, `("done", n)` for events.
fn written(outgoing: &Outgoing) -> Vec<(u64, Vec<u8>)> {
    let (mut bytes, mut written) = (BytesMut::new(), Vec::new());
    outgoing.take(&mut bytes);
    while let Some(message) = native::decode(&mut bytes, native::MAX_FRAME).unwrap() {
        match message {
            ToGateway::Command { seq, command } => {
                written.push((seq, command.message().unwrap().body.to_vec()));
            }
            ToGateway::Done { last, .. } => written.push((last, b"done".to_vec())),
            other => panic!("{other:?}"),
        }
    }
    written
}

fn numbered(expected: &[(u64, &str)]) -> Vec<(u64, Vec<u8>)> {
    expected.iter().map(|(number, body)| (*number, body.as_bytes().to_vec())).collect()
}

/// One with its first link, and the number of that.
fn linked() -> (Outgoing, u64) {
    let outgoing = Outgoing::parked(0, Arc::default());
    let link = outgoing.resume(0).unwrap();
    (outgoing, link)
}

#[test]
fn what_outlives_a_link_comes_first_on_the_next_in_order_and_under_its_number() {
    let (outgoing, link) = linked();
    queue(&outgoing, b"a", Lifetime::Line);
    queue(&outgoing, b"home", Lifetime::Link(link));
    queue(&outgoing, b"b", Lifetime::Line);
    assert_eq!(written(&outgoing), numbered(&[(1, "a"), (2, "home"), (3, "b")]));
    queue(&outgoing, b"present", Lifetime::Present);
    queue(&outgoing, b"c", Lifetime::Line);
    outgoing.park();
    queue(&outgoing, b"d", Lifetime::Line);
    let next = outgoing.resume(0).unwrap();
    queue(&outgoing, b"e", Lifetime::Link(next));
    assert_eq!(written(&outgoing), numbered(&[(1, "a"), (3, "b"), (5, "c"), (6, "d"), (7, "e")]));
}

#[test]
fn what_the_gateway_has_taken_is_not_sent_again() {
    let (outgoing, _) = linked();
    for body in [b"a", b"b", b"c"] {
        queue(&outgoing, body, Lifetime::Line);
    }
    outgoing.confirm(1);
    outgoing.park();
    queue(&outgoing, b"d", Lifetime::Line);
    outgoing.resume(2);
    assert_eq!(written(&outgoing), numbered(&[(3, "c"), (4, "d")]));
    // Confirmed on the second link, lost with it, and so on.
    outgoing.confirm(3);
    outgoing.park();
    outgoing.resume(3);
    assert_eq!(written(&outgoing), numbered(&[(4, "d")]));
    outgoing.confirm(4);
    assert_eq!(outgoing.last_kept(), None);
}

#[test]
fn a_gateway_that_knows_us_from_before_is_numbered_on() {
    let outgoing = Outgoing::parked(57, Arc::default());
    outgoing.resume(57);
    assert_eq!(queue(&outgoing, b"a", Lifetime::Line), 58);
}

#[test]
fn a_link_that_is_gone_takes_nothing_and_its_events_are_not_done_on_the_next() {
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
fn what_is_kept_counts_against_the_limit_until_it_is_taken() {
    let (outgoing, link) = linked();
    let half = vec![0; OUTGOING_LIMIT / 2];
    let first = queue(&outgoing, &half, Lifetime::Line);
    // As a frame, and as what is kept.
    assert!(matches!(push(&outgoing, b"", Lifetime::Link(link)), Push::Full));
    written(&outgoing);
    outgoing.take(&mut BytesMut::new());
    let second = queue(&outgoing, &half, Lifetime::Line);
    outgoing.park();
    assert!(matches!(push(&outgoing, b"", Lifetime::Line), Push::Full));
    assert_eq!(outgoing.metrics.parked.get() as usize, outgoing.lock().kept.bytes());
    outgoing.resume(first).unwrap();
    assert_eq!(outgoing.metrics.parked.get(), 0);
    written(&outgoing);
    outgoing.take(&mut BytesMut::new());
    outgoing.confirm(second);
    queue(&outgoing, b"", Lifetime::Link(link + 1));
}

#[tokio::test]
async fn whoever_waits_for_room_is_told_of_it_and_of_every_end() {
    let waits = |outgoing: &Arc<Outgoing>, lifetime| {
        let outgoing = Arc::clone(outgoing);
        tokio::spawn(async move { outgoing.room(lifetime).await })
    };
    let full = || {
        let (outgoing, link) = linked();
        queue(&outgoing, &vec![0; OUTGOING_LIMIT], Lifetime::Line);
        (Arc::new(outgoing), link)
    };
    let (outgoing, link) = full();
    let (home, carried) =
        (waits(&outgoing, Lifetime::Link(link)), waits(&outgoing, Lifetime::Line));
    tokio::task::yield_now().await;
    outgoing.park();
    home.await.unwrap();
    // It may be told as well, and finds that there is none.
    carried.await.unwrap();
    let again = waits(&outgoing, Lifetime::Line);
    tokio::task::yield_now().await;
    assert!(!again.is_finished());
    outgoing.resume(1).unwrap();
    again.await.unwrap();
    for end in [|it: &Outgoing| it.close(), |it: &Outgoing| assert!(it.forsake())] {
        let (outgoing, _) = full();
        outgoing.park();
        let waiting = waits(&outgoing, Lifetime::Line);
        tokio::task::yield_now().await;
        end(&outgoing);
        waiting.await.unwrap();
    }
}

#[test]
fn one_that_has_a_link_is_not_forsaken() {
    let (outgoing, link) = linked();
    assert!(!outgoing.forsake());
    queue(&outgoing, b"a", Lifetime::Link(link));
}

#[test]
fn what_is_given_up_is_counted() {
    let (outgoing, _) = linked();
    queue(&outgoing, b"a", Lifetime::Line);
    outgoing.park();
    queue(&outgoing, b"b", Lifetime::Line);
    assert!(outgoing.forsake());
    assert_eq!(queue(&outgoing, b"c", Lifetime::Line), 3, "numbered, so that it can be waited for");
    assert_eq!((outgoing.metrics.given_up.get(), outgoing.metrics.parked.get()), (3, 0));
    assert_eq!(outgoing.resume(0), None);
    outgoing.close();
    assert!(matches!(push(&outgoing, b"d", Lifetime::Line), Push::Closed));
    assert_eq!(outgoing.metrics.given_up.get(), 3);
}
