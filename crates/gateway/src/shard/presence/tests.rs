//! Views, waiting joins, reports and departures, without a shard.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use protocol::{InstanceId, LocalMember, MessageKind, Part, PresenceReport, link::ToPeer};

use super::*;

mod bounds;
mod notified;
mod observers;

const SHARD: u16 = 3;

/// Presence with the directory of a shard.
struct Scene {
    presence: Presence,
    groups: BTreeMap<Group, BTreeSet<ConnectionId>>,
    declaration: u64,
}

fn group(name: &str) -> Group {
    Group::new(name).unwrap()
}

fn room() -> Group {
    group("p-room")
}

fn id(name: &str) -> MemberId {
    MemberId::new(name).unwrap()
}

fn member(name: &str) -> Member {
    Member::new(id(name), name.to_owned(), format!("{name}!")).unwrap()
}

fn added(name: &str) -> MemberChange {
    MemberChange::Added(Box::new(member(name)))
}

fn removed(name: &str) -> MemberChange {
    MemberChange::Removed(id(name))
}

fn snapshot() -> Snapshot {
    let colon = || Part::Bytes(Bytes::from_static(b":"));
    let parts = vec![Part::Count, colon(), Part::Ids, colon(), Part::Entries];
    Snapshot::new(MessageKind::Text, parts).unwrap()
}

fn watcher(link: u64, declaration: u64) -> Watcher {
    let instance = InstanceId::from_random(link);
    Watcher { link: LinkId(link), instance, declaration, prefixes: vec![group("p-")] }
}

impl Scene {
    fn new() -> Self {
        let presence = Presence::new(None);
        Self { presence, groups: BTreeMap::new(), declaration: 0 }
    }

    /// With a worker that watches and has taken what there is.
    fn watched() -> Self {
        let mut scene = Self::new();
        scene.watch(&[1]);
        scene
    }

    fn watch(&mut self, links: &[u64]) {
        self.declaration += 1;
        let watchers: Vec<_> = links.iter().map(|link| watcher(*link, 1)).collect();
        self.set_watchers(watchers);
    }

    fn set_watchers(&mut self, watchers: Vec<Watcher>) {
        if self.presence.set_watchers(watchers.into()) {
            self.groups.keys().for_each(|group| self.presence.found(group));
        }
        while self.presence.recheck(1) {}
    }

    fn join(&mut self, client: u32, group: &Group, name: &str) -> Joined {
        let client = ConnectionId(client);
        let is_in = self.groups.get(group).is_some_and(|clients| clients.contains(&client));
        let joining = Joining { client, member: member(name), snapshot: snapshot(), is_in };
        let joined = self.presence.join(group, joining);
        if let Joined::Now(_) = &joined {
            self.enter(client, group);
        }
        joined
    }

    fn enter(&mut self, client: ConnectionId, group: &Group) {
        self.presence.joined(client, group);
        self.groups.entry(group.clone()).or_default().insert(client);
    }

    /// Joins without being a member.
    fn join_plainly(&mut self, client: u32, group: &Group) {
        self.enter(ConnectionId(client), group);
    }

    fn leave(&mut self, client: u32, group: &Group) -> bool {
        let client = ConnectionId(client);
        let rest = self.groups.get_mut(group).map_or(0, |clients| {
            clients.remove(&client);
            clients.len()
        });
        self.groups.retain(|_, clients| !clients.is_empty());
        self.presence.left(client, group, rest)
    }

    fn disconnect(&mut self, client: u32) {
        let client = ConnectionId(client);
        let of = self.groups.iter().filter(|(_, clients)| clients.contains(&client));
        let of: Vec<_> = of.map(|(group, _)| group.clone()).collect();
        self.groups.values_mut().for_each(|clients| _ = clients.remove(&client));
        self.groups.retain(|_, clients| !clients.is_empty());
        let groups = &self.groups;
        let rest = |group: &Group| groups.get(group).map_or(0, BTreeSet::len);
        self.presence.disconnected(client, of.iter(), rest);
    }

    /// Completes the joins that wait. Returns the snapshots.
    fn welcome(&mut self, group: &Group) -> Vec<(u32, String)> {
        let mut all = Vec::new();
        while let Some(Welcomed { client, snapshot, .. }) = self.presence.next_waiting(group) {
            self.enter(client, group);
            let (message, _) = self.presence.compose(client, group, &snapshot).unwrap();
            all.push((client.0, message.as_text().unwrap().to_owned()));
        }
        all
    }

