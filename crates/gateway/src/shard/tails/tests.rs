//! Messages of open tails, and their bounds.

use protocol::Uid;

use super::*;

const CLIENT: ConnectionId = ConnectionId(7);

fn passing(body: &[u8]) -> Passing<'_> {
    Passing { at: 1, client: CLIENT, direction: Direction::In, kind: MessageKind::Text, body }
}

fn open(tail: u64, payload: u32) -> Arc<OpenTail> {
    Arc::new(OpenTail { tail, target: TailTarget::Client(CLIENT), payload })
}

fn all(_: &TailTarget) -> bool {
    true
}

#[test]
fn payload_is_shown_as_far_as_requested() {
    let mut tails = Tails::default();
    tails.open(LinkId(1), open(1, 0));
    tails.open(LinkId(1), open(2, 3));
    tails.open(LinkId(2), open(2, 100));
    tails.add(passing(b"hello"), all);
    let shown: Vec<_> = tails.take().map(|(_, tailed)| tailed.frames[0].payload.clone()).collect();
    assert_eq!(shown, [&b""[..], b"hel", b"hello"]);
    assert_eq!(tails.take().count(), 0, "each message is reported once");
}

#[test]
fn message_is_added_to_the_tails_that_it_matches() {
    let mut tails = Tails::default();
    tails.open(LinkId(1), open(1, 0));
    let target = TailTarget::Uid(Uid::new("ann").unwrap());
    tails.open(LinkId(1), Arc::new(OpenTail { tail: 2, target, payload: 0 }));
    tails.add(passing(b""), |target| target.client() == Some(CLIENT));
    let numbers: Vec<_> = tails.take().map(|(_, tailed)| tailed.tail).collect();
    assert_eq!(numbers, [1]);
}

#[test]
fn messages_beyond_the_bound_are_dropped_and_counted() {
    let mut tails = Tails::default();
    tails.open(LinkId(1), open(1, u32::MAX));
    let body = vec![0; 100 * 1024];
    (0..10).for_each(|_| tails.add(passing(&body), all));
    let (_, tailed) = tails.take().next().unwrap();
    assert_eq!((tailed.frames.len(), tailed.dropped), (2, 8));
    tails.add(passing(&body), all);
    let (_, tailed) = tails.take().next().unwrap();
    assert_eq!((tailed.frames.len(), tailed.dropped), (1, 0));
}

#[test]
fn tail_ends_with_its_number_or_its_link() {
    let mut tails = Tails::default();
    for (link, number) in [(1, 1), (1, 2), (2, 1), (1, 1)] {
        tails.open(LinkId(link), open(number, 0));
    }
    assert_eq!(tails.open.len(), 3, "one was replaced");
    tails.close(LinkId(1), Some(1));
    assert_eq!(tails.open.len(), 2);
    tails.close(LinkId(1), None);
    assert_eq!(tails.open.len(), 1);
    tails.close(LinkId(2), Some(9));
    assert!(!tails.is_empty());
}
