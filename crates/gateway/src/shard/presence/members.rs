//! The members of one group on one shard, its view, and the joins that wait for it: a value.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::{ConnectionId, LocalMember, Member, MemberChange, MemberId, Message, Snapshot};
use rustc_hash::FxHashMap;

use super::Totals;

/// Approximate bytes of an entry besides its member.
const ENTRY: usize = 128;

/// A client that joins a group as a member.
#[derive(Debug)]
pub(in crate::shard) struct Joining {
    pub(in crate::shard) client: ConnectionId,
    pub(in crate::shard) member: Member,
    pub(in crate::shard) snapshot: Snapshot,
    /// Whether it is in the group already.
    pub(in crate::shard) is_in: bool,
}

impl Joining {
    /// Approximate bytes that it takes.
    pub(super) fn weight(&self) -> usize {
        self.member.weight() + self.snapshot.weight() + 2 * ENTRY
    }
}

/// A client whose join has waited, and is completed.
#[derive(Debug)]
pub(in crate::shard) struct Welcomed {
    pub(in crate::shard) client: ConnectionId,
    pub(in crate::shard) snapshot: Snapshot,
    /// Sent behind the snapshot, unless the group has a retained message.
    pub(in crate::shard) behind: Option<Message>,
}

/// A member with clients here, or one that has left.
#[derive(Debug)]
pub(super) struct Here {
    pub(super) member: Member,
    pub(super) clients: BTreeSet<ConnectionId>,
    /// The number of clients that the owner knows.
    pub(super) reported: usize,
    /// Whether an owner may know it as present.
    pub(super) is_known: bool,
    /// Whether an application was notified of it, and it has had clients ever since.
    pub(super) is_notified: bool,
    /// The report that it appeared in, if the application was not notified of it yet.
    appeared_in: u64,
    /// The report of its departure.
    pub(super) left_in: u64,
    /// The number of its departure.
    pub(super) tombstone: u64,
}

/// A join that waits for the view.
#[derive(Debug)]
struct Waiting {
    snapshot: Snapshot,
    /// Whether the client is in the group already, without being a member.
    is_in: bool,
    /// Sent behind the snapshot, unless the group has a retained message by then.
    behind: Option<Message>,
}

impl Waiting {
    /// Approximate bytes that it takes.
    fn weight(&self) -> usize {
        self.snapshot.weight() + ENTRY + self.behind.as_ref().map_or(0, |it| it.body.len())
    }
}

/// The announced members.
type View = BTreeMap<MemberId, Member>;

/// Invariant: `of_clients` and the clients of `here` agree, and each client in `waiting` is in both.
/// `changed` has every member whose number of clients differs from the reported one, `departed`
/// every one without clients.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) here: BTreeMap<MemberId, Here>,
    of_clients: FxHashMap<ConnectionId, MemberId>,
    waiting: BTreeMap<ConnectionId, Waiting>,
    waiting_outside: usize,
    pub(super) view: Option<View>,
    /// The parts so far of a view that is not complete.
    partial: Option<View>,
    pub(super) changed: BTreeSet<MemberId>,
    pub(super) departed: BTreeSet<MemberId>,
    /// Members by the report that they appeared in; some have left since.
    appeared: VecDeque<(u64, MemberId)>,
    bytes: usize,
}

/// Entries of `appeared` beyond which those that have left are removed.
const APPEARED: usize = 64;

impl Members {
    pub(super) fn totals(&self) -> Totals {
        Totals {
            bytes: self.bytes,
            members: self.here.len() - self.departed.len(),
            waiting: self.waiting.len(),
        }
    }

    pub(super) fn has(&self, client: ConnectionId) -> bool {
        self.of_clients.contains_key(&client)
    }

