//! Random joins and departures, and owners that say anything in any order: each client sees each
//! member added and removed in turn, and reports describe the truth.

use proptest::{collection::vec, prelude::*};

use super::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Step {
    Join {
        client: u32,
        name: usize,
    },
    JoinPlainly {
        client: u32,
    },
    Leave {
        client: u32,
    },
    Disconnect {
        client: u32,
    },
    Ungroup,
    Watch {
        links: Vec<u64>,
    },
    /// Everything due is reported; the owner takes full reports, or not yet.
    Report {
        is_taken: bool,
    },
    Add {
        link: u64,
        name: usize,
    },
    Remove {
        link: u64,
        name: usize,
    },
    View {
        link: u64,
        names: Vec<usize>,
        first: bool,
        last: bool,
    },
    Settle {
        link: u64,
        back: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (client, name, link) = (0..5_u32, 0..NAMES.len(), 1..4_u64);
    prop_oneof![
        4 => (client.clone(), name.clone()).prop_map(|(client, name)| Step::Join { client, name }),
        1 => client.clone().prop_map(|client| Step::JoinPlainly { client }),
        3 => client.clone().prop_map(|client| Step::Leave { client }),
        1 => client.prop_map(|client| Step::Disconnect { client }),
        1 => Just(Step::Ungroup),
        2 => vec(link.clone(), 0..3).prop_map(|links| Step::Watch { links }),
        4 => any::<bool>().prop_map(|is_taken| Step::Report { is_taken }),
        4 => (link.clone(), name.clone()).prop_map(|(link, name)| Step::Add { link, name }),
        4 => (link.clone(), name.clone()).prop_map(|(link, name)| Step::Remove { link, name }),
        4 => (link.clone(), vec(name, 0..4), any::<(bool, bool)>()).prop_map(
            |(link, names, (first, last))| Step::View { link, names, first, last }
        ),
        2 => (link, 0..3_u64).prop_map(|(link, back)| Step::Settle { link, back }),
    ]
}

/// A scene, what each client has seen, and the state that was reported to each worker.
struct Model {
    scene: Scene,
    /// Each client that is or waits to be a member, and its name.
    members: BTreeMap<u32, &'static str>,
    /// The members that each client knows, since its snapshot.
    known: BTreeMap<u32, BTreeSet<String>>,
    told: BTreeMap<u64, Reported>,
    untaken: Vec<(u64, u64)>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Reported {
    clients: u64,
    members: BTreeMap<String, u32>,
}

impl Model {
    fn new() -> Self {
        Self {
            scene: Scene::new(),
            members: BTreeMap::new(),
            known: BTreeMap::new(),
            told: BTreeMap::new(),
            untaken: Vec::new(),
        }
    }

    fn inside(&self) -> BTreeSet<u32> {
        let inside = self.scene.groups.get(&room());
        inside.into_iter().flatten().map(|client| client.0).collect()
    }

    fn receive_snapshot(&mut self, client: u32, text: &str) {
        let ids = text.split(':').nth(1).unwrap();
        let ids: BTreeSet<_> = ids.split(',').map(str::to_owned).collect();
        assert!(ids.contains(self.members[&client]), "its own is missing in {text}");
        self.known.insert(client, ids);
    }

    fn announce(&mut self, link: u64, change: MemberChange) {
        let name = change.id().to_string();
        let is_added = matches!(change, MemberChange::Added(_));
        let Some(own) = self.scene.set(link, change) else { return };
        for client in self.inside() {
            if own.contains(&client) {
                assert_eq!(self.members[&client], name);
            } else if let Some(known) = self.known.get_mut(&client) {
                let is_new =
                    if is_added { known.insert(name.clone()) } else { known.remove(&name) };
                assert!(is_new, "{client} has seen it: {name}, {is_added}");
            }
        }
    }

    fn go(&mut self, client: u32) {
        self.members.remove(&client);
        self.known.remove(&client);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Join { client, name } => {
                let joined = self.scene.join(client, &room(), NAMES[name]);
                self.members.entry(client).or_insert(NAMES[name]);
                if let Joined::Now(message) = joined {
                    self.receive_snapshot(client, message.as_text().unwrap());
                }
            }
            Step::JoinPlainly { client } => self.scene.join_plainly(client, &room()),
            Step::Leave { client } => {
                let was_member = self.members.contains_key(&client);
                assert_eq!(self.scene.leave(client, &room()), was_member);
                self.go(client);
            }
            Step::Disconnect { client } => {
                self.scene.disconnect(client);
                self.go(client);
            }
            Step::Ungroup => {
                self.scene.groups.clear();
                self.scene.presence.ungrouped(&room());
                (self.members, self.known) = Default::default();
            }
            Step::Watch { links } => {
                let links: BTreeSet<_> = links.into_iter().collect();
                self.scene.watch(&links.iter().copied().collect::<Vec<_>>());
                self.told.retain(|link, _| links.contains(link));
            }
            Step::Report { is_taken } => self.report(is_taken),
            Step::Add { link, name } => self.announce(link, added(NAMES[name])),
            Step::Remove { link, name } => self.announce(link, removed(NAMES[name])),
            Step::View { link, names, first, last } => {
                let members = names.into_iter().map(|name| member(NAMES[name])).collect();
                let (inside, part) = (self.inside().len(), (first, last));
                if self.scene.presence.view(LinkId(link), &room(), part, members, inside) {
                    for (client, text) in self.scene.welcome(&room()) {
                        self.receive_snapshot(client, &text);
                    }
                }
            }
            Step::Settle { link, back } => {
                let number = self.scene.presence.number.saturating_sub(back);
                self.scene.presence.settled(LinkId(link), &room(), number);
            }
        }
    }

    fn report(&mut self, is_taken: bool) {
        for (link, message) in self.scene.messages() {
            let ToPeer::Presence(report) = message else {
                self.told.remove(&link);
                continue;
            };
            if report.full {
                self.told.insert(link, Reported::default());
                self.untaken.push((link, report.number));
            }
            let told = self.told.get_mut(&link).expect("the first report is full");
            told.clients = report.clients;
            for (name, count) in counts(&report.members) {
                match count {
                    0 => drop(told.members.remove(name)),
                    _ => drop(told.members.insert(name.to_owned(), count)),
                }
            }
        }
        if is_taken {
            for (link, number) in std::mem::take(&mut self.untaken) {
                self.scene.presence.taken(LinkId(link), &room(), number);
            }
        }
        if self.scene.presence.len() == 0 {
            // An owner that has settled that a shard is empty forgets it, as the shard does.
            self.told.retain(|_, told| *told != Reported::default());
        }
        let truth = self.truth();
        match self.scene.presence.owners.of(&room()).map(|owner| owner.link.0) {
            Some(owner) => {
                let told = self.told.get(&owner);
                assert_eq!(told.unwrap_or(&Reported::default()), &truth);
                assert!(self.told.keys().all(|link| *link == owner), "{:?}", self.told);
            }
            None => assert!(self.told.is_empty()),
        }
    }

    fn truth(&self) -> Reported {
        let mut truth = Reported::default();
        let mut clients = self.inside();
        for (client, name) in &self.members {
            clients.insert(*client);
            *truth.members.entry((*name).to_owned()).or_default() += 1;
        }
        truth.clients = clients.len() as u64;
        truth
    }

    fn check(&self) {
        let truth = self.truth();
        let inside = self.inside();
        let answer = self.scene.presence.answer(&room(), None, inside.len());
        assert_eq!(answer.clients, truth.clients);
        let members = counts(&answer.members);
        let truth: Vec<_> =
            truth.members.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(members, truth);
        assert_eq!(self.scene.presence.totals().members, members.len());
        let waiting = self.members.keys().filter(|client| !self.known.contains_key(client));
        assert_eq!(self.scene.presence.totals().waiting, waiting.count());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn members_are_added_and_removed_in_turn_whatever_owners_say(steps in vec(step(), 0..100)) {
        let mut model = Model::new();
        for step in steps {
            model.take(step);
            model.check();
        }
        model.take(Step::Report { is_taken: true });
        // Nothing is left of what everything has left.
        model.take(Step::Ungroup);
        model.take(Step::Watch { links: vec![1] });
        model.take(Step::Report { is_taken: true });
        model.take(Step::Settle { link: 1, back: 0 });
        model.take(Step::Report { is_taken: true });
        prop_assert_eq!(model.scene.presence.len(), 0);
        prop_assert_eq!(model.scene.presence.totals(), Totals::default());
        prop_assert!(model.scene.presence.of_clients.is_empty());
    }
}