    fn view(&mut self, from: u64, group: &Group, names: &[&str]) -> Vec<(u32, String)> {
        let members = names.iter().map(|name| member(name)).collect();
        let clients = self.groups.get(group).map_or(0, BTreeSet::len);
        match self.presence.view(LinkId(from), group, (true, true), members, clients) {
            true => self.welcome(group),
            false => Vec::new(),
        }
    }

    fn set(&mut self, from: u64, change: MemberChange) -> Option<Vec<u32>> {
        let own = self.presence.set_member(LinkId(from), &room(), change)?;
        Some(own.into_iter().map(|client| client.0).collect())
    }

    /// Everything that is sent to owners now.
    fn messages(&mut self) -> Vec<(u64, ToPeer)> {
        let groups = &self.groups;
        let clients = |group: &Group| groups.get(group).map_or(0, BTreeSet::len);
        let mut all = Vec::new();
        while let Some((link, messages)) = self.presence.next_report(SHARD, clients) {
            all.extend(messages.into_iter().map(|message| (link.0, message)));
        }
        all
    }

    fn reports(&mut self) -> Vec<(u64, PresenceReport)> {
        let report = |(link, message)| match message {
            ToPeer::Presence(report) => Some((link, *report)),
            _ => None,
        };
        self.messages().into_iter().filter_map(report).collect()
    }

    /// The only report, taken if it is full.
    fn report(&mut self) -> PresenceReport {
        self.report_to().1
    }

    fn report_to(&mut self) -> (u64, PresenceReport) {
        let mut reports = self.reports();
        assert_eq!(reports.len(), 1, "{reports:?}");
        let (link, report) = reports.remove(0);
        assert_eq!(report.shard, SHARD);
        if report.full {
            self.presence.taken(LinkId(link), &report.group, report.number);
        }
        (link, report)
    }

    /// The members of a room where a worker has sent a view, in which client 1 is `a`.
    fn with_view(names: &[&str]) -> Self {
        let mut scene = Self::watched();
        assert_eq!(scene.join(1, &room(), "a"), Joined::Waits);
        scene.report();
        assert_eq!(scene.view(1, &room(), names).len(), 1);
        // The waiting client is counted before and after it has joined.
        assert!(scene.reports().is_empty());
        scene
    }
}

fn counts(members: &[LocalMember]) -> Vec<(&str, u32)> {
    members.iter().map(|it| (it.member.id().as_str().unwrap(), it.clients)).collect()
}

fn text(joined: Joined) -> String {
    let Joined::Now(message) = joined else { panic!("{joined:?}") };
    message.as_text().unwrap().to_owned()
}

#[test]
fn nothing_is_kept_without_a_watcher() {
    let mut scene = Scene::new();
    scene.join_plainly(1, &room());
    assert!(scene.presence.is_idle());
    scene.watch(&[1]);
    scene.join_plainly(2, &group("other"));
    assert_eq!(scene.presence.len(), 1);
    let report = scene.report();
    assert_eq!((report.full, report.clients, report.wants_view), (true, 1, false));
    scene.leave(2, &group("other"));
    assert!(scene.reports().is_empty());
}

#[test]
fn join_waits_for_the_view_and_receives_its_snapshot() {
    let mut scene = Scene::watched();
    assert_eq!(scene.join(1, &room(), "a"), Joined::Waits);
    assert_eq!(scene.join(2, &room(), "b"), Joined::Waits);
    let report = scene.report();
    assert!(report.full && report.wants_view && report.view.is_none() && !report.more);
    assert_eq!((report.clients, counts(&report.members)), (2, vec![("a", 1), ("b", 1)]));
    assert_eq!(report.members[0].member, member("a"));
    // `b` is not announced yet: its own snapshot has it.
    let welcomed = scene.view(1, &room(), &["a", "z"]);
    let a = (1, "2:a,z:a!,z!".to_owned());
    assert_eq!(welcomed, [a, (2, "3:a,b,z:a!,b!,z!".to_owned())]);
    // With a view, joins wait no more.
    assert_eq!(text(scene.join(3, &room(), "c")), "3:a,c,z:a!,c!,z!");
    assert_eq!(text(scene.join(3, &room(), "other")), "3:a,c,z:a!,c!,z!", "it stays the same");
    let report = scene.report();
    assert_eq!((report.full, report.clients, counts(&report.members)), (false, 3, vec![("c", 1)]));
    assert_eq!(scene.presence.totals().waiting, 0);
}

