//! The state of a gateway, without connections: executes commands and answers queries.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    Answer, Close, CloseFrame, Command, ConnectionId, Effect, Fields, Filter, Grant, Group, Member,
    Message, Query, Recipients, Refusal, Renewal, Row, Session, Swap, Target, Uid,
};
use push_suite_cluster::internal::LocalGateway;

use super::retained::LastMessages;

/// Clients by connection, closed ones included.
#[derive(Debug, Default)]
pub(super) struct Gateway {
    clients: BTreeMap<ConnectionId, Client>,
    /// Whether it answers no query.
    pub(super) is_unavailable: bool,
    /// The last messages of groups.
    pub(super) last_messages: LastMessages,
}

/// A client and what it has received.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) uid: Option<Uid>,
    pub(super) groups: Vec<Group>,
    /// The member that it is in each group that it has joined as one.
    pub(super) members: BTreeMap<Group, Member>,
    pub(super) session: Session,
    pub(super) received: Vec<Message>,
    pub(super) closed: bool,
    /// When its connection expires.
    pub(super) expires_at: Option<u64>,
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
        self.members.clear();
    }

    fn close_with(&mut self, Close { frame, last_message }: Close) {
        self.received.extend(last_message);
        self.close_frame = Some(frame);
        self.close();
    }

    pub(super) fn has(&self, uid: &Uid) -> bool {
        self.uid.as_ref() == Some(uid)
    }

    /// Returns whether it was a member.
    fn leave(&mut self, group: &Group) -> bool {
        let before = self.groups.len();
        self.groups.retain(|it| it != group);
        self.members.remove(group);
        self.groups.len() < before
    }

    pub(super) fn join(&mut self, group: Group) {
        if !self.groups.contains(&group) {
            self.groups.push(group);
        }
    }
}

