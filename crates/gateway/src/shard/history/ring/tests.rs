//! The last events, and those that match.

use std::net::SocketAddr;

use protocol::{
    Uid,
    inspect::{ClosedBy, Closing},
};

use super::*;

fn addr(host: u8) -> SocketAddr {
    ([10, 0, 0, host], 5000).into()
}

fn uid(name: &str) -> Uid {
    Uid::new(name).unwrap()
}

fn connected(host: u8) -> LifecycleKind {
    LifecycleKind::Connected { remote: addr(host), listener: addr(200) }
}

fn refused(host: u8) -> LifecycleKind {
    LifecycleKind::Refused { remote: addr(host), listener: addr(200), reason: "origin".to_owned() }
}

fn closed(host: u8, bound: Option<&str>) -> LifecycleKind {
    LifecycleKind::Closed(Box::new(Closing {
        remote: addr(host),
        uid: bound.map(uid),
        code: None,
        reason: "client".to_owned(),
        cause: String::new(),
        by: ClosedBy::Client,
        age: 0,
        queue_bytes: 0,
        events: 0,
    }))
}

/// A ring with these events of clients, numbered from 1 and a second apart.
fn ring(most: usize, events: impl IntoIterator<Item = (u32, LifecycleKind)>) -> Ring {
    let mut ring = Ring::new(most);
    for (at, (client, kind)) in (1..).zip(events) {
        let client = (client != 0).then_some(ConnectionId(client));
        ring.push(LifecycleEvent { number: at, at: at * 1000, client, kind });
    }
    ring
}

fn all() -> History {
    History { limit: 100, ..History::default() }
}

fn found(ring: &Ring, history: &History) -> Vec<u64> {
    ring.find(history).iter().map(|event| event.number).collect()
}

#[test]
fn oldest_events_go_first_and_frequent_ones_displace_no_others() {
    let many = ring(8, (1..=20).map(|client| (client, connected(1))));
    assert_eq!(found(&many, &all()), [15, 16, 17, 18, 19, 20], "three quarters of eight");
    let mixed = ring(8, [(1, connected(1))].into_iter().chain((2..=20).map(|_| (0, refused(2)))));
    assert_eq!(found(&mixed, &all()), [1, 19, 20], "a quarter of eight");
    let off = ring(0, [(1, connected(1)), (0, refused(1))]);
    assert!(off.is_off() && found(&off, &all()).is_empty());
    assert_eq!(found(&ring(1, [(1, connected(1)), (0, refused(1))]), &all()), [1]);
}

#[test]
fn repetition_for_one_client_is_recorded_once() {
    let slow = |bytes| LifecycleKind::Slow { queue_bytes: bytes };
    let paused = |reason| LifecycleKind::Paused { reason };
    use protocol::inspect::ReadPause::{MemoryPressure, RateLimit};
    let events = [
        (1, slow(1)),
        (2, slow(1)),
        (1, slow(2)),
        (1, paused(RateLimit)),
        (1, paused(MemoryPressure)),
        (1, paused(RateLimit)),
        (0, refused(1)),
        (0, refused(1)),
    ];
    assert_eq!(found(&ring(100, events), &all()), [1, 2, 4, 5, 7, 8]);
}

#[test]
fn events_are_selected_by_client_uid_address_and_time() {
    let events = [
        (1, connected(1)),
        (2, connected(2)),
        (1, LifecycleKind::Bound { uid: uid("ann") }),
        (0, refused(1)),
        (2, closed(2, Some("bob"))),
        (1, closed(1, Some("ann"))),
        (0, LifecycleKind::Draining { clients: 0 }),
    ];
    let ring = ring(100, events);
    let client = Some(ConnectionId(1));
    let (ann, bob) = (Some(uid("ann")), Some(uid("bob")));
    let ip = Some(addr(1).ip());
    for (history, expected) in [
        (all(), vec![1, 2, 3, 4, 5, 6, 7]),
        (History { client, ..all() }, vec![1, 3, 6]),
        (History { uid: ann.clone(), ..all() }, vec![1, 3, 6]),
        (History { uid: bob, ..all() }, vec![2, 5]),
        (History { uid: Some(uid("eve")), ..all() }, vec![]),
        (History { ip, ..all() }, vec![1, 3, 4, 6]),
        (History { uid: ann, ip, ..all() }, vec![1, 3, 6]),
        (History { since: 5000, ..all() }, vec![5, 6, 7]),
        (History { after: 5, ..all() }, vec![6, 7]),
        (History { limit: 2, ..all() }, vec![6, 7]),
        (History { client, limit: 2, ..all() }, vec![3, 6]),
        (History { limit: 0, ..all() }, vec![]),
    ] {
        assert_eq!(found(&ring, &history), expected, "{history:?}");
    }
}
