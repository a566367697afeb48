//! The streams of a shard, without sockets.

use std::time::Duration;

use protocol::{
    Epoch, Group,
    streaming::{Enclosed, Held as HeldAnswer, Hold, Release, StreamGap},
};

use super::*;
use crate::thread_messages::LinkId;

const A: Epoch = Epoch::from_bits(1);
const B: Epoch = Epoch::from_bits(2);
const ANN: ConnectionId = ConnectionId(1);
const BOB: ConnectionId = ConnectionId(2);
const WORKER: LinkId = LinkId(1);

fn stream() -> StreamName {
    StreamName::Group(Group::new("r").unwrap())
}

fn at(offset: u64) -> Position {
    Position::new(A, offset)
}

/// A shard with ann and bob as members of one stream, and what each has received.
struct Scene {
    streams: Streams,
    now: Instant,
    received: HashMap<ConnectionId, Vec<String>>,
}

impl Scene {
    fn new() -> Self {
        Self { streams: Streams::new(None), now: runtime::clock::now(), received: HashMap::new() }
    }

    fn received(&mut self, client: ConnectionId) -> Vec<String> {
        self.received.remove(&client).unwrap_or_default()
    }

    fn give(&mut self, client: ConnectionId, messages: impl IntoIterator<Item = Message>) {
        let texts = messages.into_iter().map(|it| it.as_text().unwrap().to_owned());
        self.received.entry(client).or_default().extend(texts);
    }

    fn go_out(&mut self, outgoing: VecDeque<Outgoing>) {
        for outgoing in outgoing {
            let excludes = |client, exclude: &Excluded| exclude.clients.contains(&client);
            self.streams.pass_on(&stream(), &outgoing, excludes);
            let (message, exclude) = match &outgoing {
                Outgoing::Message(_, piece) => (&piece.message, piece.exclude.as_deref()),
                Outgoing::Reset(_, message) => (message, None),
            };
            let message = message.clone();
            for client in [ANN, BOB] {
                if !exclude.is_some_and(|exclude| exclude.clients.contains(&client))
                    && self.streams.is_for(&stream(), client, &outgoing)
                {
                    self.give(client, [message.clone()]);
                }
            }
        }
    }

    fn publish_to(&mut self, position: Position, exclude: Option<ConnectionId>, fills: bool) {
        let message = Message::text(position.offset.to_string());
        let exclude =
            exclude.map(|client| Box::new(Excluded { clients: vec![client], uids: Vec::new() }));
        let mut outgoing = VecDeque::new();
        let piece = Piece { message, exclude };
        self.streams.arrive(&stream(), position, piece, (true, fills), &mut outgoing);
        self.go_out(outgoing);
    }

    fn publish(&mut self, offset: u64) {
        self.publish_to(at(offset), None, false);
    }

    fn reset(&mut self, after: Position, to: Position) {
        let mut outgoing = VecDeque::new();
        let message = Message::text("reset");
        self.streams.reset(&stream(), after, to, message, &mut outgoing);
        self.go_out(outgoing);
    }

    fn hold(&mut self, client: ConnectionId, number: u64) -> Option<HeldAnswer> {
        let lost = Enclosed(Message::text("lost"));
        let (joins, ordinal) = (true, 0);
        let hold = Hold { client, number, stream: stream(), joins, lost, ordinal };
        self.streams.hold(WORKER, &hold, self.now)
    }

    /// Releases a client that has missed messages up to `top`.
    fn release_to(&mut self, client: ConnectionId, number: u64, top: Position, ok: bool) -> &str {
        let text = if ok { "missed" } else { "not recovered" };
        let messages = vec![Enclosed(Message::text(text))];
        let (stream, top, recovered) = (stream(), Some(top), ok);
        let release = Release { client, number, stream, top, recovered, messages };
        match self.streams.release(&release, self.now) {
            Freeing::Done(behind) => {
                self.give(client, release.messages.into_iter().map(|it| it.0).chain(behind));
                "done"
            }
            Freeing::Again => "again",
            Freeing::Unknown => "unknown",
        }
    }