#[test]
fn view_in_parts_is_complete_with_the_last() {
    let mut scene = Scene::watched();
    scene.join(1, &room(), "a");
    scene.report();
    let mut part = |part, names: &[&str]| {
        let members = names.iter().map(|name| member(name)).collect();
        scene.presence.view(LinkId(1), &room(), part, members, 0)
    };
    assert!(!part((false, true), &["x"]), "the first part is missing");
    assert!(!part((true, false), &["a", "b"]));
    assert!(!part((false, false), &["c"]));
    assert!(part((false, true), &["d"]));
    assert_eq!(scene.welcome(&room()), [(1, "4:a,b,c,d:a!,b!,c!,d!".to_owned())]);
    assert_eq!(scene.view(1, &room(), &["y"]), [], "the view is kept");
    assert_eq!(text(scene.join(2, &room(), "a")), "4:a,b,c,d:a!,b!,c!,d!");
}

#[test]
fn change_is_announced_once_and_not_to_the_member_itself() {
    let mut scene = Scene::with_view(&["a"]);
    scene.join(2, &room(), "b");
    scene.join(3, &room(), "b");
    assert_eq!(scene.set(1, added("b")), Some(vec![2, 3]));
    assert_eq!(scene.set(1, added("b")), None);
    assert_eq!(scene.set(1, added("c")), Some(vec![]));
    assert_eq!(scene.set(1, removed("d")), None);
    assert_eq!(scene.set(1, removed("b")), Some(vec![2, 3]));
    assert_eq!(scene.set(1, removed("b")), None);
}

#[test]
fn only_the_owner_is_obeyed_once_it_has_taken_the_state() {
    let mut scene = Scene::with_view(&["a"]);
    assert_eq!(scene.set(2, added("b")), None);
    assert_eq!(scene.presence.counts.ignored, 1);
    // Another worker becomes the owner.
    scene.watch(&[2]);
    let reports = scene.reports();
    let [(2, report)] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!((report.full, &report.view), (true, &Some(vec![id("a")])));
    assert_eq!(scene.set(1, added("b")), None);
    assert_eq!(scene.set(2, added("b")), None, "sent before the report arrived");
    scene.presence.taken(LinkId(2), &room(), report.number - 1);
    assert_eq!(scene.set(2, added("b")), None, "an earlier report was taken");
    scene.presence.taken(LinkId(2), &room(), report.number);
    assert_eq!(scene.set(2, added("b")), Some(vec![]));
    assert_eq!(scene.presence.counts.ignored, 5);
}

#[test]
fn former_owner_is_informed_and_a_new_declaration_gets_full_reports() {
    let mut scene = Scene::watched();
    for room in 0..20 {
        scene.join_plainly(1, &group(&format!("p-{room}")));
    }
    assert_eq!(scene.reports().len(), 20);
    scene.watch(&[1, 2]);
    let messages = scene.messages();
    let lost = |(link, message): &(u64, ToPeer)| match message {
        ToPeer::PresenceLost { group, shard: SHARD } => {
            assert_eq!(*link, 1);
            Some(group.clone())
        }
        _ => None,
    };
    let full = |(link, message): &(u64, ToPeer)| match message {
        ToPeer::Presence(report) => {
            assert!(*link == 2 && report.full);
            Some(report.group.clone())
        }
        _ => None,
    };
    let mut lost: Vec<_> = messages.iter().filter_map(lost).collect();
    let mut moved: Vec<_> = messages.iter().filter_map(full).collect();
    lost.sort_unstable();
    moved.sort_unstable();
    assert_eq!(lost, moved);
    assert!((2..19).contains(&moved.len()), "{moved:?}");
    // The same worker begins anew.
    scene.set_watchers(vec![watcher(1, 1), watcher(2, 9)]);
    let again = scene.reports();
    assert!(again.iter().all(|(link, report)| *link == 2 && report.full));
    assert_eq!(again.len(), moved.len());
}

#[test]
fn reports_are_states_and_several_changes_are_one() {
    let mut scene = Scene::with_view(&["a"]);
    for client in 2..9 {
        scene.join(client, &room(), "b");
        scene.leave(client, &room());
    }
    assert!(scene.reports().is_empty());
    scene.join(2, &room(), "b");
    scene.join(3, &room(), "b");
    scene.join_plainly(4, &room());
    let report = scene.report();
    assert_eq!((report.clients, counts(&report.members)), (4, vec![("b", 2)]));
    scene.leave(2, &room());
    scene.disconnect(3);
    scene.disconnect(4);
    let report = scene.report();
    assert_eq!((report.clients, counts(&report.members)), (1, vec![("b", 0)]));
    assert!(!report.full && report.view.is_none());
}