    pub(super) fn has_view(&self) -> bool {
        self.view.is_some()
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Waiting clients that are not in the group.
    pub(super) fn waiting_outside(&self) -> usize {
        self.waiting_outside
    }

    pub(super) fn waits_outside(&self, client: ConnectionId) -> bool {
        self.waiting.get(&client).is_some_and(|waiting| !waiting.is_in)
    }

    /// The clients that wait.
    pub(super) fn waiting(&self) -> Vec<ConnectionId> {
        self.waiting.keys().copied().collect()
    }

    /// Every member's client.
    pub(super) fn clients(&self) -> Vec<ConnectionId> {
        let mut clients: Vec<_> = self.of_clients.keys().copied().collect();
        clients.sort_unstable();
        clients
    }

    /// The client was added to the group.
    pub(super) fn joined(&mut self, client: ConnectionId) {
        if let Some(waiting) = self.waiting.get_mut(&client)
            && !std::mem::replace(&mut waiting.is_in, true)
        {
            self.waiting_outside -= 1;
        }
    }

    /// Adds a member's client. Returns its snapshot, unless it has to wait.
    pub(super) fn join(&mut self, joining: Joining) -> Option<Message> {
        let Joining { client, member, snapshot, is_in } = joining;
        if !self.has(client) {
            let id = member.id().clone();
            self.of_clients.insert(client, id.clone());
            self.bytes += ENTRY;
            let here = self.here.entry(id.clone()).or_insert_with(|| {
                self.bytes += member.weight() + ENTRY;
                Here {
                    member: member.clone(),
                    clients: BTreeSet::new(),
                    reported: 0,
                    is_known: false,
                    is_notified: false,
                    appeared_in: u64::MAX,
                    left_in: u64::MAX,
                    tombstone: 0,
                }
            });
            if here.clients.is_empty() {
                // A member that had left was kept without its fragments.
                self.bytes = self.bytes + member.weight() - here.member.weight();
                here.member = member;
                self.departed.remove(&id);
            }
            here.clients.insert(client);
            self.changed.insert(id);
        }
        if self.view.is_some() {
            return self.compose(client, &snapshot).map(|(message, _)| message);
        }
        let behind = self.stop_waiting(client).and_then(|before| before.behind);
        let waiting = Waiting { snapshot, is_in, behind };
        self.bytes += waiting.weight();
        self.waiting_outside += usize::from(!is_in);
        self.waiting.insert(client, waiting);
        None
    }

    /// Keeps a message for a client that waits, in place of an earlier one. Returns whether it does.
    pub(super) fn keep_behind(&mut self, client: ConnectionId, message: &Message) -> bool {
        let Some(waiting) = self.waiting.get_mut(&client) else { return false };
        self.bytes -= waiting.weight();
        waiting.behind = Some(message.clone());
        self.bytes += waiting.weight();
        true
    }

    /// Removes a client. Returns its member.
    pub(super) fn left(&mut self, client: ConnectionId) -> Option<MemberId> {
        let id = self.of_clients.remove(&client)?;
        self.bytes -= ENTRY;
        self.stop_waiting(client);
        if let Some(here) = self.here.get_mut(&id) {
            here.clients.remove(&client);
            self.changed.insert(id.clone());
        }
        Some(id)
    }

    fn stop_waiting(&mut self, client: ConnectionId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&client)?;
        self.bytes -= waiting.weight();
        self.waiting_outside -= usize::from(!waiting.is_in);
        Some(waiting)
    }

    /// The member, if its last client has just left. One that no owner knows is forgotten.
    pub(super) fn departed(&mut self, id: &MemberId) -> Option<&mut Here> {
        let here = self.here.get_mut(id).filter(|here| here.clients.is_empty())?;
        if !here.is_known {
            self.remove(id);
            return None;
        }
        self.departed.insert(id.clone());
        (here.is_notified, here.appeared_in) = (false, u64::MAX);
        // The owner may know of its departure already, and not of its return.
        if here.reported != 0 {
            here.left_in = u64::MAX;
        }
        // Only its id is needed from here on.
        if let Ok(bare) = Member::new(id.clone(), "", "") {
            self.bytes = self.bytes + bare.weight() - here.member.weight();
            here.member = bare;
        }
        self.here.get_mut(id)
    }

    /// A member is reported that was not before, or to a new owner.
    pub(super) fn appears(&mut self, id: &MemberId, number: u64) {
        if 2 * self.here.len() + APPEARED <= self.appeared.len() {
            let here = &self.here;
            self.appeared.retain(|(at, id)| here.get(id).is_some_and(|it| it.appeared_in == *at));
        }
        if let Some(here) = self.here.get_mut(id).filter(|here| !here.is_notified) {
            here.appeared_in = number;
            self.appeared.push_back((number, id.clone()));
        }
    }

    #[cfg(test)]
    pub(super) fn appeared(&self) -> usize {
        self.appeared.len()
    }

    /// There is another owner, which has no report yet.
    pub(super) fn nothing_has_appeared(&mut self) {
        self.appeared = VecDeque::new();
    }

