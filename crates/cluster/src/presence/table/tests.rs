//! Single decisions, and the bound. Schedules are in [`model`](super::model).

use bytes::Bytes;
use protocol::LocalMember;

use super::*;
use crate::presence::notice::NoticeKind;

mod owners;

const GRACE: Duration = Duration::from_secs(3);

/// A table, and the time.
struct Scene {
    table: PresenceTable,
    start: Instant,
    now: Instant,
    number: u64,
}

fn group(name: &str) -> Group {
    Group::new(name).unwrap()
}

fn id(number: usize) -> MemberId {
    MemberId::new(format!("{number:05}")).unwrap()
}

fn local(number: usize, clients: u32) -> LocalMember {
    let member = Member::new(id(number), Bytes::new(), vec![b'x'; 100]).unwrap();
    LocalMember { member, clients }
}

fn gateway(number: u64) -> InstanceId {
    InstanceId::from_random(number)
}

impl Scene {
    fn new(limit: usize) -> Self {
        let start = Instant::now();
        let now = Now { at: start, micros: 0 };
        Self { table: PresenceTable::new(GRACE, limit, now), start, now: start, number: 0 }
    }

    fn now(&self) -> Now {
        Now { at: self.now, micros: (self.now - self.start).as_micros() as u64 }
    }

    /// The first gateway reports a group, in full or what has changed.
    fn report(&mut self, name: &str, full: bool, members: Vec<LocalMember>) -> Vec<Decision> {
        self.number += 1;
        let report = PresenceReport {
            group: group(name),
            shard: 0,
            number: self.number,
            full,
            more: false,
            clients: members.iter().map(|local| u64::from(local.clients)).sum(),
            members,
            view: None,
            wants_view: full,
        };
        self.table.report(&gateway(1), report, self.now());
        self.table.take_decisions()
    }

    /// All gateways have answered that they have these.
    fn answer(&mut self, ask: u64, members: Vec<LocalMember>, complete: bool) -> Vec<Decision> {
        let clients = members.iter().map(|local| u64::from(local.clients)).sum();
        self.table.answered(ask, PresenceAnswer { clients, members }, self.now());
        self.table.asked(ask, complete, self.now());
        self.table.take_decisions()
    }

    fn pass(&mut self, time: Duration) -> Vec<Decision> {
        self.now += time;
        self.table.due(self.now());
        self.table.take_decisions()
    }

    /// A group with these members, of which this worker is the owner.
    fn owned(&mut self, name: &str, members: Vec<LocalMember>) {
        let asked = asks(&self.report(name, true, members));
        self.answer(asked[0].0, Vec::new(), true);
    }
}

/// The queries among decisions, and the number of members that they are about.
fn asks(decisions: &[Decision]) -> Vec<(u64, Option<usize>)> {
    let ask = |decision: &Decision| match decision {
        Decision::Ask { ask, members, .. } => Some((*ask, members.as_ref().map(Vec::len))),
        _ => None,
    };
    decisions.iter().filter_map(ask).collect()
}

fn notices(decisions: &[Decision]) -> Vec<&NoticeKind> {
    let notice = |decision| match decision {
        &Decision::Notice(Notice { ref kind, .. }) => Some(kind),
        _ => None,
    };
    decisions.iter().filter_map(notice).collect()
}

fn views(decisions: &[Decision]) -> Vec<usize> {
    let view = |decision: &Decision| match decision {
        Decision::View { members, .. } => Some(members.len()),
        _ => None,
    };
    decisions.iter().filter_map(view).collect()
}

#[test]
fn reconnect_within_the_grace_period_changes_nothing() {
    let mut scene = Scene::new(usize::MAX);
    scene.owned("room", vec![local(1, 1)]);
    let left = scene.report("room", false, vec![local(1, 0)]);
    assert_eq!(notices(&left), [&NoticeKind::Clients(0)]);
    assert_eq!(scene.pass(GRACE - Duration::from_millis(100)), []);
    let back = scene.report("room", false, vec![local(1, 2)]);
    assert_eq!(notices(&back), [&NoticeKind::Clients(2)]);
    assert!(matches!(&back[1], Decision::Dealt { number: 3, dealt: Dealt::Whole, .. }), "{back:?}");
    assert_eq!(scene.pass(GRACE * 2), []);
}

