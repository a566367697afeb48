//! Who hears what in which order, without a socket.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use protocol::{
    Instance,
    discovery::{Presence, Settled},
};

use super::*;
use crate::outbox::{self, Outbox};

struct Follower {
    id: PeerId,
    mailbox: Mailbox,
    outbox: Outbox,
}

impl Follower {
    fn new(board: &mut Board) -> Self {
        let (mailbox, outbox) = outbox::mailbox();
        Self { id: board.name_peer(), mailbox, outbox }
    }

    fn ask(&self, board: &mut Board, known: &[&str]) {
        let known = known.iter().map(|&address| address.to_owned()).collect();
        board.ask(self.id, &self.mailbox, WorkerConnect { known, ..asks(None) });
    }

    /// What it was last told of workers, if anything.
    fn presence(&mut self) -> Option<Presence> {
        let lines = std::iter::from_fn(|| self.outbox.waiting());
        let FromRegister::BroadcastAddresses { presence, .. } =
            FromRegister::parse(lines.last()?.trim_ascii_end()).unwrap();
        presence
    }

    /// The lists heard since the last time.
    fn heard(&mut self) -> Vec<Vec<String>> {
        let lines = std::iter::from_fn(|| self.outbox.waiting());
        lines
            .map(|line| {
                let FromRegister::BroadcastAddresses { gateways, .. } =
                    FromRegister::parse(line.trim_ascii_end()).unwrap();
                gateways.into_iter().map(|gateway| gateway.address).collect()
            })
            .collect()
    }
}

fn asks(instance: Option<&str>) -> WorkerConnect {
    let instance = instance.map(|text| Instance::new(text).unwrap());
    WorkerConnect {
        secret_key: None,
        known: vec![],
        instance,
        settled: vec![],
        takeovers: vec![],
        complete: false,
    }
}

fn announce(board: &mut Board, address: &str) -> PeerId {
    let peer = board.name_peer();
    announce_as(board, peer, Gateway::plain(address.to_owned()));
    peer
}

/// Of a host of its own.
fn announce_as(board: &mut Board, peer: PeerId, gateway: Gateway) -> (Outbox, Verdict) {
    let ((mailbox, outbox), verdict) = (outbox::mailbox(), Verdict::default());
    let from = SocketAddr::from(([127, 0, 0, u8::try_from(peer).unwrap()], 4321));
    board.announce(peer, from, gateway, (&mailbox, &verdict), Instant::now());
    (outbox, verdict)
}

fn native(address: &str, instance: &str) -> Gateway {
    let instance = Instance::new(instance).ok();
    Gateway { native: true, instance, ..Gateway::plain(address.to_owned()) }
}

/// What a future comes to, if it does at once.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn refused(verdict: &Verdict) -> Option<(String, SocketAddr)> {
    now(verdict.refused())
}

fn board(grace: bool) -> Board {
    Board::new(grace, Metrics::default())
}

const NOTHING: [Vec<String>; 0] = [];

#[test]
fn a_question_is_answered_to_who_asked_and_a_change_is_told_to_all() {
    let mut board = board(false);
    let (mut first, mut second) = (Follower::new(&mut board), Follower::new(&mut board));
    first.ask(&mut board, &[]);
    second.ask(&mut board, &[]);
    second.ask(&mut board, &[]);
    assert_eq!(first.heard(), [[""; 0]]);
    assert_eq!(second.heard(), [[""; 0], [""; 0]]);
    let gateway = announce(&mut board, "a");
    assert_eq!((first.heard(), second.heard()), (vec![vec!["a".into()]], vec![vec!["a".into()]]));
    board.leave(first.id);
    board.leave(gateway);
    assert_eq!(first.heard(), NOTHING, "gone");
    assert_eq!(second.heard(), [[""; 0]]);
}