#[test]
fn departures_stay_in_full_reports_until_they_are_settled() {
    let mut scene = Scene::with_view(&["a"]);
    scene.join(2, &room(), "b");
    scene.report();
    scene.disconnect(2);
    let left = scene.report();
    scene.disconnect(1);
    let empty = scene.report();
    assert_eq!((empty.clients, counts(&empty.members)), (0, vec![("a", 0)]));
    assert_eq!(scene.presence.totals().members, 0);
    // Settled up to the first of them.
    scene.presence.settled(LinkId(1), &room(), left.number);
    scene.watch(&[2]);
    let report = scene.report();
    assert_eq!((report.clients, counts(&report.members)), (0, vec![("a", 0)]));
    assert_eq!((report.view, report.members[0].member.detailed().len()), (None, 0));
    scene.presence.settled(LinkId(2), &room(), report.number - 1);
    assert!(scene.reports().is_empty() && scene.presence.len() == 1);
    scene.presence.settled(LinkId(2), &room(), report.number);
    assert!(scene.reports().is_empty() && scene.presence.len() == 0);
    assert_eq!(scene.presence.totals(), Totals::default());
}

#[test]
fn member_that_returns_before_it_is_settled_stays() {
    let mut scene = Scene::with_view(&["a"]);
    scene.disconnect(1);
    let empty = scene.report();
    assert_eq!(scene.join(2, &room(), "a"), Joined::Waits, "the view went with the last client");
    scene.presence.settled(LinkId(1), &room(), empty.number);
    let report = scene.report();
    assert_eq!((report.wants_view, report.clients), (true, 1));
    assert_eq!(
        (counts(&report.members), &report.members[0].member),
        (vec![("a", 1)], &member("a"))
    );
    assert_eq!(scene.view(1, &room(), &["a"]), [(2, "1:a:a!".to_owned())]);
}

#[test]
fn join_that_waits_ends_with_the_client() {
    let mut scene = Scene::watched();
    scene.join(1, &room(), "a");
    scene.join(2, &room(), "b");
    scene.join(3, &room(), "c");
    scene.report();
    scene.disconnect(1);
    assert!(scene.leave(2, &room()), "it has waited");
    assert!(!scene.leave(2, &room()));
    assert_eq!(counts(&scene.report().members), [("a", 0), ("b", 0)]);
    scene.presence.ungrouped(&room());
    assert_eq!(scene.report().clients, 0);
    assert_eq!(scene.view(1, &room(), &["a", "b", "c"]), []);
    assert_eq!((scene.presence.of_clients.len(), scene.presence.totals().waiting), (0, 0));
    assert_eq!(scene.set(1, added("d")), None, "no view is kept");
}

#[test]
fn client_that_joins_plainly_while_it_waits_counts_once() {
    let mut scene = Scene::watched();
    scene.join(1, &room(), "a");
    scene.join_plainly(1, &room());
    let report = scene.report();
    assert_eq!((report.clients, report.wants_view), (1, true));
    scene.join_plainly(2, &room());
    assert_eq!(scene.join(2, &room(), "b"), Joined::Waits);
    assert_eq!(scene.report().clients, 2);
    assert_eq!(scene.view(1, &room(), &["a", "b"]).len(), 2);
    assert!(scene.reports().is_empty());
}

#[test]
fn without_an_owner_joins_wait_and_views_are_used() {
    let mut scene = Scene::new();
    assert_eq!(scene.join(1, &room(), "a"), Joined::Waits);
    assert!(scene.reports().is_empty() && !scene.presence.is_idle());
    scene.disconnect(1);
    assert!(scene.presence.is_idle(), "no owner has known it");
    scene.join(1, &room(), "a");
    scene.watch(&[1]);
    assert!(scene.report().wants_view);
    scene.view(1, &room(), &["a", "b"]);
    scene.watch(&[]);
    assert_eq!(text(scene.join(2, &room(), "c")), "3:a,b,c:a!,b!,c!");
    scene.disconnect(2);
    scene.watch(&[1]);
    let report = scene.report();
    assert_eq!((report.clients, report.view.unwrap().len()), (1, 2));
}