    fn release(&mut self, client: ConnectionId, number: u64, top: u64) -> &str {
        self.release_to(client, number, at(top), true)
    }

    fn expire(&mut self) {
        for Expired { client, messages } in self.streams.expire(self.now) {
            self.give(client, messages);
        }
    }

    fn questions(&mut self, is_used: bool) -> Vec<(LinkId, Vec<StreamGap>)> {
        self.streams.questions(self.now, |_| is_used, 0.0)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

use super::holds::Expired;

#[test]
fn held_client_receives_what_it_missed_then_what_was_held_then_the_rest() {
    let mut scene = Scene::new();
    scene.publish(1);
    assert_eq!(scene.hold(ANN, 7), None);
    scene.publish(2);
    scene.publish_to(at(3), Some(ANN), false);
    scene.publish(4);
    assert_eq!(scene.received(ANN), ["1"]);
    assert_eq!(scene.streams.totals().holds, 1);
    assert_eq!(scene.release(ANN, 7, 1), "done");
    scene.publish(5);
    assert_eq!(scene.received(ANN), ["missed", "2", "4", "5"]);
    assert_eq!(scene.received(BOB), ["1", "2", "3", "4", "5"]);
    assert_eq!(scene.streams.totals(), Totals::default());
    assert!(scene.streams.all_are_members());
}

#[test]
fn client_ahead_of_the_shard_skips_what_it_has() {
    let mut scene = Scene::new();
    scene.publish(1);
    scene.hold(ANN, 7);
    assert_eq!(scene.release(ANN, 7, 3), "done");
    (2..=4).for_each(|offset| scene.publish(offset));
    assert_eq!(scene.received(ANN), ["1", "missed", "4"]);
    assert_eq!(scene.received(BOB), ["1", "2", "3", "4"]);
    assert!(scene.streams.all_are_members());
}

#[test]
fn message_that_a_client_has_read_is_missing_at_the_shard_until_it_comes() {
    let mut scene = Scene::new();
    scene.streams.set_servers([WORKER].into());
    scene.publish(1);
    scene.hold(ANN, 7);
    assert_eq!(scene.release(ANN, 7, 2), "done");
    assert!(scene.questions(true).is_empty(), "it is probably on its way");
    scene.pass(Duration::from_millis(250));
    let gap = StreamGap { stream: stream(), after: at(1), known: Some(at(2)), is_last: false };
    assert_eq!(scene.questions(true), [(WORKER, vec![gap])]);
    scene.publish_to(at(2), None, true);
    assert_eq!(scene.received(ANN), ["1", "missed"]);
    assert_eq!(scene.received(BOB), ["1", "2"]);
    assert_eq!(scene.streams.counts.filled, 1);
}

#[test]
fn first_client_of_a_stream_sets_its_position() {
    let mut scene = Scene::new();
    scene.hold(ANN, 7);
    assert_eq!(scene.release(ANN, 7, 5), "done");
    scene.publish(5);
    scene.publish(7);
    assert_eq!(scene.received(ANN), ["missed"], "the sixth is missing");
    scene.publish(6);
    assert_eq!(scene.received(ANN), ["6", "7"]);
}

#[test]
fn release_that_leaves_a_hole_is_to_be_repeated() {
    let mut scene = Scene::new();
    scene.publish(1);
    scene.hold(ANN, 7);
    for offset in 2..=2000 {
        scene.publish(offset);
    }
    assert_eq!(scene.release(ANN, 7, 1), "again", "the oldest were dropped");
    assert_eq!(scene.release(ANN, 7, 1990), "done");
    assert_eq!(
        scene.received(ANN)[1..],
        ["missed", "1991", "1992", "1993", "1994", "1995", "1996", "1997", "1998", "1999", "2000"]
    );
    // A position of another epoch: the shard finds out which one is over.
    scene.hold(ANN, 8);
    assert_eq!(scene.release_to(ANN, 8, Position::new(B, 1), true), "again");
    scene.streams.set_servers([WORKER].into());
    scene.questions(true);
    scene.pass(Duration::from_millis(250));
    assert_eq!(scene.questions(true).len(), 1);
    scene.reset(at(2000), Position::new(B, 1));
    assert_eq!(scene.release_to(ANN, 8, Position::new(B, 1), true), "done");
    assert_eq!(scene.received(ANN), ["missed"], "without the notice of the reset");
    assert_eq!(scene.received(BOB).pop().as_deref(), Some("reset"));
}

#[test]
fn client_that_could_not_recover_goes_on_in_any_case() {
    let mut scene = Scene::new();
    scene.publish(1);
    scene.hold(ANN, 7);
    scene.publish(2);
    assert_eq!(scene.release_to(ANN, 7, Position::new(B, 9), false), "done");
    scene.publish(3);
    assert_eq!(scene.received(ANN)[1..], ["not recovered", "2", "3"]);
}

#[test]
fn release_without_a_position_passes_on_what_was_held() {
    let mut scene = Scene::new();
    scene.publish(1);
    scene.hold(ANN, 7);
    scene.publish(2);
    let messages = vec![Enclosed(Message::text("unavailable"))];
    let (stream, top, recovered) = (stream(), None, false);
    let release = Release { client: ANN, number: 7, stream, top, recovered, messages };
    let Freeing::Done(behind) = scene.streams.release(&release, scene.now) else { panic!() };
    scene.give(ANN, behind);
    scene.publish(3);
    assert_eq!(scene.received(ANN), ["1", "2", "3"]);
    assert_eq!(scene.hold(ANN, 7), Some(HeldAnswer::Ended { recovered: false }));
    assert_eq!(scene.streams.totals(), Totals::default());
}

#[test]
fn hold_without_a_release_ends_with_the_notice() {
    let mut scene = Scene::new();
    scene.publish(1);
    scene.hold(ANN, 7);
    scene.publish(2);
    scene.pass(Duration::from_secs(9));
    // The worker is at work, so there is more time.
    assert_eq!(scene.release_to(ANN, 7, Position::new(B, 1), true), "again");
    scene.pass(Duration::from_secs(9));
    scene.expire();
    assert_eq!(scene.received(ANN), ["1"]);
    scene.pass(Duration::from_secs(1));
    scene.expire();
    scene.publish(3);
    assert_eq!(scene.received(ANN), ["lost", "2", "3"]);
    assert_eq!(scene.release(ANN, 7, 1), "unknown");
    assert_eq!(scene.hold(ANN, 7), Some(HeldAnswer::Ended { recovered: false }));
    assert_eq!(scene.streams.counts.expired, 1);
    assert_eq!(scene.streams.totals().holds, 0);
}

#[test]
fn hold_of_a_dead_worker_ends_at_once() {
    let mut scene = Scene::new();
    scene.publish(1);
    scene.hold(ANN, 7);
    scene.streams.worker_died(LinkId(2), scene.now);
    scene.expire();
    assert_eq!(scene.received(ANN), ["1"]);
    scene.streams.worker_died(WORKER, scene.now);
    scene.expire();
    assert_eq!(scene.received(ANN), ["lost"]);
}

#[test]
fn repeated_handler_sends_nothing_again() {
    let mut scene = Scene::new();
    scene.hold(ANN, 7);
    assert_eq!(scene.release(ANN, 7, 5), "done");
    assert_eq!(scene.hold(ANN, 7), Some(HeldAnswer::Ended { recovered: true }));
    assert_eq!(scene.hold(BOB, 7), None, "of another client");
    // The former hold is in place: its worker has died before the release.
    scene.publish(6);
    assert_eq!(scene.hold(BOB, 7), None);
    assert_eq!(scene.streams.totals().holds, 1);
    assert_eq!(scene.release(BOB, 7, 6), "done");
    assert_eq!(scene.received(BOB), ["missed"]);
}

#[test]
fn client_that_leaves_or_disconnects_is_held_no_more() {
    let mut scene = Scene::new();
    scene.publish(1);
    for (number, leave) in [
        (1, (|streams| streams.left(ANN, &stream())) as fn(&mut Streams)),
        (2, |streams| streams.disconnected(ANN)),
        (3, |streams| streams.emptied(&stream())),
    ] {
        scene.hold(ANN, number);
        scene.publish(1 + number);
        leave(&mut scene.streams);
        assert_eq!(scene.release(ANN, number, 1 + number), "unknown");
        assert!(scene.streams.all_are_members());
        assert_eq!(scene.streams.totals(), Totals::default());
    }
    scene.pass(Duration::from_secs(20));
    scene.expire();
    assert_eq!(scene.received(ANN), ["1"]);
}

#[test]
fn workers_are_asked_in_turn_until_one_has_to_decide() {
    let mut scene = Scene::new();
    scene.publish(1);
    scene.publish(3);
    scene.questions(true);
    scene.pass(Duration::from_millis(250));
    assert!(scene.questions(true).is_empty(), "there is no worker");
    scene.streams.set_servers([LinkId(1), LinkId(2)].into());
    let mut asked = Vec::new();
    for _ in 0..4 {
        let [(link, gaps)] = &scene.questions(true)[..] else { panic!("one worker is asked") };
        asked.push((*link, gaps[0].is_last));
        assert!(scene.questions(true).is_empty(), "its answer is awaited");
        scene.pass(Duration::from_secs(2));
    }
    asked.sort_unstable();
    assert_eq!(asked.iter().filter(|(_, is_last)| *is_last).count(), 1);
    assert_eq!(asked.iter().filter(|(link, _)| *link == LinkId(1)).count(), 2);
    // The link of the worker that was asked ends: another is asked at once.
    assert_eq!(scene.questions(true).len(), 1);
    let gone: std::sync::Arc<[LinkId]> = [LinkId(3)].into();
    scene.streams.set_servers(gone);
    assert_eq!(scene.questions(true)[0].0, LinkId(3));
    scene.publish(2);
    scene.pass(Duration::from_secs(1));
    assert!(scene.questions(true).is_empty());
}

#[test]
fn streams_are_checked_now_and_then_and_soon_after_a_death() {
    let mut scene = Scene::new();
    scene.streams.set_servers([WORKER].into());
    scene.publish(1);
    assert!(scene.questions(true).is_empty());
    scene.pass(Duration::from_secs(10));
    let gap = StreamGap { stream: stream(), after: at(1), known: None, is_last: false };
    assert_eq!(scene.questions(true), [(WORKER, vec![gap.clone()])]);
    assert!(scene.questions(true).is_empty());
    scene.streams.check_soon(scene.now, 1.0);
    scene.pass(Duration::from_secs(1));
    assert_eq!(scene.questions(true), [(WORKER, vec![gap])]);
    // A stream without clients has no state, once it is looked at.
    scene.pass(Duration::from_secs(10));
    assert_eq!(scene.streams.len(), 1);
    assert!(scene.questions(false).is_empty());
    assert_eq!(scene.streams.len(), 0);
}

#[test]
fn waiting_messages_take_bytes_until_they_go_out() {
    let mut scene = Scene::new();
    scene.publish(1);
    scene.publish(3);
    assert_ne!(scene.streams.totals().bytes, 0);
    scene.publish(2);
    assert_eq!(scene.streams.totals(), Totals::default());
    scene.publish(5);
    scene.pass(Duration::from_secs(10));
    scene.questions(true);
    scene.pass(Duration::from_secs(10));
    scene.questions(false);
    assert_eq!((scene.streams.len(), scene.streams.totals()), (0, Totals::default()));
}

#[test]
fn stream_without_members_has_no_state() {
    let mut streams = Streams::new(None);
    let piece = || Piece { message: Message::text("x"), exclude: None };
    let mut outgoing = VecDeque::new();
    streams.arrive(&stream(), at(1), piece(), (false, false), &mut outgoing);
    // A message that another shard has asked for begins no stream either.
    streams.arrive(&stream(), at(1), piece(), (true, true), &mut outgoing);
    streams.arrive(&stream(), at(0), piece(), (true, false), &mut outgoing);
    assert_eq!((streams.len(), outgoing.len()), (0, 0));
}
