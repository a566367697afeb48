//! Who hears what in which order, without a socket.

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
    board.announce(peer, Gateway::plain(address.to_owned()));
    peer
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
