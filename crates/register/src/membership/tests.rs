//! Which peer is sent what, in which order, without a socket.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use protocol::{
    InstanceId,
    discovery::{CleanupRecord, Presence},
};

use super::*;
use crate::outbox::{self, Outbox};

struct TestWorker {
    id: PeerId,
    mailbox: Mailbox,
    outbox: Outbox,
}

impl TestWorker {
    fn new(membership: &mut Membership) -> Self {
        let (mailbox, outbox) = outbox::mailbox();
        Self { id: membership.new_peer_id(), mailbox, outbox }
    }

    fn subscribe(&self, membership: &mut Membership, known: &[&str]) {
        let known = known.iter().map(|&address| address.to_owned()).collect();
        membership.subscribe(self.id, &self.mailbox, WorkerConnect { known, ..request(None) });
    }

    /// The last worker list received, if any.
    fn presence(&mut self) -> Option<Presence> {
        let lines = std::iter::from_fn(|| self.outbox.pop());
        let FromRegister::BroadcastAddresses { presence, .. } =
            FromRegister::parse(lines.last()?.trim_ascii_end()).unwrap();
        presence
    }

    /// The lists received since the last call.
    fn received(&mut self) -> Vec<Vec<String>> {
        let lines = std::iter::from_fn(|| self.outbox.pop());
        lines
            .map(|line| {
                let FromRegister::BroadcastAddresses { gateways, .. } =
                    FromRegister::parse(line.trim_ascii_end()).unwrap();
                gateways.into_iter().map(|gateway| gateway.address).collect()
            })
            .collect()
    }
}

fn request(instance: Option<&str>) -> WorkerConnect {
    let instance = instance.map(|text| InstanceId::new(text).unwrap());
    WorkerConnect {
        secret_key: None,
        known: vec![],
        instance,
        settled: vec![],
        takeovers: vec![],
        complete: false,
        about: false,
    }
}

fn announce(membership: &mut Membership, address: &str) -> PeerId {
    let peer = membership.new_peer_id();
    announce_as(membership, peer, Gateway::plain(address.to_owned()));
    peer
}

/// Announces from a separate host per peer.
fn announce_as(
    membership: &mut Membership,
    peer: PeerId,
    gateway: Gateway,
) -> (Outbox, ClaimStatus) {
    let ((mailbox, outbox), status) = (outbox::mailbox(), ClaimStatus::default());
    let from = SocketAddr::from(([127, 0, 0, u8::try_from(peer).unwrap()], 4321));
    membership.announce(peer, from, gateway, (&mailbox, &status), Instant::now());
    (outbox, status)
}

fn native(address: &str, instance: &str) -> Gateway {
    let instance = InstanceId::new(instance).ok();
    Gateway { native: true, instance, ..Gateway::plain(address.to_owned()) }
}

/// The output of a future, if it is ready at once.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn refused(status: &ClaimStatus) -> Option<(String, SocketAddr)> {
    now(status.refused())
}

fn membership(grace: bool) -> Membership {
    Membership::new(grace, Metrics::default())
}

const NOTHING: [Vec<String>; 0] = [];

#[test]
fn response_goes_to_requester_and_change_to_all() {
    let mut membership = membership(false);
    let (mut first, mut second) =
        (TestWorker::new(&mut membership), TestWorker::new(&mut membership));
    first.subscribe(&mut membership, &[]);
    second.subscribe(&mut membership, &[]);
    second.subscribe(&mut membership, &[]);
    assert_eq!(first.received(), [[""; 0]]);
    assert_eq!(second.received(), [[""; 0], [""; 0]]);
    let gateway = announce(&mut membership, "a");
    assert_eq!(
        (first.received(), second.received()),
        (vec![vec!["a".into()]], vec![vec!["a".into()]])
    );
    membership.remove_peer(first.id);
    membership.remove_peer(gateway);
    assert_eq!(first.received(), NOTHING, "disconnected");
    assert_eq!(second.received(), [[""; 0]]);
}

