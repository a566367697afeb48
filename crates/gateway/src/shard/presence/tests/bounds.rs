//! Bounds of reports, departures and memory.

use super::{
    super::{owners::IN_FLIGHT, tombstones::MOST},
    *,
};

#[test]
fn owner_that_reads_nothing_holds_back_its_own_reports_only() {
    let mut scene = Scene::new();
    scene.watch(&[1, 2]);
    scene.join_plainly(1, &room());
    let [(owner, _)] = scene.reports()[..] else { panic!("one report") };
    scene.presence.sent(LinkId(owner), IN_FLIGHT);
    for client in 2..30 {
        scene.join_plainly(client, &room());
        scene.join_plainly(client, &group(&format!("p-{client}")));
    }
    let others = scene.reports();
    assert!(!others.is_empty() && others.iter().all(|(link, _)| *link != owner));
    assert!(!scene.presence.is_due());
    scene.presence.written(LinkId(owner), 1);
    assert!(scene.presence.is_due());
    let late = scene.reports();
    let mine = late.iter().find(|(_, report)| report.group == room()).unwrap();
    assert_eq!((mine.0, mine.1.clients), (owner, 29), "one report of many changes");
    assert!(late.iter().all(|(link, _)| *link == owner));
}

#[test]
fn large_full_report_is_in_parts() {
    let mut scene = Scene::with_view(&["a"]);
    let names: Vec<_> = (0..10_000).map(|name| format!("{name:05}")).collect();
    names.iter().for_each(|name| drop(scene.set(1, added(name))));
    // Members of another room, which wait for its view.
    let other = group("p-other");
    for (client, name) in names.iter().enumerate().take(5000) {
        scene.join(client as u32, &other, name);
    }
    scene.watch(&[2]);
    let reports = scene.reports();
    for (room, [members, announced]) in [(room(), [1, 10_001]), (other, [5000, 0])] {
        let parts: Vec<_> =
            reports.iter().map(|(_, it)| it).filter(|it| it.group == room).collect();
        let (last, others) = parts.split_last().unwrap();
        assert!(!others.is_empty() && !last.more && others.iter().all(|part| part.more));
        assert!(parts.iter().all(|part| part.full && part.number == last.number));
        let all: Vec<_> = parts.iter().flat_map(|part| counts(&part.members)).collect();
        assert_eq!(all.len(), members);
        let view: Vec<_> =
            parts.iter().flat_map(|part| part.view.clone().unwrap_or_default()).collect();
        assert_eq!(view.len(), announced);
        assert!(view.is_sorted() && all.is_sorted());
    }
}

#[test]
fn departures_beyond_the_bound_are_forgotten_oldest_first() {
    let mut scene = Scene::watched();
    let room = |number: usize| group(&format!("p-{number}"));
    for number in 0..=2 * MOST {
        scene.join_plainly(1, &room(number));
        scene.reports();
        scene.leave(1, &room(number));
        scene.reports();
    }
    assert_eq!((scene.presence.len(), scene.presence.counts.forgotten), (MOST, MOST as u64 + 1));
    scene.watch(&[2]);
    let mut left: Vec<_> = scene.reports().into_iter().map(|(_, report)| report.group).collect();
    left.sort_unstable();
    let mut expected: Vec<_> = (MOST + 1..=2 * MOST).map(room).collect();
    expected.sort_unstable();
    assert_eq!(left, expected);
}

