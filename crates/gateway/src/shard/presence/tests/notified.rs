//! Of what applications were notified, as the next owner learns.

use protocol::PresenceNotified;

use super::*;

impl Scene {
    /// Another worker becomes the owner. Returns of what it learns that an application was
    /// notified: that the group is occupied, and the members.
    fn next_owner(&mut self, link: u64) -> (bool, Vec<String>) {
        self.watch(&[link]);
        let messages = self.messages();
        let mut learnt = (false, Vec::new());
        for (_, message) in &messages {
            match message {
                ToPeer::PresenceNotified(notified) => {
                    let PresenceNotified { group, shard, occupied, members, .. } = &**notified;
                    assert_eq!((group, *shard), (&room(), SHARD));
                    learnt = (*occupied, members.iter().map(ToString::to_string).collect());
                }
                ToPeer::Presence(report) => {
                    assert!(report.full && report.group == room());
                    self.presence.taken(LinkId(link), &report.group, report.number);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(messages.last(), Some((_, ToPeer::Presence(_)))), "it comes first");
        learnt
    }
}

#[test]
fn next_owner_learns_what_was_notified() {
    let mut scene = Scene::with_view(&["a"]);
    scene.join(2, &room(), "b");
    let first = scene.report();
    scene.join(3, &room(), "c");
    scene.report();
    scene.presence.notified(LinkId(1), &room(), first.number);
    let (occupied, members) = scene.next_owner(2);
    assert!(occupied);
    assert_eq!(members, ["a", "b"]);
    // The former owner has no say any more, and the new one has not notified anything yet.
    scene.presence.notified(LinkId(1), &room(), u64::MAX);
    assert_eq!(scene.next_owner(3).1, ["a", "b"]);
    scene.presence.settled(LinkId(3), &room(), u64::MAX);
    assert_eq!(scene.next_owner(4).1, ["a", "b", "c"]);
}

#[test]
fn member_that_was_absent_meanwhile_was_not_notified() {
    let mut scene = Scene::with_view(&["a"]);
    scene.join(2, &room(), "b");
    scene.report();
    scene.presence.settled(LinkId(1), &room(), u64::MAX);
    scene.leave(2, &room());
    // Before the owner has learnt of it, too.
    scene.join(3, &room(), "b");
    assert_eq!(scene.next_owner(2), (true, vec!["a".to_owned()]));
    scene.presence.settled(LinkId(2), &room(), u64::MAX);
    for client in [1, 3] {
        scene.disconnect(client);
    }
    scene.join_plainly(4, &room());
    assert_eq!(scene.next_owner(3), (false, Vec::new()));
}

#[test]
fn worker_that_does_not_own_a_group_learns_nothing_about_departures() {
    let mut scene = Scene::with_view(&["a"]);
    assert!(scene.presence.is_owner(LinkId(1), &room()));
    assert!(!scene.presence.is_owner(LinkId(2), &room()), "watches nothing");
    scene.set_watchers(vec![watcher(1, 9), watcher(2, 9)]);
    let owner = scene.report_to().0;
    for link in [1, 2] {
        let room_without_clients = group("p-without-clients");
        assert_eq!(scene.presence.is_owner(LinkId(link), &room()), link == owner);
        let owner = scene.presence.owners.of(&room_without_clients).unwrap().link;
        let is_owner = scene.presence.is_owner(LinkId(link), &room_without_clients);
        assert_eq!(is_owner, LinkId(link) == owner);
    }
    scene.presence.set_watchers(vec![watcher(3, 9)].into());
    // The group has not got its new owner yet.
    assert!(!(1..4).any(|link| scene.presence.is_owner(LinkId(link), &room())));
}

#[test]
fn members_that_come_and_go_take_no_memory() {
    let mut scene = Scene::with_view(&["a"]);
    for round in 0..1000 {
        scene.join(2, &room(), &format!("m{round}"));
        scene.report();
        scene.leave(2, &room());
        let gone = scene.report();
        // Departures are settled; that something has come is not.
        let watched = scene.presence.groups.get_mut(&room()).unwrap();
        watched.settle(gone.number);
    }
    let watched = &scene.presence.groups[&room()];
    assert!(watched.members.appeared() < 100, "{}", watched.members.appeared());
}