#[test]
fn takeover_waits_for_gateways_that_do_not_answer_for_a_second() {
    let mut scene = Scene::new(usize::MAX);
    let first = scene.report("room", true, vec![local(1, 1)]);
    let [(ask, None)] = asks(&first)[..] else { panic!("{first:?}") };
    let now = scene.now();
    let found = PresenceAnswer { clients: 1, members: vec![local(2, 1)] };
    scene.table.answered(ask, found, now);
    assert_eq!(scene.pass(TAKEOVER - Duration::from_millis(1)), []);
    let begun = scene.pass(Duration::from_millis(1));
    assert_eq!(views(&begun), [2]);
    // A late answer is not lost. Whether the application was notified of its member is known once
    // the gateway reports to this owner.
    let late = scene.answer(ask, vec![local(3, 1)], true);
    assert!(matches!(&late[..], [Decision::Set { to: To::All, .. }]), "{late:?}");
    let reported = scene.report("room", false, vec![local(3, 1)]);
    assert_eq!(notices(&reported)[0], &NoticeKind::MemberAdded(local(3, 1).member));
}

#[test]
fn departures_are_asked_about_together_and_removed_when_all_have_answered() {
    let count = ASKED + 200;
    let mut scene = Scene::new(usize::MAX);
    scene.owned("room", (0..count).map(|number| local(number, 1)).collect());
    for number in 0..count {
        scene.report("room", false, vec![local(number, 0)]);
        scene.now += Duration::from_micros(1);
    }
    let asked = asks(&scene.pass(GRACE + TICK));
    let [(ask, Some(ASKED))] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(asks(&scene.answer(ask, Vec::new(), false)), [], "a gateway was not reached");
    let [(ask, Some(ASKED))] = asks(&scene.pass(RETRY + TICK))[..] else { panic!("not asked") };
    let removed = scene.answer(ask, vec![local(7, 1)], true);
    assert_eq!(notices(&removed).len(), ASKED - 1, "one is elsewhere");
    let [(ask, Some(200))] = asks(&scene.pass(TICK))[..] else { panic!("not asked") };
    scene.answer(ask, Vec::new(), true);
    let [(ask, Some(1))] = asks(&scene.pass(RECHECK + TICK))[..] else { panic!("not asked") };
    let end = scene.answer(ask, Vec::new(), true);
    assert_eq!(notices(&end), [&NoticeKind::MemberRemoved(id(7)), &NoticeKind::Vacated]);
    assert_eq!((scene.table.len(), scene.table.weight(), scene.table.next()), (0, 0, None));
}

#[test]
fn members_of_a_dead_gateway_are_removed_and_those_reported_to_another_owner_are_not() {
    let mut scene = Scene::new(usize::MAX);
    scene.owned("room", vec![local(1, 1)]);
    scene.owned("hall", vec![local(2, 1)]);
    let now = scene.now();
    scene.table.lost(&gateway(1), 0, &group("hall"), now);
    scene.table.gateway_dead(&gateway(1), now);
    assert_eq!(notices(&scene.table.take_decisions()), [&NoticeKind::Clients(0)]);
    let [(ask, Some(1))] = asks(&scene.pass(GRACE + TICK))[..] else { panic!("not asked") };
    let removed = scene.answer(ask, Vec::new(), true);
    assert_eq!(notices(&removed), [&NoticeKind::MemberRemoved(id(1)), &NoticeKind::Vacated]);
    assert_eq!((scene.table.len(), scene.table.weight()), (0, 0));
}

#[test]
fn state_that_a_new_link_does_not_confirm_is_forgotten() {
    let mut scene = Scene::new(usize::MAX);
    scene.owned("room", vec![local(1, 1)]);
    scene.owned("hall", vec![local(2, 1)]);
    let now = scene.now();
    scene.table.linked(&gateway(1), now);
    scene.report("hall", true, vec![local(2, 1)]);
    assert_eq!(scene.pass(CONFIRM), []);
    assert_eq!(scene.table.len(), 1);
}