    /// An application was notified of what has appeared by that report.
    pub(super) fn notified(&mut self, number: u64) {
        while let Some((at, id)) = self.appeared.pop_front_if(|(at, _)| *at <= number) {
            if let Some(here) = self.here.get_mut(&id).filter(|here| here.appeared_in == at) {
                (here.is_notified, here.appeared_in) = (true, u64::MAX);
            }
        }
    }

    /// Forgets a member.
    pub(super) fn remove(&mut self, id: &MemberId) {
        if let Some(here) = self.here.remove(id) {
            self.bytes -= here.member.weight() + ENTRY;
        }
        self.departed.remove(id);
        self.changed.remove(id);
    }

    /// The next client whose join has waited, once there is a view.
    pub(super) fn next_waiting(&mut self) -> Option<Welcomed> {
        self.view.as_ref()?;
        let client = *self.waiting.first_key_value()?.0;
        let Waiting { snapshot, behind, .. } = self.stop_waiting(client)?;
        Some(Welcomed { client, snapshot, behind })
    }

    /// The snapshot for a member, and whether it is that of the view.
    pub(super) fn compose(
        &self,
        client: ConnectionId,
        snapshot: &Snapshot,
    ) -> Option<(Message, bool)> {
        let view = self.view.as_ref()?;
        let id = self.of_clients.get(&client)?;
        let mut members: Vec<&Member> = view.values().collect();
        let place = members.binary_search_by_key(&id, |member| member.id());
        if let Err(at) = place
            && let Some(own) = self.here.get(id)
        {
            members.insert(at, &own.member);
        }
        Some((snapshot.compose(members.iter().copied()), place.is_ok()))
    }

    pub(super) fn is_announced(&self, client: ConnectionId) -> bool {
        let id = self.of_clients.get(&client);
        id.zip(self.view.as_ref()).is_some_and(|(id, view)| view.contains_key(id))
    }

    /// Adds a part of the view: whether it is the first, and whether it is the last. Returns
    /// whether the view is complete with it. A view that exists is kept.
    pub(super) fn add_view(&mut self, (first, last): (bool, bool), part: Vec<Member>) -> bool {
        if self.view.is_some() {
            return false;
        }
        if first {
            self.drop_partial();
            self.partial = Some(View::new());
        }
        let Some(partial) = &mut self.partial else { return false };
        for member in part {
            self.bytes += member.weight() + ENTRY;
            if let Some(old) = partial.insert(member.id().clone(), member) {
                self.bytes -= old.weight() + ENTRY;
            }
        }
        if last {
            self.view = self.partial.take();
        }
        last
    }

    /// Drops the view.
    pub(super) fn drop_view(&mut self) {
        self.bytes -= weight(self.view.take());
        self.drop_partial();
    }

    pub(super) fn drop_partial(&mut self) {
        self.bytes -= weight(self.partial.take());
    }

    /// Changes the view. Returns the clients of the member itself; `None` if nothing changes, or if
    /// nothing was announced yet.
    pub(super) fn set(&mut self, change: MemberChange) -> Option<Vec<ConnectionId>> {
        let is_announced = self.view.is_some();
        let view = self.view.as_mut().or(self.partial.as_mut())?;
        let id = change.id().clone();
        match change {
            MemberChange::Added(_) if view.contains_key(&id) => return None,
            MemberChange::Added(member) => {
                self.bytes += member.weight() + ENTRY;
                view.insert(id.clone(), *member);
            }
            MemberChange::Removed(_) => self.bytes -= view.remove(&id)?.weight() + ENTRY,
        }
        let here = self.here.get(&id);
        let own = || here.map_or_else(Vec::new, |here| here.clients.iter().copied().collect());
        is_announced.then(own)
    }

    /// The members with clients here, or those of them that are listed, in the order of their ids.
    pub(super) fn local(&self, listed: Option<&[MemberId]>) -> Vec<LocalMember> {
        let local = |here: &Here| {
            let clients = here.clients.len() as u32;
            (0 < clients).then(|| LocalMember { member: here.member.clone(), clients })
        };
        match listed {
            None => self.here.values().filter_map(local).collect(),
            Some(ids) => {
                let ids: BTreeSet<_> = ids.iter().collect();
                ids.into_iter().filter_map(|id| self.here.get(id)).filter_map(local).collect()
            }
        }
    }
}

fn weight(view: Option<View>) -> usize {
    view.iter().flat_map(View::values).map(|member| member.weight() + ENTRY).sum()
}
