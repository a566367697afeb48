//! The state of a gateway, without connections: executes commands and answers queries.

use std::collections::BTreeMap;

use protocol::{
    Answer, Close, CloseFrame, Command, ConnectionId, Fields, Filter, Grant, Group, Message, Query,
    Recipients, Refusal, Row, Session, Target, Uid,
};
use push_suite_cluster::internal::LocalGateway;

/// Clients by connection, closed ones included.
#[derive(Debug, Default)]
pub(super) struct Gateway {
    clients: BTreeMap<ConnectionId, Client>,
}

/// A client and what it has received.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) uid: Option<Uid>,
    pub(super) groups: Vec<Group>,
    pub(super) session: Session,
    pub(super) received: Vec<Message>,
    pub(super) closed: bool,
    /// The close frame that it has received.
    pub(super) close_frame: Option<CloseFrame>,
    /// Whether its handshake awaits an answer.
    pub(super) is_undecided: bool,
    pub(super) grant: Option<Grant>,
    pub(super) refusal: Option<Refusal>,
}

impl Client {
    fn close(&mut self) {
        (self.uid, self.groups, self.closed) = (None, Vec::new(), true);
    }

    fn close_with(&mut self, Close { frame, last_message }: Close) {
        self.received.extend(last_message);
        self.close_frame = Some(frame);
        self.close();
    }

    fn has(&self, uid: &Uid) -> bool {
        self.uid.as_ref() == Some(uid)
    }

    fn join(&mut self, group: Group) {
        if !self.groups.contains(&group) {
            self.groups.push(group);
        }
    }
}

/// Handshakes.
impl Client {
    fn accept(&mut self, grant: Grant) {
        if std::mem::take(&mut self.is_undecided) {
            self.uid = grant.uid().cloned().or(self.uid.take());
            grant.groups().iter().for_each(|group| self.join(group.clone()));
            if let Some(session) = grant.session() {
                self.session = session.clone();
            }
            self.grant = Some(grant);
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        if std::mem::take(&mut self.is_undecided) {
            self.refusal = Some(refusal);
            self.close();
        }
    }
}

impl Gateway {
    /// Connects a client.
    pub(super) fn connect(&mut self) -> ConnectionId {
        let id = ConnectionId(self.clients.len() as u32 + 1);
        self.clients.insert(id, Client::default());
        id
    }

    /// A client, closed or not.
    ///
    /// # Panics
    /// If it never was connected.
    pub(super) fn client(&mut self, id: ConnectionId) -> &mut Client {
        self.clients.get_mut(&id).expect("a client of this cluster")
    }

    fn open(&self) -> impl Iterator<Item = (ConnectionId, &Client)> {
        self.clients.iter().filter(|(_, client)| !client.closed).map(|(id, client)| (*id, client))
    }

    fn edit(&mut self, id: ConnectionId, edit: impl FnOnce(&mut Client)) {
        if let Some(client) = self.clients.get_mut(&id).filter(|client| !client.closed) {
            edit(client);
        }
    }

    /// Sends to every client as often as `times` says.
    fn send(&mut self, message: &Message, times: impl Fn(ConnectionId, &Client) -> usize) {
        for (id, client) in self.clients.iter_mut().filter(|(_, client)| !client.closed) {
            let times = times(*id, client);
            client.received.extend(std::iter::repeat_n(message.clone(), times));
        }
    }

    fn edit_clients_of(&mut self, uid: &Uid, mut edit: impl FnMut(ConnectionId, &mut Client)) {
        let open = self.clients.iter_mut().filter(|(_, client)| !client.closed);
        open.filter(|(_, client)| client.has(uid)).for_each(|(id, client)| edit(*id, client));
    }

    fn members(&self, group: Option<&Group>) -> impl Iterator<Item = (ConnectionId, &Client)> {
        self.open().filter(move |(_, client)| group.is_none_or(|it| client.groups.contains(it)))
    }