#[test]
fn table_at_its_bound_takes_nothing_new_and_asks_for_everything_once_there_is_room() {
    let mut scene = Scene::new(50_000);
    let mut taken = 0;
    for number in 0..1000 {
        let decisions = scene.report(&format!("room{number}"), true, vec![local(number, 1)]);
        taken += usize::from(!decisions.is_empty());
        assert!(scene.table.weight() <= 51_000, "{}", scene.table.weight());
    }
    assert!((10..100).contains(&taken), "{taken}");
    assert!(scene.table.is_incomplete() && !scene.table.take_incomplete());
    // Known groups are followed, and large reports are cut.
    let more = (0..500).map(|number| local(number, 1)).collect();
    scene.report("room0", true, more);
    assert!(scene.table.weight() <= 51_000, "{}", scene.table.weight());
    let now = scene.now();
    for number in 0..taken / 2 {
        scene.table.lost(&gateway(1), 0, &group(&format!("room{number}")), now);
    }
    assert!(scene.table.take_incomplete());
    assert!(!scene.table.take_incomplete(), "once");
}

#[test]
fn full_report_takes_effect_with_its_last_part() {
    let mut scene = Scene::new(usize::MAX);
    scene.owned("room", vec![local(1, 1), local(2, 1), local(3, 1)]);
    let part = |number, more, member, view: Option<usize>| PresenceReport {
        group: group("room"),
        shard: 0,
        number,
        full: true,
        more,
        clients: 2,
        members: vec![member],
        view: Some(view.into_iter().map(id).collect()),
        wants_view: false,
    };
    let now = scene.now();
    scene.table.report(&gateway(1), part(9, true, local(1, 1), Some(1)), now);
    assert_eq!(scene.table.take_decisions(), []);
    scene.table.report(&gateway(1), part(9, false, local(2, 1), None), now);
    let decisions = scene.table.take_decisions();
    assert!(matches!(decisions[0], Decision::Taken { number: 9, .. }));
    let repaired = |decision: &Decision| match decision {
        Decision::Set { to: To::Only(_), change: MemberChange::Added(member), .. } => {
            Some(member.id().clone())
        }
        _ => None,
    };
    let repaired: Vec<_> = decisions.iter().filter_map(repaired).collect();
    assert_eq!(repaired, [id(2), id(3)], "the third departs, and is a member until then");
    let [(ask, Some(1))] = asks(&scene.pass(GRACE + TICK))[..] else { panic!("not asked") };
    let removed = scene.answer(ask, Vec::new(), true);
    assert_eq!(notices(&removed), [&NoticeKind::MemberRemoved(id(3))]);
}

#[test]
fn link_that_closes_within_a_full_report_leaves_nothing_of_it() {
    let mut scene = Scene::new(usize::MAX);
    scene.owned("room", vec![local(1, 1)]);
    let weight = scene.table.weight();
    let part = PresenceReport {
        group: group("room"),
        shard: 0,
        number: 9,
        full: true,
        more: true,
        clients: 2,
        members: vec![local(2, 1)],
        view: Some(vec![id(1)]),
        wants_view: false,
    };
    scene.table.report(&gateway(1), part, scene.now());
    assert!(weight < scene.table.weight());
    scene.table.linked(&gateway(1), scene.now());
    assert_eq!((scene.table.weight(), scene.table.members()), (weight, 1));
    assert_eq!(scene.table.take_decisions(), []);
}

