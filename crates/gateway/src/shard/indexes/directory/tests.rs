//! The directory against a model that is too simple to be wrong.

use proptest::{collection::vec, prelude::*};

use super::*;

/// The expected contents of the directory, computed by scanning all clients.
#[derive(Default)]
struct Model {
    clients: Vec<Known>,
}

/// A client: its id, its uid and its groups, the latter two with their ordinals.
struct Known {
    id: u32,
    uid: Option<(u8, u64)>,
    groups: Vec<(u8, u64)>,
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32),
    Remove(u32),
    Bind(u32, u8),
    Unbind(u32),
    Join(u32, u8),
    Leave(u32, u8),
    Ungroup(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let (id, name) = (1..12u32, 0..4u8);
    prop_oneof![
        4 => id.clone().prop_map(Step::Insert),
        2 => id.clone().prop_map(Step::Remove),
        3 => (id.clone(), name.clone()).prop_map(|(id, name)| Step::Bind(id, name)),
        1 => id.clone().prop_map(Step::Unbind),
        4 => (id.clone(), name.clone()).prop_map(|(id, name)| Step::Join(id, name)),
        2 => (id, name.clone()).prop_map(|(id, name)| Step::Leave(id, name)),
        1 => name.prop_map(Step::Ungroup),
    ]
}

impl Model {
    fn apply(&mut self, step: &Step, now: u64) {
        match *step {
            Step::Insert(id) => {
                if self.clients.iter().all(|client| client.id != id) {
                    self.clients.push(Known { id, uid: None, groups: Vec::new() });
                }
            }
            Step::Remove(id) => self.clients.retain(|client| client.id != id),
            Step::Bind(id, uid) => self.with(id, |client| client.uid = Some((uid, now))),
            Step::Unbind(id) => self.with(id, |client| client.uid = None),
            Step::Join(id, group) => self.with(id, |client| {
                if client.groups.iter().all(|joined| joined.0 != group) {
                    client.groups.push((group, now));
                }
            }),
            Step::Leave(id, group) => {
                self.with(id, |client| client.groups.retain(|joined| joined.0 != group));
            }
            Step::Ungroup(group) => {
                for client in &mut self.clients {
                    client.groups.retain(|joined| joined.0 != group);
                }
            }
        }
    }

    fn with(&mut self, id: u32, change: impl FnOnce(&mut Known)) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.id == id) {
            change(client);
        }
    }

    fn bound(&self, uid: u8) -> Vec<u32> {
        by_age(self.clients.iter().map(|client| (client.id, client.uid.as_slice())), uid)
    }

    fn members(&self, group: u8) -> Vec<u32> {
        by_age(self.clients.iter().map(|client| (client.id, &client.groups[..])), group)
    }
}

/// The clients with a name, by ordinal.
fn by_age<'a>(clients: impl Iterator<Item = (u32, &'a [(u8, u64)])>, name: u8) -> Vec<u32> {
    let carrying = clients.flat_map(|(id, names)| {
        let names = names.iter().filter(move |carried| carried.0 == name);
        names.map(move |(_, since)| (*since, id))
    });
    let mut found: Vec<_> = carrying.collect();
    found.sort_unstable();
    found.into_iter().map(|(_, id)| id).collect()
}

fn apply(directory: &mut Directory<u32>, step: &Step, now: u64) {
    let now = Ordinal(now);
    match *step {
        Step::Insert(id) => {
            if directory.get(ConnectionId(id)).is_none() {
                directory.insert(ConnectionId(id), now, id * 10);
            }
        }
        Step::Remove(id) => {
            directory.remove(ConnectionId(id));
        }
        Step::Bind(id, uid) => directory.bind(ConnectionId(id), name(uid), now),
        Step::Unbind(id) => drop(directory.unbind(ConnectionId(id))),
        Step::Join(id, group) => directory.join(ConnectionId(id), name(group), now),
        Step::Leave(id, group) => drop(directory.leave(ConnectionId(id), &name(group))),
        Step::Ungroup(group) => {
            let members = directory.ungroup(&name(group));
            // With any slice size.
            for slice in members.chunks(2) {
                directory.take_out(&name(group), slice);
            }
        }
    }
}

fn name<N: TryFrom<String, Error = protocol::InvalidName>>(number: u8) -> N {
    N::try_from(format!("n{number}")).unwrap()
}

fn ids(found: impl Iterator<Item = (Ordinal, ConnectionId, u32)>) -> Vec<u32> {
    found
        .map(|(_, id, handle)| {
            assert_eq!(handle, id.0 * 10, "each entry leads to its own connection");
            id.0
        })
        .collect()
}

proptest! {
    #[test]
    fn directory_agrees_with_a_scan_of_all_clients(steps in vec(step(), 0..120)) {
        let (mut directory, mut model) = (Directory::new(), Model::default());
        for (now, step) in (1..).zip(&steps) {
            apply(&mut directory, step, now);
            model.apply(step, now);
            let all: Vec<_> = model.clients.iter().map(|client| client.id).collect();
            prop_assert_eq!(ids(directory.clients_after(Ordinal(0))), all);
            prop_assert_eq!(directory.len(), model.clients.len());
            for number in 0..4 {
                prop_assert_eq!(ids(directory.bound_after(&name(number), Ordinal(0))), model.bound(number));
                let members = model.members(number);
                prop_assert_eq!(directory.member_count(&name(number)), members.len());
                let bound = directory.bound_count(&name(number));
                prop_assert_eq!(bound, model.bound(number).len());
                prop_assert_eq!(ids(directory.members_after(&name(number), Ordinal(0))), members);
            }
            let named = (0..4).filter(|number| !model.members(*number).is_empty()).count();
            prop_assert_eq!(directory.groups().count(), named, "no empty group remains");
            for Known { id, uid, groups } in &model.clients {
                let client = directory.get(ConnectionId(*id)).unwrap();
                prop_assert_eq!(client.uid().cloned(), uid.map(|(uid, _)| name(uid)));
                let joined: Vec<Group> = groups.iter().map(|(group, _)| name(*group)).collect();
                prop_assert_eq!(client.groups().cloned().collect::<Vec<_>>(), joined);
            }
        }
    }
}

#[test]
fn joined_stays_set_after_leaving_every_group() {
    let (mut directory, id) = (Directory::new(), ConnectionId(1));
    directory.insert(id, Ordinal(1), 10);
    let joined = |directory: &Directory<u32>| directory.get(id).unwrap().joined();
    assert!(!joined(&directory));
    directory.join(id, name(1), Ordinal(2));
    directory.leave(id, &name(1));
    assert!(joined(&directory) && directory.get(id).unwrap().groups().next().is_none());
}

#[test]
fn a_large_group_shrinks_when_it_empties() {
    let mut roster = Roster::new();
    for at in 1..=10_000 {
        roster.add(Ordinal(at), ConnectionId(at as u32), at);
    }
    for at in 1..=9_999 {
        roster.remove(Ordinal(at));
        roster.remove(Ordinal(at));
    }
    assert_eq!(roster.iter().map(|(_, id, _)| id.0).collect::<Vec<_>>(), [10_000]);
    assert_eq!(roster.len(), 1);
}
