//! One shard of a gateway, for one group.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use protocol::{
    Group, LocalMember, Member, MemberChange, MemberId, PresenceNotified, PresenceReport,
};

/// The group of all clients.
pub(super) fn group() -> Group {
    Group::new("room").unwrap()
}

pub(super) fn id(number: usize) -> MemberId {
    MemberId::new(format!("m{number}")).unwrap()
}

pub(super) fn member(id: &MemberId) -> Member {
    Member::new(id.clone(), Bytes::copy_from_slice(id.as_bytes()), Bytes::new()).unwrap()
}

/// A message of the owner, or of one that was.
#[derive(Clone, Debug)]
pub(super) enum Order {
    Taken(u64),
    Set(MemberChange),
    View(Vec<Member>),
    Settled(u64),
    Notified(u64),
}

#[derive(Debug)]
pub(super) struct Client {
    /// `None` if it has joined as a plain client, as PHP workers let it.
    member: Option<MemberId>,
    waits: bool,
    /// The members that it was told of.
    pub(super) told: BTreeSet<MemberId>,
}

impl Client {
    pub(super) const fn is_plain(&self) -> bool {
        self.member.is_none()
    }

    pub(super) const fn has_joined_as_member(&self) -> bool {
        self.member.is_some() && !self.waits
    }
}

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) index: u16,
    pub(super) clients: BTreeMap<u32, Client>,
    view: Option<BTreeSet<MemberId>>,
    /// The number of the link of the owner.
    owner: Option<u64>,
    /// The number of the full report that the owner has not taken yet.
    fence: Option<u64>,
    number: u64,
    is_dirty: bool,
    needs_full: bool,
    asks_for_view: bool,
    /// The counts of the last report.
    reported: BTreeMap<MemberId, u32>,
    /// Members that have left, and the number of the report that says so.
    tombstones: BTreeMap<MemberId, Option<u64>>,
    /// Whether there was a client since it was settled that there is none, and the number of the
    /// report that says that there is none.
    was_occupied: bool,
    emptied: Option<u64>,
    /// The members that an application was notified of, and those that it was not with the report
    /// that says that they are here.
    notified: BTreeSet<MemberId>,
    appeared: BTreeMap<MemberId, u64>,
    is_notified: bool,
    occupied_in: Option<u64>,
    reported_clients: usize,
}

impl Shard {
    pub(super) fn new(index: u16) -> Self {
        Self {
            index,
            clients: BTreeMap::new(),
            view: None,
            owner: None,
            fence: None,
            number: 0,
            is_dirty: false,
            needs_full: true,
            asks_for_view: false,
            reported: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            was_occupied: false,
            emptied: None,
            notified: BTreeSet::new(),
            appeared: BTreeMap::new(),
            is_notified: false,
            occupied_in: None,
            reported_clients: 0,
        }
    }

    pub(super) fn counts(&self) -> BTreeMap<MemberId, u32> {
        let mut counts = BTreeMap::new();
        for id in self.clients.values().filter_map(|client| client.member.clone()) {
            *counts.entry(id).or_default() += 1;
        }
        counts
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.tombstones.is_empty() && !self.was_occupied
    }

    pub(super) fn join(&mut self, client: u32, member: Option<MemberId>) {
        self.is_dirty = true;
        self.was_occupied = true;
        self.emptied = None;
        let mut new = Client { member, waits: false, told: BTreeSet::new() };
        if let Some(id) = &new.member {
            self.tombstones.remove(id);
            match &self.view {
                Some(view) => new.receive_snapshot(view),
                None => {
                    let waits_already = self.clients.values().any(|client| client.waits);
                    self.asks_for_view |= !waits_already;
                    new.waits = true;
                }
            }
        }
        self.clients.insert(client, new);
    }

    pub(super) fn leave(&mut self, client: u32) {
        let Some(gone) = self.clients.remove(&client) else { return };
        self.is_dirty = true;
        if let Some(id) = gone.member
            && !self.counts().contains_key(&id)
        {
            self.notified.remove(&id);
            self.appeared.remove(&id);
            self.tombstones.insert(id, None);
        }
        if self.clients.values().all(|client| client.waits) {
            self.view = None;
        }
        if self.clients.is_empty() {
            self.asks_for_view = false;
            (self.is_notified, self.occupied_in) = (false, None);
        }
    }

    /// Another link is that of the owner, or there is none.
    pub(super) fn set_owner(&mut self, owner: Option<u64>) {
        self.owner = owner;
        self.needs_full = true;
        self.fence = None;
        self.appeared.clear();
        self.occupied_in = None;
        self.is_dirty = !self.is_empty();
        self.asks_for_view = self.clients.values().any(|client| client.waits);
    }

    pub(super) const fn owner(&self) -> Option<u64> {
        self.owner
    }

    /// The report that is due at the end of a turn, in parts, each with what an application was
    /// notified of.
    pub(super) fn report(&mut self) -> Vec<(PresenceNotified, PresenceReport)> {
        let parts = self.whole_report().map(parts).unwrap_or_default();
        let notified = |part: PresenceReport| {
            let ids = part.members.iter().map(|it| it.member.id());
            let notified = PresenceNotified {
                group: group(),
                shard: self.index,
                number: part.number,
                occupied: self.is_notified,
                members: ids.filter(|id| self.notified.contains(*id)).cloned().collect(),
            };
            (notified, part)
        };
        parts.into_iter().map(notified).collect()
    }