#[test]
fn takeover_waits_for_gateways_that_cannot_answer_for_a_second() {
    let mut scene = Scene::new(usize::MAX);
    let [(ask, None)] = asks(&scene.report("room", true, vec![local(1, 1)]))[..] else {
        panic!("not asked")
    };
    assert_eq!(scene.answer(ask, Vec::new(), false), [], "one is not linked yet");
    // It is now, and reports a member of which it has the last client.
    let report = PresenceReport {
        group: group("room"),
        shard: 0,
        number: 1,
        full: true,
        more: false,
        clients: 1,
        members: vec![local(2, 1)],
        view: Some(vec![id(2)]),
        wants_view: false,
    };
    scene.table.report(&gateway(2), report, scene.now());
    scene.table.take_decisions();
    assert_eq!(scene.pass(TAKEOVER - Duration::from_millis(1)), []);
    assert_eq!(views(&scene.pass(Duration::from_millis(1))), [2]);
    assert_eq!(scene.pass(RECHECK * 2), []);
}

/// The parts of one report.
fn in_parts(report: &PresenceReport) -> Vec<PresenceReport> {
    let last = report.members.len() - 1;
    let part = |(at, member): (usize, &LocalMember)| PresenceReport {
        more: at < last,
        members: vec![member.clone()],
        wants_view: report.wants_view && at == last,
        ..report.clone()
    };
    report.members.iter().enumerate().map(part).collect()
}

fn report_of(number: u64, full: bool, members: Vec<LocalMember>) -> PresenceReport {
    PresenceReport {
        group: group("room"),
        shard: 0,
        number,
        full,
        more: false,
        clients: members.iter().map(|local| u64::from(local.clients)).sum(),
        members,
        view: None,
        wants_view: full,
    }
}

impl Scene {
    fn take(&mut self, report: PresenceReport) -> Vec<Decision> {
        self.table.report(&gateway(1), report, self.now());
        self.table.take_decisions()
    }
}

#[test]
fn first_report_in_parts_begins_a_takeover() {
    let mut scene = Scene::new(usize::MAX);
    let parts = in_parts(&report_of(1, true, vec![local(1, 1), local(2, 1)]));
    let [first, last] = <[_; 2]>::try_from(parts).unwrap();
    assert_eq!(scene.take(first), []);
    let decisions = scene.take(last);
    let [(ask, None)] = asks(&decisions)[..] else { panic!("{decisions:?}") };
    assert_eq!(views(&decisions), [0; 0], "no view before it has ended");
    assert_eq!(views(&scene.answer(ask, vec![local(3, 1)], true)), [3]);
}

#[test]
fn changes_in_parts_are_settled_and_shown_after_the_last() {
    let mut scene = Scene::new(usize::MAX);
    scene.owned("room", vec![local(1, 1)]);
    let report = PresenceReport {
        wants_view: true,
        ..report_of(9, false, vec![local(2, 1), local(3, 1), local(4, 1)])
    };
    let settled = |decisions: &[Decision]| {
        let whole =
            |it: &Decision| matches!(it, Decision::Dealt { number: 9, dealt: Dealt::Whole, .. });
        decisions.iter().any(whole)
    };
    let parts = in_parts(&report);
    let (last, others) = parts.split_last().unwrap();
    for part in others {
        let decisions = scene.take(part.clone());
        assert!(!settled(&decisions) && views(&decisions).is_empty(), "{decisions:?}");
    }
    let decisions = scene.take(last.clone());
    assert!(settled(&decisions), "{decisions:?}");
    assert_eq!(views(&decisions), [4]);
}

#[test]
fn rest_of_a_full_report_whose_first_part_is_dropped_changes_nothing() {
    let mut scene = Scene::new(usize::MAX);
    let members = || vec![local(1, 1), local(2, 1), local(3, 1)];
    scene.owned("room", members());
    let parts = in_parts(&report_of(9, true, members()));
    let (first, rest) = parts.split_first().unwrap();
    scene.take(first.clone());
    scene.table.linked(&gateway(1), scene.now());
    for part in rest {
        assert_eq!(scene.take(part.clone()), []);
    }
    assert_eq!(scene.pass(GRACE + TICK), [], "none has departed");
    // The next one counts, and no part of an earlier one with it.
    scene.take(PresenceReport { more: true, ..report_of(10, true, vec![local(7, 1)]) });
    let decisions = scene.take(report_of(11, true, members()));
    assert!(matches!(decisions[0], Decision::Taken { number: 11, .. }), "{decisions:?}");
    assert_eq!((scene.table.members(), scene.pass(CONFIRM)), (3, Vec::new()));
}