#[test]
fn in_the_grace_nobody_is_told_anything_until_it_is_over() {
    let mut board = board(true);
    let (mut known, mut asked_twice) = (Follower::new(&mut board), Follower::new(&mut board));
    known.ask(&mut board, &["a", "b"]);
    asked_twice.ask(&mut board, &[]);
    asked_twice.ask(&mut board, &[]);
    announce(&mut board, "a");
    let gone = announce(&mut board, "c");
    board.leave(gone);
    assert_eq!((known.heard(), asked_twice.heard()), (vec![], vec![]));
    board.end_grace();
    assert_eq!(known.heard(), [["a"]], "the truth, though a part of what was known");
    assert_eq!(asked_twice.heard(), [["a"], ["a"]], "each question has its answer");
    board.end_grace();
    assert_eq!(known.heard(), NOTHING);
}

#[test]
fn after_the_grace_nobody_is_the_truth() {
    let mut board = board(true);
    let mut asker = Follower::new(&mut board);
    asker.ask(&mut board, &["a"]);
    board.end_grace();
    assert_eq!(asker.heard(), [[""; 0]]);
}

#[test]
fn the_grace_is_over_for_all_once_all_that_were_known_are_back() {
    let mut board = board(true);
    let (mut php, mut rust) = (Follower::new(&mut board), Follower::new(&mut board));
    php.ask(&mut board, &[]);
    announce(&mut board, "b");
    announce(&mut board, "a");
    assert_eq!(php.heard(), NOTHING, "nobody has said that this is all");
    rust.ask(&mut board, &["a", "b"]);
    assert_eq!(php.heard(), [["b", "a"]]);
    assert_eq!(rust.heard(), [["b", "a"]]);
}

#[test]
fn a_worker_that_knew_more_is_not_told_less() {
    let mut board = board(true);
    let (mut first, mut second) = (Follower::new(&mut board), Follower::new(&mut board));
    announce(&mut board, "a");
    first.ask(&mut board, &["a"]);
    assert_eq!(first.heard(), [["a"]]);
    second.ask(&mut board, &["a", "b"]);
    let gone = announce(&mut board, "c");
    assert_eq!((first.heard(), second.heard()), (vec![], vec![]), "waiting for b");
    announce(&mut board, "b");
    assert_eq!(first.heard(), [["a", "c", "b"]], "what it missed, in one line");
    assert_eq!(second.heard(), [["a", "c", "b"]]);
    board.leave(gone);
    assert_eq!(first.heard(), [["a", "b"]]);
    assert_eq!(second.heard(), [["a", "b"]]);
}

#[test]
fn who_left_in_the_grace_is_owed_nothing() {
    let mut board = board(true);
    let mut asker = Follower::new(&mut board);
    asker.ask(&mut board, &[]);
    board.leave(asker.id);
    board.end_grace();
    assert_eq!(asker.heard(), NOTHING);
    assert!(board.askers.is_empty());
}

#[test]
fn what_is_told_is_counted() {
    let mut board = board(false);
    let asker = Follower::new(&mut board);
    asker.ask(&mut board, &[]);
    announce(&mut board, "a");
    let twin = announce(&mut board, "a");
    assert_eq!(board.metrics.gateways.get(), 1, "addresses, not connections");
    assert_eq!(board.metrics.workers.get(), 1);
    board.leave(twin);
    assert_eq!(board.metrics.gateways.get(), 1);
}

#[test]
fn a_register_that_goes_down_takes_no_gateway_with_it() {
    let mut board = board(false);
    let mut worker = Follower::new(&mut board);
    worker.ask(&mut board, &[]);
    let gateway = announce(&mut board, "a");
    worker.heard();
    board.close();
    board.leave(gateway);
    worker.ask(&mut board, &[]);
    assert_eq!(worker.heard(), NOTHING);
}

