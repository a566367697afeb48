//! The order of checks, and what is repeated.

use protocol::Keep;

use super::*;

const WORKER: LinkId = LinkId(7);

fn checks() -> UidChecks {
    UidChecks::new(UidLimit { connections: 1, keep: Keep::Oldest })
}

fn uid(name: impl ToString) -> Uid {
    Uid::new(name.to_string()).unwrap()
}

/// Begins the check of the only queued uid, by the worker.
fn begin(checks: &mut UidChecks) -> u64 {
    let uid = checks.next().unwrap();
    checks.checked_here(&uid, true, Some(WORKER)).unwrap()
}

fn assert_idle(checks: &mut UidChecks) {
    assert_eq!(checks.next(), None);
    assert_eq!((checks.running, checks.pending.len(), checks.queue.len()), (0, 0, 0));
}

#[test]
fn binding_during_a_check_repeats_it() {
    let mut checks = checks();
    checks.bound(uid("ann"));
    checks.bound(uid("ann"));
    let number = begin(&mut checks);
    assert_eq!(checks.next(), None, "two bindings before the check are one check");
    checks.bound(uid("ann"));
    checks.bound(uid("ann"));
    assert_eq!(checks.next(), None, "one check of a uid at a time");
    checks.checked(WORKER, number, &uid("ann"));
    let number = begin(&mut checks);
    checks.checked(WORKER, number, &uid("ann"));
    assert_idle(&mut checks);
}

#[test]
fn binding_while_shards_are_asked_repeats_the_check() {
    let mut checks = checks();
    checks.bound(uid("ann"));
    assert_eq!(checks.next(), Some(uid("ann")));
    checks.bound(uid("ann"));
    assert_eq!(checks.checked_here(&uid("ann"), false, Some(WORKER)), None);
    let number = begin(&mut checks);
    checks.checked(WORKER, number, &uid("ann"));
    assert_idle(&mut checks);
}

#[test]
fn only_the_answer_to_the_present_check_ends_it() {
    let mut checks = checks();
    checks.bound(uid("ann"));
    let first = begin(&mut checks);
    checks.link_ended(WORKER);
    let second = begin(&mut checks);
    for (by, number, name) in [
        (WORKER, first, "ann"),
        (LinkId(8), second, "ann"),
        (WORKER, second, "bob"),
        (WORKER, u64::MAX, "ann"),
    ] {
        checks.checked(by, number, &uid(name));
        assert_eq!(checks.running, 1, "{by:?} {number} {name}");
    }
    checks.checked(WORKER, second, &uid("ann"));
    checks.checked(WORKER, second, &uid("ann"));
    assert_idle(&mut checks);
}

#[test]
fn lost_worker_s_checks_are_repeated_by_another() {
    let mut checks = checks();
    for name in 0..10 {
        checks.bound(uid(name));
        let uid = checks.next().unwrap();
        let worker = LinkId(name % 2);
        assert!(checks.checked_here(&uid, true, Some(worker)).is_some());
    }
    checks.link_ended(LinkId(0));
    let mut again: Vec<_> = std::iter::from_fn(|| checks.next()).collect();
    again.sort();
    assert_eq!(again, [0, 2, 4, 6, 8].map(uid));
    assert_eq!(checks.running, 10);
}

#[test]
fn uids_without_a_worker_are_checked_once_one_is_linked() {
    let mut checks = checks();
    for name in ["ann", "bob"] {
        checks.bound(uid(name));
        let uid = checks.next().unwrap();
        assert_eq!(checks.checked_here(&uid, name == "ann", None), None);
    }
    assert_idle(&mut checks);
    checks.worker_linked();
    let number = begin(&mut checks);
    checks.checked(WORKER, number, &uid("ann"));
    assert_idle(&mut checks);
    assert!(!checks.take_incomplete());
}

#[test]
fn uids_beyond_the_bounds_are_found_again() {
    let mut checks = checks();
    for name in 0..PENDING {
        checks.bound(uid(name));
    }
    assert!(!checks.take_incomplete() && checks.takes_more(0));
    checks.bound(uid(0));
    assert!(!checks.take_incomplete(), "it is queued already");
    checks.bound(uid("one more"));
    assert!(checks.take_incomplete() && !checks.takes_more(1));
    assert!(!checks.take_incomplete());
    let running = std::iter::from_fn(|| checks.next()).count();
    assert_eq!((running, checks.pending.len()), (RUNNING, PENDING));
    // Without a worker, few are kept.
    for name in 0..PENDING {
        checks.checked_here(&uid(name), true, None);
        while checks.next().is_some() {}
    }
    assert_idle(&mut checks);
    assert!(checks.takes_more(PENDING / 2));
    assert!(checks.parked.len() == PARKED && checks.take_incomplete());
}