#[test]
fn group_that_empties_within_a_takeover_is_vacated() {
    let mut scene = Scene::new(usize::MAX);
    let [(ask, None)] = asks(&scene.report("room", true, vec![local(1, 1)]))[..] else {
        panic!("not asked")
    };
    // An earlier owner has given notice that it is occupied.
    scene.report("room", false, vec![local(1, 0)]);
    assert_eq!(notices(&scene.answer(ask, Vec::new(), true)), Vec::<&NoticeKind>::new());
    let [(ask, Some(1))] = asks(&scene.pass(GRACE + TICK))[..] else { panic!("not asked") };
    let end = scene.answer(ask, Vec::new(), true);
    assert_eq!(notices(&end), [&NoticeKind::MemberRemoved(id(1)), &NoticeKind::Vacated]);
    assert_eq!(scene.table.len(), 0);
}

/// The part of a report of the room that an application was notified of.
fn notified(number: u64, members: &[usize]) -> PresenceNotified {
    let members = members.iter().map(|number| id(*number)).collect();
    PresenceNotified { group: group("room"), shard: 0, number, occupied: true, members }
}

#[test]
fn new_owner_repeats_no_notice_that_was_given_before() {
    let mut scene = Scene::new(usize::MAX);
    scene.table.notified(&gateway(1), notified(7, &[1]));
    let asked = scene.take(report_of(7, true, vec![local(1, 1), local(2, 1)]));
    let begun = scene.answer(asks(&asked)[0].0, Vec::new(), true);
    // That there are so many clients is a state, and not a change.
    let added = NoticeKind::MemberAdded(local(2, 1).member);
    assert_eq!(notices(&begun), [&NoticeKind::Clients(2), &added]);
    // Both are removed, and the group is vacated.
    scene.take(report_of(8, false, vec![local(1, 0), local(2, 0)]));
    let asked = asks(&scene.pass(GRACE + TICK));
    let end = scene.answer(asked[0].0, Vec::new(), true);
    let removed = |number| NoticeKind::MemberRemoved(id(number));
    assert_eq!(notices(&end), [&removed(1), &removed(2), &NoticeKind::Vacated]);
}

#[test]
fn notification_of_another_report_or_of_a_member_that_has_left_does_not_count() {
    let mut scene = Scene::new(usize::MAX);
    scene.table.notified(&gateway(1), notified(6, &[1]));
    let asked = scene.take(report_of(7, true, vec![local(1, 1)]));
    let begun = scene.answer(asks(&asked)[0].0, Vec::new(), true);
    assert_eq!(notices(&begun).len(), 3, "occupied, clients and the member");
    scene.table.clear();
    scene.table.notified(&gateway(1), notified(8, &[1]));
    let asked = scene.take(report_of(8, true, vec![local(1, 0)]));
    scene.answer(asks(&asked)[0].0, vec![local(1, 1)], true);
    let back = scene.take(report_of(9, false, vec![local(1, 1)]));
    assert_eq!(notices(&back).len(), 3, "{back:?}");
}

#[test]
fn arrivals_are_dealt_with_while_departures_are_pending() {
    let mut scene = Scene::new(usize::MAX);
    scene.owned("room", vec![local(1, 1)]);
    scene.take(report_of(8, false, vec![local(1, 0)]));
    let dealt = |decisions: &[Decision]| match decisions.last() {
        Some(Decision::Dealt { number, dealt, .. }) => Some((*number, *dealt)),
        _ => None,
    };
    let come = scene.take(report_of(9, false, vec![local(2, 1)]));
    assert_eq!(dealt(&come), Some((9, Dealt::Arrivals)));
    let same = scene.take(report_of(10, false, vec![local(2, 2)]));
    assert_eq!(dealt(&same), None, "{same:?}");
    let [(ask, Some(1))] = asks(&scene.pass(GRACE + TICK))[..] else { panic!("not asked") };
    assert_eq!(dealt(&scene.answer(ask, Vec::new(), true)), Some((10, Dealt::Whole)));
}