#[test]
fn workers_hear_of_each_other_and_others_do_not() {
    let mut board = board(false);
    let (mut php, mut worker) = (Follower::new(&mut board), Follower::new(&mut board));
    let second = Follower::new(&mut board);
    php.ask(&mut board, &[]);
    board.ask(worker.id, &worker.mailbox, asks(Some("w1")));
    worker.presence();
    let name = |text: &str| Instance::new(text).unwrap();
    let settled = vec![Settled { gateway: name("g"), owner: name("w1") }];
    board.ask(second.id, &second.mailbox, WorkerConnect { settled, ..asks(Some("w2")) });
    let heard = worker.presence().unwrap();
    assert_eq!(heard.workers, [name("w1"), name("w2")]);
    assert_eq!(heard.settled.len(), 1);
    board.leave(second.id);
    let heard = worker.presence().unwrap();
    assert_eq!((heard.workers.len(), heard.settled.len()), (1, 1));
    assert_eq!(worker.presence(), None, "told once");
    assert_eq!(php.heard().len(), 1, "its answer");
}

#[test]
fn second_gateway_with_one_address_is_told_to_nobody_and_refused_once_the_first_answers() {
    let mut board = board(false);
    let mut worker = Follower::new(&mut board);
    worker.ask(&mut board, &[]);
    let (first, second) = (board.name_peer(), board.name_peer());
    let (mut probed, accepted) = announce_as(&mut board, first, native("a:1", "1"));
    worker.heard();
    let (_outbox, verdict) = announce_as(&mut board, second, native("a:1", "2"));
    assert_eq!(probed.waiting(), Some(probe()));
    assert_eq!(worker.heard(), NOTHING);
    assert!(now(verdict.accepted()).is_none());
    board.hear(second);
    assert_eq!(refused(&verdict), None, "the second one's own word is none of the first");
    board.hear(first);
    let holder = SocketAddr::from(([127, 0, 0, u8::try_from(first).unwrap()], 4321));
    assert_eq!(refused(&verdict), Some(("a:1".to_owned(), holder)));
    board.leave(second);
    assert_eq!((worker.heard(), refused(&accepted)), (NOTHING.to_vec(), None));
}

#[test]
fn gateway_with_the_address_of_one_that_is_gone_is_told_to_all() {
    for silent in [false, true] {
        let mut board = board(false);
        let mut worker = Follower::new(&mut board);
        worker.ask(&mut board, &[]);
        let (first, second) = (board.name_peer(), board.name_peer());
        let _first = announce_as(&mut board, first, native("a:1", "1"));
        let (_outbox, verdict) = announce_as(&mut board, second, native("a:1", "2"));
        worker.heard();
        if silent {
            board.let_in(Instant::now() + crate::claims::PROBE);
        } else {
            board.leave(first);
        }
        assert!(now(verdict.accepted()).is_some());
        assert_eq!(board.addresses.list(), [native("a:1", "2")]);
        assert_eq!(worker.heard().last().unwrap(), &["a:1"]);
        // Its word refuses the first, should that come back to life.
        board.hear(second);
        board.leave(first);
        assert_eq!(board.addresses.list(), [native("a:1", "2")]);
    }
}

#[test]
fn connection_that_announces_another_address_gives_up_the_one_before() {
    let mut board = board(false);
    let (first, second) = (board.name_peer(), board.name_peer());
    let _first = announce_as(&mut board, first, native("a:1", "1"));
    let _second = announce_as(&mut board, second, native("b:1", "2"));
    let (_outbox, waits) = announce_as(&mut board, second, native("a:1", "2"));
    assert_eq!(board.addresses.list(), [native("a:1", "1")]);
    let _again = announce_as(&mut board, first, native("c:1", "1"));
    assert!(now(waits.accepted()).is_some());
    assert_eq!(board.addresses.list(), [native("c:1", "1"), native("a:1", "2")]);
}

#[test]
fn many_changes_at_once_leave_one_list_unread() {
    let mut board = board(false);
    let mut worker = Follower::new(&mut board);
    worker.ask(&mut board, &[]);
    worker.heard();
    let names: Vec<_> = (1..=200).map(|n| format!("a:{n}")).collect();
    for name in &names {
        announce(&mut board, name);
    }
    assert_eq!(worker.heard(), [names]);
}