#[test]
fn members_beyond_the_budget_are_refused() {
    let mut scene = Scene::new();
    scene.presence = Presence::new(Some(8 * 64 * 1024));
    scene.watch(&[1]);
    let long = "x".repeat(500);
    let mut joined = 0;
    let refused = (0..1000).find(|client| {
        joined += 1;
        scene.join(*client, &room(), &format!("{client}{long}")) == Joined::Refused
    });
    assert!(refused.is_some_and(|client| 10 < client), "{refused:?}");
    assert!(scene.presence.totals().bytes <= 64 * 1024);
    scene.report();
    // A view that has no room: the joins that wait for it are refused.
    let many: Vec<_> = (0..100).map(|name| format!("{name}{long}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(scene.view(1, &room(), &many), []);
    assert_eq!((scene.presence.totals().waiting, scene.presence.counts.refused), (0, 2));
    assert_eq!(scene.report().clients, 0);
}

#[test]
fn surplus_view_without_room_changes_nothing() {
    let mut scene = Scene::watched();
    scene.join(1, &room(), "a");
    scene.report();
    assert_eq!(scene.view(1, &room(), &["a"]), [(1, "1:a:a!".to_owned())]);
    scene.presence.limit = scene.presence.totals().bytes + 100;
    let long = "x".repeat(500);
    assert_eq!(scene.view(1, &room(), &["a", &long]), []);
    assert_eq!(scene.presence.counts.refused, 0);
    // The members are known still, and changes announced.
    assert_eq!(scene.set(1, added("b")), Some(vec![]));
    assert!(scene.presence.is_announced(ConnectionId(1), &room()));
}

#[test]
fn group_that_is_dissolved_without_an_owner_leaves_nothing() {
    let mut scene = Scene::new();
    scene.join(1, &room(), "a");
    scene.presence.ungrouped(&room());
    assert_eq!((scene.presence.len(), scene.presence.totals()), (0, Totals::default()));
    scene.watch(&[1]);
    scene.join_plainly(2, &room());
    scene.watch(&[]);
    scene.groups.clear();
    scene.presence.ungrouped(&room());
    assert_eq!(scene.presence.len(), 0);
}

#[test]
fn owner_that_reads_nothing_is_owed_each_group_once() {
    let mut scene = Scene::watched();
    let names: Vec<_> = (0..20).map(|number| group(&format!("p-{number}"))).collect();
    names.iter().for_each(|name| scene.join_plainly(1, name));
    assert_eq!(scene.reports().len(), 20);
    scene.presence.sent(LinkId(1), IN_FLIGHT);
    for declaration in 2..100 {
        scene.set_watchers(vec![watcher(1, declaration), watcher(2, 1)]);
        scene.set_watchers(vec![watcher(1, declaration)]);
    }
    scene.presence.written(LinkId(1), IN_FLIGHT);
    let messages = scene.messages();
    let lost = messages.iter().filter(|(_, it)| matches!(it, ToPeer::PresenceLost { .. }));
    assert!(lost.count() < 20, "{messages:?}");
    let full: BTreeSet<_> = messages
        .iter()
        .filter_map(|(link, message)| match message {
            ToPeer::Presence(report) if *link == 1 && report.full => Some(report.group.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(full, names.into_iter().collect());
}

#[test]
fn group_is_queued_once_for_an_owner_that_declares_itself_anew() {
    let mut scene = Scene::watched();
    scene.join_plainly(1, &room());
    for declaration in 2..100 {
        scene.set_watchers(vec![watcher(1, declaration)]);
    }
    let (_, queue) = scene.presence.owners.next_due().unwrap();
    assert_eq!((queue.dirty.len(), queue.lost.len()), (1, 0));
    // Its queue is another one after it has watched nothing.
    for watchers in [vec![], vec![watcher(1, 100)]] {
        scene.presence.set_watchers(watchers.into());
    }
    while scene.presence.recheck(1) {}
    assert_eq!(scene.report().clients, 1);
}

#[test]
fn large_report_of_changes_is_in_parts_that_ask_for_the_view_once() {
    let mut scene = Scene::watched();
    scene.join_plainly(100_000, &room());
    scene.report();
    for client in 0..5000 {
        scene.join(client, &room(), &format!("{client:05}"));
    }
    let reports = scene.reports();
    let parts: Vec<_> = reports.iter().map(|(_, report)| report).collect();
    let (last, others) = parts.split_last().unwrap();
    assert!(!others.is_empty() && parts.iter().all(|part| !part.full && part.clients == 5001));
    assert!(!last.more && others.iter().all(|part| part.more && part.number == last.number));
    assert!(last.wants_view && others.iter().all(|part| !part.wants_view));
    assert_eq!(parts.iter().map(|part| part.members.len()).sum::<usize>(), 5000);
}
