//! The standby clients of this worker on one gateway, which other workers own: a value.

use std::sync::Arc;

use protocol::{
    ConnectionId, Context, InstanceId, Session,
    standby::{self, HandedOver, StandbyClient},
};
use rustc_hash::{FxHashMap, FxHashSet};

/// How many lists of holders accumulate before the unused ones are removed.
const LISTS: usize = 64;

/// Maximum size, in bytes, of a session that is handed over to another worker.
const SESSION: usize = 4 * 1024;

/// All standby clients of one gateway.
#[derive(Default)]
pub(super) struct StandbyClients {
    clients: FxHashMap<ConnectionId, Record>,
    /// Each list of holders once: there are few distinct ones, shared by many clients.
    lists: FxHashSet<Arc<[InstanceId]>>,
    /// How many of `lists` were in use at the last check.
    used: usize,
}

/// The record of one client.
struct Record {
    holders: Arc<[InstanceId]>,
    /// Whether the owner is known to have received it.
    confirmed: bool,
    client: StandbyClient,
    session: Option<Box<Session>>,
}

impl Record {
    fn context(self) -> Context {
        let StandbyClient { remote, listener_port, .. } = self.client;
        Context {
            remote,
            listener_port,
            session: self.session.map_or_else(Session::default, |it| *it),
        }
    }
}

impl StandbyClients {
    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    fn list(&mut self, holders: Vec<InstanceId>) -> Arc<[InstanceId]> {
        if let Some(known) = self.lists.get(&holders[..]) {
            return Arc::clone(known);
        }
        if 2 * self.used + LISTS <= self.lists.len() {
            self.lists.retain(|list| 1 < Arc::strong_count(list));
            self.used = self.lists.len();
        }
        let list: Arc<[InstanceId]> = holders.into();
        self.lists.insert(Arc::clone(&list));
        list
    }

    /// Adds clients, or updates the holders of known ones.
    pub(super) fn add(
        &mut self,
        holders: Vec<InstanceId>,
        confirmed: bool,
        clients: Vec<StandbyClient>,
    ) {
        let list = self.list(holders);
        for client in clients {
            let session = self.clients.remove(&client.client).and_then(|known| known.session);
            let record = Record { holders: Arc::clone(&list), confirmed, client, session };
            self.clients.insert(client.client, record);
        }
    }

    /// Stores a client's session.
    pub(super) fn set_session(&mut self, client: ConnectionId, session: Session) {
        if let Some(record) = self.clients.get_mut(&client) {
            record.session = (!session.is_empty()).then(|| Box::new(session));
        }
    }

    pub(super) fn remove(&mut self, clients: &[ConnectionId]) {
        for client in clients {
            self.clients.remove(client);
        }
    }

    /// Merges the state of a later link to the same gateway, which takes precedence.
    pub(super) fn absorb(&mut self, later: Self) {
        self.clients.extend(later.clients);
        self.lists.extend(later.lists);
    }

    /// Adds clients handed over by another worker. A known record stays as it is unless the other
    /// one lists more holders, which then precede this worker.
    pub(super) fn accept_handover(&mut self, holders: Vec<InstanceId>, clients: Vec<HandedOver>) {
        let list = self.list(holders);
        for HandedOver { client, confirmed, session } in clients {
            let session = (!session.is_empty()).then(|| Box::new(session));
            let new = Record { holders: Arc::clone(&list), confirmed, client, session };
            match self.clients.get_mut(&client.client) {
                Some(known) if new.holders.len() <= known.holders.len() => {
                    known.session = known.session.take().or(new.session);
                }
                Some(known) => {
                    let session = new.session.or_else(|| known.session.take());
                    *known = Record { session, ..new };
                }
                None => drop(self.clients.insert(client.client, new)),
            }
        }
    }

    /// The distinct lists of holders.
    pub(super) fn groups(&self) -> Vec<Vec<InstanceId>> {
        let lists: FxHashSet<_> = self.clients.values().map(|record| &record.holders).collect();
        let mut lists: Vec<Vec<InstanceId>> = lists.into_iter().map(|list| list.to_vec()).collect();
        lists.sort_unstable();
        lists
    }

    /// The digest of the clients with these holders.
    pub(super) fn digest(&self, holders: &[InstanceId]) -> u64 {
        let of_these = self.clients.values().filter(|record| *record.holders == *holders);
        standby::digest(of_these.map(|record| record.client.client))
    }

    /// Removes the clients with these holders. Returns the clients to close: all, or those that the
    /// owner may not know.
    pub(super) fn resolve(
        &mut self,
        holders: &[InstanceId],
        all: bool,
    ) -> Vec<(ConnectionId, Context)> {
        let of_these = self.clients.extract_if(|_, record| *record.holders == *holders);
        let closed = of_these.filter(|(_, record)| all || !record.confirmed);
        let mut closed: Vec<_> = closed.map(|(client, it)| (client, it.context())).collect();
        closed.sort_unstable_by_key(|(client, _)| *client);
        closed
    }