    fn whole_report(&mut self) -> Option<PresenceReport> {
        if !self.is_dirty || self.owner.is_none() {
            return None;
        }
        self.is_dirty = false;
        if self.is_empty() {
            return None;
        }
        self.number += 1;
        let number = self.number;
        let counts = self.counts();
        let full = std::mem::take(&mut self.needs_full);
        let reported = std::mem::replace(&mut self.reported, counts.clone());
        for id in counts.keys().filter(|id| full || !reported.contains_key(*id)) {
            self.appeared.insert(id.clone(), number);
        }
        if !self.clients.is_empty() && (full || self.reported_clients == 0) {
            self.occupied_in = Some(number);
        }
        self.reported_clients = self.clients.len();
        let mut members: BTreeMap<_, _> = counts;
        for (id, told) in &mut self.tombstones {
            if full || told.is_none() {
                members.insert(id.clone(), 0);
                *told = told.filter(|_| !full).or(Some(number));
            }
        }
        if !full {
            members.retain(|id, count| *count == 0 || reported.get(id) != Some(count));
        } else {
            self.fence = Some(number);
        }
        if self.clients.is_empty() && (full || self.emptied.is_none()) {
            self.emptied = Some(number);
        }
        let local = |(id, clients): (MemberId, u32)| match clients {
            0 => LocalMember { member: Member::new(id, "", "").unwrap(), clients },
            _ => LocalMember { member: member(&id), clients },
        };
        Some(PresenceReport {
            group: group(),
            shard: self.index,
            number,
            full,
            more: false,
            clients: self.clients.len() as u64,
            members: members.into_iter().map(local).collect(),
            view: self.view.clone().filter(|_| full).map(|view| view.into_iter().collect()),
            wants_view: std::mem::take(&mut self.asks_for_view),
        })
    }

    /// A message from this link has arrived.
    pub(super) fn obey(&mut self, link: u64, order: Order) {
        if self.owner != Some(link) {
            return;
        }
        match order {
            Order::Taken(number) if self.fence == Some(number) => self.fence = None,
            _ if self.fence.is_some() => {}
            Order::Taken(_) => {}
            Order::Set(change) => self.set(change),
            Order::View(members) => {
                assert!(members.iter().all(|it| *it == member(it.id())), "{members:?}");
                if self.view.is_none() && self.clients.values().any(|client| client.waits) {
                    let view: BTreeSet<_> = members.iter().map(|it| it.id().clone()).collect();
                    for client in self.clients.values_mut().filter(|client| client.waits) {
                        client.waits = false;
                        client.receive_snapshot(&view);
                    }
                    self.view = Some(view);
                }
            }
            Order::Notified(number) => self.set_notified(number),
            Order::Settled(number) => {
                self.set_notified(number);
                self.tombstones.retain(|_, told| told.is_none_or(|told| number < told));
                if self.emptied.is_some_and(|emptied| emptied <= number) && self.clients.is_empty()
                {
                    (self.was_occupied, self.emptied, self.needs_full) = (false, None, true);
                    self.reported.clear();
                }
            }
        }
    }

    fn set_notified(&mut self, number: u64) {
        self.is_notified |= self.occupied_in.is_some_and(|at| at <= number);
        let now = self.appeared.extract_if(.., |_, at| *at <= number);
        self.notified.extend(now.map(|(id, _)| id));
    }

    fn set(&mut self, change: MemberChange) {
        let Some(view) = &mut self.view else { return };
        let changes = match &change {
            MemberChange::Added(new) => {
                assert_eq!(**new, member(new.id()));
                view.insert(new.id().clone())
            }
            MemberChange::Removed(id) => view.remove(id),
        };
        let others = self
            .clients
            .values_mut()
            .filter(|client| !client.waits && client.member.as_ref() != Some(change.id()));
        if changes {
            others.for_each(|client| client.receive(&change));
        }
    }
}

/// Splits two of three reports, with up to two members in each part.
fn parts(report: PresenceReport) -> Vec<PresenceReport> {
    let most = match report.number % 3 {
        0 => return vec![report],
        most => most as usize,
    };
    let view = report.view.as_deref().unwrap_or_default();
    let count = report.members.len().max(view.len()).div_ceil(most).max(1);
    let part = |at: usize| PresenceReport {
        more: at + 1 < count,
        members: report.members.iter().skip(at * most).take(most).cloned().collect(),
        view: report
            .view
            .as_ref()
            .map(|all| all.iter().skip(at * most).take(most).cloned().collect()),
        wants_view: report.wants_view && at + 1 == count,
        ..report.clone()
    };
    (0..count).map(part).collect()
}

impl Client {
    fn receive_snapshot(&mut self, view: &BTreeSet<MemberId>) {
        self.told = view.clone();
        self.told.extend(self.member.clone());
    }

    /// Fails unless messages alternate.
    fn receive(&mut self, change: &MemberChange) {
        // Plain clients have no snapshot to begin with.
        if self.member.is_none() {
            return;
        }
        let alternates = match change {
            MemberChange::Added(member) => self.told.insert(member.id().clone()),
            MemberChange::Removed(id) => self.told.remove(id),
        };
        assert!(alternates, "{change:?} repeated at a client that knows {:?}", self.told);
    }
}