#[test]
fn responses_wait_for_the_end_of_grace() {
    let mut membership = membership(true);
    let (mut known, mut requested_twice) =
        (TestWorker::new(&mut membership), TestWorker::new(&mut membership));
    known.subscribe(&mut membership, &["a", "b"]);
    requested_twice.subscribe(&mut membership, &[]);
    requested_twice.subscribe(&mut membership, &[]);
    announce(&mut membership, "a");
    let left = announce(&mut membership, "c");
    membership.remove_peer(left);
    assert_eq!((known.received(), requested_twice.received()), (vec![], vec![]));
    membership.end_grace();
    assert_eq!(known.received(), [["a"]], "the current list, though incomplete");
    assert_eq!(requested_twice.received(), [["a"], ["a"]], "one response per request");
    membership.end_grace();
    assert_eq!(known.received(), NOTHING);
}

#[test]
fn empty_list_is_sent_after_grace() {
    let mut membership = membership(true);
    let mut worker = TestWorker::new(&mut membership);
    worker.subscribe(&mut membership, &["a"]);
    membership.end_grace();
    assert_eq!(worker.received(), [[""; 0]]);
}

#[test]
fn grace_ends_for_all_once_known_gateways_have_reconnected() {
    let mut membership = membership(true);
    let (mut php, mut rust) = (TestWorker::new(&mut membership), TestWorker::new(&mut membership));
    php.subscribe(&mut membership, &[]);
    announce(&mut membership, "b");
    announce(&mut membership, "a");
    assert_eq!(php.received(), NOTHING, "no worker has confirmed that the list is complete");
    rust.subscribe(&mut membership, &["a", "b"]);
    assert_eq!(php.received(), [["b", "a"]]);
    assert_eq!(rust.received(), [["b", "a"]]);
}

#[test]
fn worker_that_knew_more_gateways_waits_for_them() {
    let mut membership = membership(true);
    let (mut first, mut second) =
        (TestWorker::new(&mut membership), TestWorker::new(&mut membership));
    announce(&mut membership, "a");
    first.subscribe(&mut membership, &["a"]);
    assert_eq!(first.received(), [["a"]]);
    second.subscribe(&mut membership, &["a", "b"]);
    let left = announce(&mut membership, "c");
    assert_eq!((first.received(), second.received()), (vec![], vec![]), "waiting for b");
    announce(&mut membership, "b");
    assert_eq!(first.received(), [["a", "c", "b"]], "the missed changes, in one line");
    assert_eq!(second.received(), [["a", "c", "b"]]);
    membership.remove_peer(left);
    assert_eq!(first.received(), [["a", "b"]]);
    assert_eq!(second.received(), [["a", "b"]]);
}

#[test]
fn worker_disconnected_during_grace_is_sent_nothing() {
    let mut membership = membership(true);
    let mut worker = TestWorker::new(&mut membership);
    worker.subscribe(&mut membership, &[]);
    membership.remove_peer(worker.id);
    membership.end_grace();
    assert_eq!(worker.received(), NOTHING);
    assert!(membership.subscribers.is_empty());
}

#[test]
fn announced_addresses_and_subscribers_are_counted() {
    let mut membership = membership(false);
    let worker = TestWorker::new(&mut membership);
    worker.subscribe(&mut membership, &[]);
    announce(&mut membership, "a");
    let twin = announce(&mut membership, "a");
    assert_eq!(membership.metrics.gateways.get(), 1, "addresses, not connections");
    assert_eq!(membership.metrics.workers.get(), 1);
    membership.remove_peer(twin);
    assert_eq!(membership.metrics.gateways.get(), 1);
}

#[test]
fn register_shutdown_withdraws_no_gateway() {
    let mut membership = membership(false);
    let mut worker = TestWorker::new(&mut membership);
    worker.subscribe(&mut membership, &[]);
    let gateway = announce(&mut membership, "a");
    worker.received();
    membership.close();
    membership.remove_peer(gateway);
    worker.subscribe(&mut membership, &[]);
    assert_eq!(worker.received(), NOTHING);
}