    fn select(&self, fields: Fields, filter: &Filter) -> Vec<Row> {
        let matches = |id: ConnectionId, client: &Client| match filter {
            Filter::All => true,
            Filter::Any { groups, uids, clients } => {
                clients.contains(&id)
                    || client.uid.as_ref().is_some_and(|uid| uids.contains(uid))
                    || client.groups.iter().any(|group| groups.contains(group))
            }
        };
        let row = |(id, client): (ConnectionId, &Client)| Row {
            client: id,
            uid: client.uid.clone().filter(|_| fields.uid),
            groups: if fields.groups { client.groups.clone() } else { Vec::new() },
            session: fields.session.then(|| client.session.clone()),
            joined: !client.groups.is_empty(),
        };
        self.open().filter(|(id, client)| matches(*id, client)).map(row).collect()
    }
}

impl LocalGateway for Gateway {
    fn execute(&mut self, command: Command) {
        match command {
            Command::SendToClient { to, message } => {
                self.send(&message, |id, _| usize::from(id == to));
            }
            Command::SendToAll { to, message } => self.send(&message, |id, _| {
                usize::from(match &to {
                    Recipients::All => true,
                    Recipients::Only(these) => these.contains(&id),
                    Recipients::Except(these) => !these.contains(&id),
                })
            }),
            Command::SendToUids { uids, message } => {
                self.send(&message, |_, client| uids.iter().filter(|uid| client.has(uid)).count());
            }
            Command::SendExcept { to, exclude, message } => self.send(&message, |id, client| {
                if exclude.clients.contains(&id) || exclude.uids.iter().any(|uid| client.has(uid)) {
                    return 0;
                }
                match &to {
                    Target::All => 1,
                    Target::Uids(uids) => uids.iter().filter(|uid| client.has(uid)).count(),
                    Target::Groups(groups) => {
                        groups.iter().filter(|group| client.groups.contains(group)).count()
                    }
                }
            }),
            Command::SendToGroups { groups, exclude, message } => {
                self.send(&message, |id, client| match exclude.contains(&id) {
                    true => 0,
                    false => groups.iter().filter(|group| client.groups.contains(group)).count(),
                });
            }
            Command::Close { client, farewell } => {
                self.edit(client, |client| client.close_with(farewell.into()));
            }
            Command::CloseWith { client, frame, farewell: last_message } => {
                self.edit(client, |client| client.close_with(Close { frame, last_message }));
            }
            Command::CloseUid { uid, exclude, frame, farewell: last_message } => {
                let close = Close { frame, last_message };
                self.edit_clients_of(&uid, |id, client| {
                    if !exclude.contains(&id) {
                        client.close_with(close.clone());
                    }
                });
            }
            Command::JoinGroupByUid { uid, group } => {
                self.edit_clients_of(&uid, |_, client| client.join(group.clone()));
            }
            Command::LeaveGroupByUid { uid, group } => {
                self.edit_clients_of(&uid, |_, client| client.groups.retain(|it| *it != group));
            }
            Command::Destroy { client } => self.edit(client, Client::close),
            Command::BindUid { client, uid } => self.edit(client, |client| client.uid = Some(uid)),
            Command::UnbindUid { client } => self.edit(client, |client| client.uid = None),
            Command::JoinGroup { client, group } => self.edit(client, |client| client.join(group)),
            Command::LeaveGroup { client, group } => {
                self.edit(client, |client| client.groups.retain(|it| *it != group));
            }
            Command::Ungroup { group } => {
                for client in self.clients.values_mut() {
                    client.groups.retain(|it| *it != group);
                }
            }
            Command::SetSession { client, session, .. } => {
                self.edit(client, |client| client.session = session);
            }
            Command::UpdateSession { client, changes, .. } => {
                // As in a gateway, an update that cannot be merged leaves the session as it is.
                self.edit(client, |client| drop(client.session.merge(&changes)));
            }
            Command::AcceptHandshake { client, grant, .. } => {
                self.edit(client, |client| client.accept(*grant));
            }
            Command::RefuseHandshake { client, refusal } => {
                self.edit(client, |client| client.refuse(*refusal));
            }
        }
    }

    fn answer(&mut self, query: Query) -> Answer {
        let count = |group: Option<&Group>| self.members(group).count() as u64;
        match query {
            Query::IsOnline { client } => Answer::Online(self.open().any(|(id, _)| id == client)),
            Query::Session { client } => {
                let found = self.open().find(|(id, _)| *id == client);
                Answer::Session(found.map(|(_, client)| client.session.clone()))
            }
            Query::Sessions { group } => {
                let members = self.members(group.as_ref());
                Answer::Sessions(members.map(|(id, it)| (id, it.session.clone())).collect())
            }
            Query::ClientsOfUids { uids } => {
                let clients = |uid: &Uid| {
                    let bound = self.open().filter(|(_, client)| client.has(uid));
                    bound.map(|(id, _)| id).collect()
                };
                Answer::Clients(uids.into_iter().map(|uid| (uid.clone(), clients(&uid))).collect())
            }
            Query::Count { group } => Answer::Count(count(group.as_ref())),
            Query::Counts { groups } => Answer::Counts(
                groups.into_iter().map(|group| (group.clone(), count(Some(&group)))).collect(),
            ),
            Query::Groups => {
                let mut groups: Vec<Group> =
                    self.open().flat_map(|(_, client)| client.groups.clone()).collect();
                groups.sort();
                groups.dedup();
                Answer::Groups(groups)
            }
            Query::Select { fields, filter } => Answer::Rows(self.select(fields, &filter)),
        }
    }
}
