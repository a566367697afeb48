//! Several owners at once: what one of them has notified its application of may not hold any more.

use super::*;

/// A report of another shard.
fn at_shard(shard: u16, report: PresenceReport) -> PresenceReport {
    PresenceReport { shard, ..report }
}

#[test]
fn answers_from_before_another_owner_had_a_shard_remove_nothing() {
    let mut scene = Scene::new(usize::MAX);
    scene.owned("room", vec![local(1, 1)]);
    scene.take(at_shard(1, report_of(1, true, vec![local(2, 1)])));
    scene.take(report_of(8, false, vec![local(1, 0)]));
    let [(ask, Some(1))] = asks(&scene.pass(GRACE + TICK))[..] else { panic!("not asked") };
    let now = scene.now();
    scene.table.lost(&gateway(1), 1, &group("room"), now);
    scene.table.take_decisions();
    assert_eq!(notices(&scene.answer(ask, Vec::new(), true)), Vec::<&NoticeKind>::new());
    let [(ask, Some(1))] = asks(&scene.pass(RETRY + TICK))[..] else { panic!("not asked") };
    assert_eq!(notices(&scene.answer(ask, Vec::new(), true)), [&NoticeKind::MemberRemoved(id(1))]);
}

#[test]
fn member_that_appears_after_a_shard_was_lost_is_given_notice_of_again() {
    let mut scene = Scene::new(usize::MAX);
    scene.owned("room", vec![local(1, 1)]);
    scene.take(at_shard(1, report_of(1, true, vec![local(2, 1)])));
    let now = scene.now();
    // The other shard may have that owner as well: then it has removed the member, if it has left.
    scene.table.lost(&gateway(1), 1, &group("room"), now);
    scene.table.take_decisions();
    let back = scene.take(at_shard(2, report_of(2, true, vec![local(1, 1)])));
    let added = NoticeKind::MemberAdded(local(1, 1).member);
    assert_eq!(notices(&back), [&added, &NoticeKind::Occupied, &NoticeKind::Clients(2)]);
    // Once.
    let more = scene.take(at_shard(3, report_of(3, true, vec![local(1, 1)])));
    assert_eq!(notices(&more), [&NoticeKind::Clients(3)]);
    // It is removed as before.
    let now = scene.now();
    scene.table.lost(&gateway(1), 2, &group("room"), now);
    scene.table.lost(&gateway(1), 3, &group("room"), now);
    scene.take(report_of(9, false, vec![local(1, 0)]));
    let [(ask, Some(2))] = asks(&scene.pass(GRACE + TICK))[..] else { panic!("not asked") };
    let end = scene.answer(ask, Vec::new(), true);
    let removed = |number| NoticeKind::MemberRemoved(id(number));
    assert_eq!(notices(&end), [&removed(1), &removed(2), &NoticeKind::Vacated]);
}

#[test]
fn members_that_a_shard_reports_anew_without_notice_are_given_notice_of_again() {
    let mut scene = Scene::new(usize::MAX);
    scene.owned("room", vec![local(1, 1), local(2, 1)]);
    scene.take(at_shard(1, report_of(1, true, vec![local(1, 1), local(2, 1)])));
    let now = scene.now();
    scene.table.linked(&gateway(1), now);
    scene.table.notified(&gateway(1), notified(8, &[1]));
    let again = scene.take(report_of(8, true, vec![local(1, 1), local(2, 1)]));
    assert_eq!(notices(&again), [&NoticeKind::MemberAdded(local(2, 1).member)]);
}

#[test]
fn owner_without_a_shard_removes_what_no_gateway_has_and_leaves_the_rest() {
    for rest in [vec![], vec![local(2, 1)]] {
        let mut scene = Scene::new(usize::MAX);
        scene.owned("room", vec![local(1, 1), local(2, 1)]);
        let now = scene.now();
        scene.table.gateway_dead(&gateway(1), now);
        let [(ask, Some(2))] = asks(&scene.pass(GRACE + TICK))[..] else { panic!("not asked") };
        // The other gateways have another owner, and refuse to say what has departed.
        assert!(notices(&scene.answer(ask, Vec::new(), false)).is_empty());
        let [(ask, None)] = asks(&scene.pass(RETRY + TICK))[..] else { panic!("not asked") };
        let is_vacant = rest.is_empty();
        let end = scene.answer(ask, rest, true);
        let removed = |number| NoticeKind::MemberRemoved(id(number));
        match is_vacant {
            true => assert_eq!(notices(&end), [&removed(1), &removed(2), &NoticeKind::Vacated]),
            false => assert_eq!(notices(&end), [&removed(1)]),
        }
        assert_eq!((scene.table.len(), scene.table.weight()), (0, 0));
    }
}

#[test]
fn members_of_a_gateway_that_was_not_known_at_a_removal_are_given_notice_of_again() {
    let mut scene = Scene::new(usize::MAX);
    let now = scene.now();
    scene.table.linked(&gateway(1), now);
    scene.owned("room", vec![local(1, 1), local(2, 1)]);
    scene.take(PresenceReport { clients: 1, ..report_of(8, false, vec![local(2, 0)]) });
    let [(ask, Some(1))] = asks(&scene.pass(GRACE + TICK))[..] else { panic!("not asked") };
    let end = scene.answer(ask, Vec::new(), true);
    assert_eq!(notices(&end), [&NoticeKind::MemberRemoved(id(2))]);
    // This gateway has stood still, and has had a client of the member all the time.
    let now = scene.now();
    scene.table.linked(&gateway(2), now);
    scene.table.notified(&gateway(2), notified(1, &[2]));
    let report = report_of(1, true, vec![local(2, 1)]);
    scene.table.report(&gateway(2), report, now);
    let back = scene.table.take_decisions();
    let added = NoticeKind::MemberAdded(local(2, 1).member);
    assert_eq!(notices(&back), [&added, &NoticeKind::Clients(2)]);
    // Once: from here on it is asked.
    scene.table.linked(&gateway(2), now);
    scene.table.notified(&gateway(2), notified(2, &[2]));
    scene.table.report(&gateway(2), report_of(2, true, vec![local(2, 1)]), now);
    assert!(notices(&scene.table.take_decisions()).is_empty());
}