impl Client {
    /// Joins a group as a member, unless it is one already.
    pub(super) fn join_as(&mut self, group: Group, member: Member) {
        self.join(group.clone());
        self.members.entry(group).or_insert(member);
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

    pub(super) fn open(&self) -> impl Iterator<Item = (ConnectionId, &Client)> {
        self.clients.iter().filter(|(_, client)| !client.closed).map(|(id, client)| (*id, client))
    }

    /// Edits a client, if it is connected.
    pub(super) fn edit(&mut self, id: ConnectionId, edit: impl FnOnce(&mut Client)) -> Effect {
        self.edit_if(id, |client| {
            edit(client);
            true
        })
    }

    /// The same, where `edit` returns whether it had an effect.
    pub(super) fn edit_if(
        &mut self,
        id: ConnectionId,
        edit: impl FnOnce(&mut Client) -> bool,
    ) -> Effect {
        let client = self.clients.get_mut(&id).filter(|client| !client.closed);
        effect(client.map(edit))
    }

    /// Sends to every client as often as `times` says.
    pub(super) fn send(
        &mut self,
        message: &Message,
        times: impl Fn(ConnectionId, &Client) -> usize,
    ) -> Effect {
        let open = self.clients.iter_mut().filter(|(_, client)| !client.closed);
        effect(open.flat_map(|(id, client)| {
            let times = times(*id, client);
            client.received.extend(std::iter::repeat_n(message.clone(), times));
            std::iter::repeat_n(true, times)
        }))
    }

    /// Edits the clients of a uid for which `edit` returns whether it had an effect; `None` if it
    /// does not concern the client.
    fn edit_clients_of(
        &mut self,
        uid: &Uid,
        mut edit: impl FnMut(ConnectionId, &mut Client) -> Option<bool>,
    ) -> Effect {
        let open = self.clients.iter_mut().filter(|(_, client)| !client.closed);
        let clients = open.filter(|(_, client)| client.has(uid));
        effect(clients.filter_map(|(id, client)| edit(*id, client)))
    }

    pub(super) fn members(
        &self,
        group: Option<&Group>,
    ) -> impl Iterator<Item = (ConnectionId, &Client)> {
        self.open().filter(move |(_, client)| group.is_none_or(|it| client.groups.contains(it)))
    }

    pub(super) fn groups(&self) -> Vec<Group> {
        let groups = self.open().flat_map(|(_, client)| client.groups.clone());
        groups.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The different uids of a group's members, or of all clients.
    fn uids(&self, group: Option<&Group>) -> Vec<Uid> {
        let mut uids = Vec::new();
        for uid in self.members(group).filter_map(|(_, client)| client.uid.clone()) {
            if !uids.contains(&uid) {
                uids.push(uid);
            }
        }
        uids
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

/// The effect on the clients that a command applied to, given whether it took effect on each.
fn effect(took_effect: impl IntoIterator<Item = bool>) -> Effect {
    let mut effect = Effect::default();
    for took_effect in took_effect {
        effect.matched += 1;
        effect.reached += u64::from(took_effect);
    }
    effect
}

impl Gateway {
    fn apply(&mut self, command: Command) -> Effect {
        match command {
            Command::SendToClient { to, message } => {
                self.send(&message, |id, _| usize::from(id == to))
            }
            Command::SendToAll { to, message } => self.send(&message, |id, _| {
                usize::from(match &to {
                    Recipients::All => true,
                    Recipients::Only(these) => these.contains(&id),
                    Recipients::Except(these) => !these.contains(&id),
                })
            }),
            Command::SendToUids { uids, message } => {
                self.send(&message, |_, client| uids.iter().filter(|uid| client.has(uid)).count())
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
                })
            }
            Command::Close { client, farewell } => {
                self.edit(client, |client| client.close_with(farewell.into()))
            }
            Command::CloseWith { client, frame, farewell: last_message } => {
                self.edit(client, |client| client.close_with(Close { frame, last_message }))
            }
            Command::CloseUid { uid, exclude, frame, farewell: last_message } => {
                let close = Close { frame, last_message };
                self.edit_clients_of(&uid, |id, client| {
                    let closes = !exclude.contains(&id);
                    closes.then(|| client.close_with(close.clone())).map(|()| true)
                })
            }
            Command::JoinGroupByUid { uid, group } => self.edit_clients_of(&uid, |_, client| {
                client.join(group.clone());
                Some(true)
            }),
            Command::LeaveGroupByUid { uid, group } => {
                self.edit_clients_of(&uid, |_, client| Some(client.leave(&group)))
            }
            Command::JoinPresence { client, group, member, snapshot } => {
                self.join_presence(client, &group, *member, &snapshot)
            }
            Command::SendAndRetain { group, exclude, retention, message } => {
                self.retain(&group, message.clone(), retention);
                self.send(&message, |id, client| {
                    let is_excluded = exclude.clients.contains(&id)
                        || exclude.uids.iter().any(|uid| client.has(uid));
                    usize::from(!is_excluded && client.groups.contains(&group))
                })
            }
            Command::SendRetained { client, group, found, message } => {
                self.send_retained(client, &group, found, message)
            }
            Command::Publish { stream, exclude, message, .. } => {
                self.publish(&stream, &exclude, &message)
            }
            // Answers to questions, of which this gateway asks none.
            Command::StreamRead { .. } | Command::ResetStream { .. } => Effect::default(),
            // Sent by owners of groups, to which this gateway does not report.
            Command::PresenceTaken { .. }
            | Command::PresenceView { .. }
            | Command::SetMember { .. }
            | Command::PresenceSettled { .. }
            | Command::PresenceNotified { .. } => Effect::default(),
            // Sent because of a limit, which this gateway has not.
            Command::CloseBinding { .. } => Effect::default(),
            Command::SetExpiry { client, expires_at } => {
                self.edit(client, |client| client.expires_at = expires_at)
            }
            Command::Destroy { client } => self.edit(client, Client::close),
            Command::BindUid { client, uid } => self.edit(client, |client| client.uid = Some(uid)),
            Command::UnbindUid { client } => {
                self.edit_if(client, |client| client.uid.take().is_some())
            }
            Command::JoinGroup { client, group } => self.edit(client, |client| client.join(group)),
            Command::LeaveGroup { client, group } => {
                self.edit_if(client, |client| client.leave(&group))
            }
            Command::Ungroup { group } => {
                let left =
                    self.clients.values_mut().filter_map(|it| it.leave(&group).then_some(true));
                effect(left)
            }
            Command::SetSession { client, session, .. } => {
                self.edit(client, |client| client.session = session)
            }
            Command::RemoveSessionKeys { client, keys, .. } => {
                self.edit(client, |client| drop(client.session.remove(&keys)))
            }
            Command::UpdateSession { client, changes, .. } => {
                // As in a gateway, an update that cannot be merged leaves the session as it is.
                self.edit(client, |client| drop(client.session.merge(&changes)))
            }
            Command::AcceptHandshake { client, grant, .. } => {
                self.edit(client, |client| client.accept(*grant))
            }
            Command::RefuseHandshake { client, refusal } => {
                self.edit(client, |client| client.refuse(*refusal))
            }
        }
    }
}

impl LocalGateway for Gateway {
    fn execute(&mut self, command: Command) -> Effect {
        let effect = self.apply(command);
        self.note_departures();
        effect
    }

    fn answer(&mut self, query: Query) -> Answer {
        if self.is_unavailable {
            return Answer::Unavailable;
        }
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
            Query::Groups => Answer::Groups(self.groups()),
            Query::Select { fields, filter } => Answer::Rows(self.select(fields, &filter)),
            Query::Online { clients } => {
                let is_open = |id: &ConnectionId| self.open().any(|(open, _)| open == *id);
                Answer::Numbers(clients.iter().map(|id| is_open(id).into()).collect())
            }
            Query::CountsOfUids { uids } => {
                let count = |uid: &Uid| self.open().filter(|(_, it)| it.has(uid)).count() as u64;
                Answer::Numbers(uids.iter().map(count).collect())
            }
            Query::CountsOfAllGroups => {
                let groups = self.groups().into_iter();
                Answer::Counts(groups.map(|group| (group.clone(), count(Some(&group)))).collect())
            }
            Query::UidCount { group } => Answer::Count(self.uids(group.as_ref()).len() as u64),
            Query::Uids { group } => Answer::Uids(self.uids(group.as_ref())),
            Query::SwapSession { client, expected, new, .. } => {
                let open = self.clients.get_mut(&client).filter(|client| !client.closed);
                Answer::Swap(match open {
                    None => Swap::Offline,
                    Some(client) if client.session.equals(&expected) => {
                        client.session = new;
                        Swap::Done
                    }
                    Some(client) => Swap::Other(client.session.clone()),
                })
            }
            // Its clients have no tokens.
            Query::RenewToken { client, .. } => {
                let is_open = self.open().any(|(id, _)| id == client);
                let without = Renewal::WithoutToken;
                Answer::Renewal(if is_open { without } else { Renewal::NotConnected })
            }
            Query::Revoke(_) => Answer::Count(0),
            // The same.
            Query::Bindings { .. } => Answer::Bindings(Vec::new()),
            Query::Retained { group } => Answer::Retained(self.retained(&group)),
            Query::Presence { group, members } => {
                Answer::Presence(self.presence(&group, members.as_deref()))
            }
            Query::HoldStream(hold) => Answer::Held(self.hold(*hold)),
            Query::ReleaseStream(release) => Answer::Released(self.release(*release)),
            // It has neither sockets nor links to describe.
            Query::Gateway
            | Query::Inspect(_)
            | Query::History(_)
            | Query::Drain
            | Query::LogFilter { .. }
            | Query::Settings
            | Query::Trace(_)
            | Query::Certificates => Answer::Unavailable,
        }
    }
}