    /// The handover records, by holders.
    pub(super) fn hand_over(&self) -> Vec<(Vec<InstanceId>, Vec<HandedOver>)> {
        let mut groups: FxHashMap<&Arc<[InstanceId]>, Vec<HandedOver>> = FxHashMap::default();
        for Record { holders, confirmed, client, session } in self.clients.values() {
            let session = session.as_deref().filter(|it| is_short(it)).cloned().unwrap_or_default();
            let client = HandedOver { client: *client, confirmed: *confirmed, session };
            groups.entry(holders).or_default().push(client);
        }
        let mut groups: Vec<_> =
            groups.into_iter().map(|(holders, clients)| (holders.to_vec(), clients)).collect();
        groups.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (_, clients) in &mut groups {
            clients.sort_unstable_by_key(|client| client.client.client);
        }
        groups
    }
}

/// Whether a session is handed over to another worker.
pub(super) fn is_short(session: &Session) -> bool {
    session.as_encoded().len() <= SESSION
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> InstanceId {
        InstanceId::new(text).unwrap()
    }

    fn holders(names: &[&str]) -> Vec<InstanceId> {
        names.iter().map(|text| name(text)).collect()
    }

    fn client(id: u32) -> StandbyClient {
        let remote = ([192, 0, 2, 7], 4321).into();
        StandbyClient { client: ConnectionId(id), remote, listener_port: 7272 }
    }

    fn session(text: &str) -> Session {
        Session::from_encoded(text.as_bytes().to_vec().into()).unwrap()
    }

    fn handed(id: u32) -> HandedOver {
        HandedOver { client: client(id), confirmed: true, session: Session::default() }
    }

    fn ids(closed: &[(ConnectionId, Context)]) -> Vec<u32> {
        closed.iter().map(|(ConnectionId(id), _)| *id).collect()
    }

    #[test]
    fn new_holders_of_a_known_client_leave_its_session() {
        let mut clients = StandbyClients::default();
        clients.add(holders(&["o", "s"]), true, vec![client(1), client(2)]);
        clients.set_session(ConnectionId(1), session("{}"));
        clients.set_session(ConnectionId(9), session("{}"));
        clients.add(holders(&["p", "s"]), false, vec![client(1)]);
        assert_eq!(clients.groups(), [holders(&["o", "s"]), holders(&["p", "s"])]);
        let closed = clients.resolve(&holders(&["p", "s"]), false);
        assert_eq!((ids(&closed), &closed[0].1.session), (vec![1], &session("{}")));
        assert_eq!(clients.resolve(&holders(&["o", "s"]), false).len(), 0, "the owner knows");
        assert!(clients.is_empty());
    }

    #[test]
    fn digest_is_that_of_the_clients_with_the_same_holders() {
        let (mut one, mut other) = (StandbyClients::default(), StandbyClients::default());
        one.add(holders(&["o", "s"]), true, vec![client(1), client(2)]);
        other.add(holders(&["o", "s"]), false, vec![client(2)]);
        other.add(holders(&["o", "t"]), true, vec![client(3)]);
        assert_ne!(one.digest(&holders(&["o", "s"])), other.digest(&holders(&["o", "s"])));
        other.add(holders(&["o", "s"]), true, vec![client(1)]);
        assert_eq!(one.digest(&holders(&["o", "s"])), other.digest(&holders(&["o", "s"])));
    }

    #[test]
    fn handed_over_client_keeps_the_longest_list_of_holders() {
        let mut clients = StandbyClients::default();
        clients.accept_handover(holders(&["o", "us"]), vec![handed(1)]);
        let known = HandedOver { session: session("{}"), ..handed(1) };
        clients.accept_handover(holders(&["o", "s", "us"]), vec![known]);
        clients.accept_handover(holders(&["o", "us"]), vec![handed(1)]);
        assert_eq!(clients.groups(), [holders(&["o", "s", "us"])]);
        let [(_, handed)] = &clients.hand_over()[..] else { panic!("one group") };
        assert_eq!(handed[0].session, session("{}"));
    }

    #[test]
    fn long_sessions_are_not_handed_over() {
        let mut clients = StandbyClients::default();
        clients.add(holders(&["o", "s"]), true, vec![client(1)]);
        clients.set_session(ConnectionId(1), session(&"x".repeat(SESSION + 1)));
        assert!(clients.hand_over()[0].1[0].session.is_empty());
    }

    #[test]
    fn unused_lists_of_holders_are_removed() {
        let mut clients = StandbyClients::default();
        for at in 0..LISTS * 10 {
            clients.add(holders(&[&at.to_string(), "s"]), true, vec![client(1)]);
        }
        assert!(clients.lists.len() <= 2 * LISTS, "{}", clients.lists.len());
    }
}