#[test]
fn worker_presence_is_sent_to_native_workers_only() {
    let mut membership = membership(false);
    let (mut php, mut worker) =
        (TestWorker::new(&mut membership), TestWorker::new(&mut membership));
    let second = TestWorker::new(&mut membership);
    php.subscribe(&mut membership, &[]);
    membership.subscribe(worker.id, &worker.mailbox, request(Some("w1")));
    worker.presence();
    let name = |text: &str| InstanceId::new(text).unwrap();
    let settled = vec![CleanupRecord { gateway: name("g"), owner: name("w1") }];
    membership.subscribe(
        second.id,
        &second.mailbox,
        WorkerConnect { settled, ..request(Some("w2")) },
    );
    let presence = worker.presence().unwrap();
    assert_eq!(presence.workers, [name("w1"), name("w2")]);
    assert_eq!(presence.settled.len(), 1);
    membership.remove_peer(second.id);
    let presence = worker.presence().unwrap();
    assert_eq!((presence.workers.len(), presence.settled.len()), (1, 1));
    assert_eq!(worker.presence(), None, "sent once");
    assert_eq!(php.received().len(), 1, "its response");
}

#[test]
fn second_gateway_with_same_address_is_unlisted_and_refused_once_first_responds() {
    let mut membership = membership(false);
    let mut worker = TestWorker::new(&mut membership);
    worker.subscribe(&mut membership, &[]);
    let (first, second) = (membership.new_peer_id(), membership.new_peer_id());
    let (mut probed, accepted) = announce_as(&mut membership, first, native("a:1", "1"));
    worker.received();
    let (_outbox, status) = announce_as(&mut membership, second, native("a:1", "2"));
    assert_eq!(probed.pop(), Some(probe()));
    assert_eq!(worker.received(), NOTHING);
    assert!(now(status.accepted()).is_none());
    membership.note_activity(second);
    assert_eq!(refused(&status), None, "activity of the second does not count for the first");
    membership.note_activity(first);
    let holder = SocketAddr::from(([127, 0, 0, u8::try_from(first).unwrap()], 4321));
    assert_eq!(refused(&status), Some(("a:1".to_owned(), holder)));
    membership.remove_peer(second);
    assert_eq!((worker.received(), refused(&accepted)), (NOTHING.to_vec(), None));
}

#[test]
fn gateway_with_address_of_dead_gateway_is_announced() {
    for silent in [false, true] {
        let mut membership = membership(false);
        let mut worker = TestWorker::new(&mut membership);
        worker.subscribe(&mut membership, &[]);
        let (first, second) = (membership.new_peer_id(), membership.new_peer_id());
        let _first = announce_as(&mut membership, first, native("a:1", "1"));
        let (_outbox, status) = announce_as(&mut membership, second, native("a:1", "2"));
        worker.received();
        if silent {
            membership.admit_due(Instant::now() + crate::claims::PROBE_TIMEOUT);
        } else {
            membership.remove_peer(first);
        }
        assert!(now(status.accepted()).is_some());
        assert_eq!(membership.addresses.list(), [native("a:1", "2")]);
        assert_eq!(worker.received().last().unwrap(), &["a:1"]);
        // Its activity refuses the first, if that becomes active again.
        membership.note_activity(second);
        membership.remove_peer(first);
        assert_eq!(membership.addresses.list(), [native("a:1", "2")]);
    }
}

#[test]
fn connection_that_announces_another_address_releases_the_previous() {
    let mut membership = membership(false);
    let (first, second) = (membership.new_peer_id(), membership.new_peer_id());
    let _first = announce_as(&mut membership, first, native("a:1", "1"));
    let _second = announce_as(&mut membership, second, native("b:1", "2"));
    let (_outbox, waiting) = announce_as(&mut membership, second, native("a:1", "2"));
    assert_eq!(membership.addresses.list(), [native("a:1", "1")]);
    let _again = announce_as(&mut membership, first, native("c:1", "1"));
    assert!(now(waiting.accepted()).is_some());
    assert_eq!(membership.addresses.list(), [native("c:1", "1"), native("a:1", "2")]);
}

#[test]
fn concurrent_changes_queue_one_list() {
    let mut membership = membership(false);
    let mut worker = TestWorker::new(&mut membership);
    worker.subscribe(&mut membership, &[]);
    worker.received();
    let names: Vec<_> = (1..=200).map(|n| format!("a:{n}")).collect();
    for name in &names {
        announce(&mut membership, name);
    }
    assert_eq!(worker.received(), [names]);
}
