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
