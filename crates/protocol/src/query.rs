//! Queries from a peer to a gateway, and their answers. Each query has one answer.

use serde::{Deserialize, Serialize};

use crate::{
    AccessToken, ConnectionId, Group, MemberId, PresenceAnswer, Renewal, Retained, Revocation,
    Session, Uid, bounded,
    inspect::{
        CertificateStatus, DetailsPage, GatewayStatus, History, Inspect, LifecycleEvent, Trace,
        Traced,
    },
    streaming::{Held, Hold, Release, Released},
};

/// One query about a gateway's own clients.
///
/// Variants are only ever appended: the native codec numbers them by position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// Whether a client is connected → [`Answer::Online`]
    IsOnline { client: ConnectionId },
    /// A client's session → [`Answer::Session`]
    Session { client: ConnectionId },
    /// The sessions of a group's members, or of all clients → [`Answer::Sessions`]
    Sessions { group: Option<Group> },
    /// The clients of these uids → [`Answer::Clients`]
    ClientsOfUids {
        #[serde(deserialize_with = "bounded::targets")]
        uids: Vec<Uid>,
    },
    /// The number of clients in a group, or in all → [`Answer::Count`]
    Count { group: Option<Group> },
    /// The number of members of each of these groups → [`Answer::Counts`]
    Counts {
        #[serde(deserialize_with = "bounded::targets")]
        groups: Vec<Group>,
    },
    /// The groups that have members → [`Answer::Groups`]
    Groups,
    /// Selected fields of selected clients → [`Answer::Rows`]
    Select { fields: Fields, filter: Filter },
    /// For each of these clients, 1 if it is connected, else 0 → [`Answer::Numbers`]
    Online {
        #[serde(deserialize_with = "bounded::targets")]
        clients: Vec<ConnectionId>,
    },
    /// The number of clients of each of these uids → [`Answer::Numbers`]
    CountsOfUids {
        #[serde(deserialize_with = "bounded::targets")]
        uids: Vec<Uid>,
    },
    /// The number of members of every group that has members → [`Answer::Counts`]
    CountsOfAllGroups,
    /// The number of different uids in a group, or in all → [`Answer::Count`]
    UidCount { group: Option<Group> },
    /// The different uids in a group, or in all → [`Answer::Uids`]
    Uids { group: Option<Group> },
    /// Replaces a client's session if it [equals](Session::equals) `expected` → [`Answer::Swap`].
    /// Its effect is unknown if its link is lost before the answer. For
    /// `edit` see [`Delivery::edits`](crate::link::Delivery).
    SwapSession { client: ConnectionId, edit: u64, expected: Session, new: Session },
    /// Verifies a client's new token and moves the expiry of its connection → [`Answer::Renewal`]
    RenewToken { client: ConnectionId, token: AccessToken },
    /// Revokes tokens → [`Answer::Count`], the number of clients that are closed because of it, or
    /// [`Answer::RevocationsFull`]
    Revoke(Revocation),
    /// The clients of a uid and the stamps of their bindings → [`Answer::Bindings`]. Bindings from
    /// here on have stamps higher than `clock`, the highest that the gateway that asked for the
    /// check has assigned or seen.
    Bindings { uid: Uid, clock: u64 },
    /// The clients of a group here, and its members, or those of them that are listed →
    /// [`Answer::Presence`]
    Presence {
        group: Group,
        #[serde(deserialize_with = "bounded::optional_targets")]
        members: Option<Vec<MemberId>>,
    },
    /// The retained message of a group → [`Answer::Retained`]
    Retained { group: Group },
    /// The status of the gateway → [`Answer::Gateway`]
    Gateway,
    /// The details of clients → [`Answer::Details`]
    Inspect(Box<Inspect>),
    /// Lifecycle events → [`Answer::History`]
    History(Box<History>),
    /// Starts to drain, as SIGTERM does, and exits after that → [`Answer::Count`], the number of
    /// clients. Without effect on a gateway that drains already.
    Drain,
    /// The filter of the gateway's log, which is replaced by `replacement` first if there is one →
    /// [`Answer::LogFilter`]
    LogFilter { replacement: Option<String> },
    /// The effective settings, without secrets → [`Answer::Settings`]
    Settings,
    /// Sends a push to clients → [`Answer::Traced`] with the time of each step, once the push is written.
    /// [`Answer::Unavailable`] while another trace of the peer is not answered, or the gateway has
    /// as many as it can.
    Trace(Box<Trace>),
    /// The certificates in use → [`Answer::Certificates`]
    Certificates,
    /// Holds back the messages of a stream for a client → [`Answer::Held`]. Its effect is unknown if
    /// its link is lost before the answer; it may be sent again with the same number.
    HoldStream(Box<Hold>),
    /// Ends a hold → [`Answer::Released`]. The same applies.
    ReleaseStream(Box<Release>),
}

impl Query {
    /// Approximate heap size in bytes: its names.
    pub fn weight(&self) -> usize {
        let groups = |groups: &[Group]| groups.iter().map(Group::weight).sum::<usize>();
        let uids = |uids: &[Uid]| uids.iter().map(Uid::weight).sum::<usize>();
        match self {
            Self::ClientsOfUids { uids: requested } => uids(requested),
            Self::Bindings { uid, .. } => uid.weight(),
            Self::Presence { group, members } => {
                group.weight() + members.iter().flatten().map(MemberId::weight).sum::<usize>()
            }
            Self::Counts { groups: requested } => groups(requested),
            Self::Sessions { group: Some(group) }
            | Self::Count { group: Some(group) }
            | Self::Retained { group } => group.weight(),
            Self::CountsOfUids { uids: requested } => uids(requested),
            Self::UidCount { group: Some(group) } | Self::Uids { group: Some(group) } => {
                group.weight()
            }
            Self::Online { clients } => size_of_val(&clients[..]),
            Self::SwapSession { expected, new, .. } => {
                expected.as_encoded().len() + new.as_encoded().len()
            }
            Self::Select {
                filter: Filter::Any { groups: in_groups, uids: of, clients }, ..
            } => groups(in_groups) + uids(of) + clients.len() * size_of::<ConnectionId>(),
            Self::RenewToken { token, .. } => token.expose().len(),
            Self::Revoke(revocation) => revocation.weight(),
            Self::LogFilter { replacement } => replacement.as_ref().map_or(0, String::len),
            Self::History(history) => size_of::<History>() + history.weight(),
            Self::Inspect(inspect) => size_of::<Inspect>() + inspect.filter.weight(),
            Self::Trace(trace) => size_of::<Trace>() + trace.weight(),
            Self::HoldStream(hold) => hold.weight(),
            Self::ReleaseStream(release) => release.weight(),
            Self::Select { filter: Filter::All, .. }
            | Self::Sessions { group: None }
            | Self::Count { group: None }
            | Self::IsOnline { .. }
            | Self::Session { .. }
            | Self::CountsOfAllGroups
            | Self::UidCount { group: None }
            | Self::Uids { group: None }
            | Self::Gateway
            | Self::Drain
            | Self::Settings
            | Self::Certificates
            | Self::Groups => 0,
        }
    }

    /// The client that it is about, or `None` if it may be about several.
    pub fn client(&self) -> Option<ConnectionId> {
        match self {
            Self::IsOnline { client }
            | Self::Session { client }
            | Self::SwapSession { client, .. }
            | Self::RenewToken { client, .. } => Some(*client),
            Self::Trace(trace) => trace.target.client(),
            Self::HoldStream(hold) => Some(hold.client),
            Self::ReleaseStream(release) => Some(release.client),
            Self::Sessions { .. }
            | Self::ClientsOfUids { .. }
            | Self::Count { .. }
            | Self::Counts { .. }
            | Self::Groups
            | Self::Select { .. }
            | Self::Online { .. }
            | Self::CountsOfUids { .. }
            | Self::CountsOfAllGroups
            | Self::UidCount { .. }
            | Self::Uids { .. }
            | Self::Revoke(_)
            | Self::Bindings { .. }
            | Self::Presence { .. }
            | Self::Retained { .. }
            | Self::Gateway
            | Self::Inspect(_)
            | Self::History(_)
            | Self::Drain
            | Self::LogFilter { .. }
            | Self::Certificates
            | Self::Settings => None,
        }
    }
}

/// The fields that a [`Query::Select`] requests of each client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields {
    /// Its uid.
    pub uid: bool,
    /// The groups it is in.
    pub groups: bool,
    /// Its session.
    pub session: bool,
}

/// The clients that a [`Query::Select`] selects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filter {
    /// Every client.
    All,
    /// Clients that match any of these, each client once.
    Any {
        /// It is in one of these groups.
        #[serde(deserialize_with = "bounded::targets")]
        groups: Vec<Group>,
        /// It has one of these uids.
        #[serde(deserialize_with = "bounded::targets")]
        uids: Vec<Uid>,
        /// It is one of these.
        #[serde(deserialize_with = "bounded::targets")]
        clients: Vec<ConnectionId>,
    },
}

/// The answer to a query. Lists are in order of creation: clients by connection time, the clients
/// of a uid by when they were bound, the members of a group by when they joined, the groups of a
/// client by when it joined them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Whether the client is connected.
    Online(bool),
    /// The client's session; `None` if it is not connected.
    Session(Option<Session>),
    /// Each client's session.
    Sessions(#[serde(deserialize_with = "bounded::items")] Vec<(ConnectionId, Session)>),
    /// Each requested uid once, in the order of the query, and its clients.
    Clients(#[serde(deserialize_with = "bounded::items")] Vec<(Uid, Vec<ConnectionId>)>),
    /// The number of clients.
    Count(u64),
    /// Each requested group once, in the order of the query, and its number of members.
    Counts(#[serde(deserialize_with = "bounded::items")] Vec<(Group, u64)>),
    /// Every group that has members.
    Groups(#[serde(deserialize_with = "bounded::items")] Vec<Group>),
    /// A row for each client.
    Rows(#[serde(deserialize_with = "bounded::items")] Vec<Row>),
    /// The gateway cannot answer: it is shutting down, or the answer exceeds the frame limit.
    Unavailable,
    /// The effect of a command that was sent with a request for it, see
    /// [`ToGateway::ReportedCommand`](crate::link::ToGateway::ReportedCommand).
    Effect(Effect),
    /// A number for each item of the query, in its order.
    Numbers(#[serde(deserialize_with = "bounded::items")] Vec<u64>),
    /// Different uids, in the order in which the first client of each has connected, or joined the
    /// group.
    Uids(#[serde(deserialize_with = "bounded::items")] Vec<Uid>),
    /// The outcome of a compare-and-set.
    Swap(Swap),
    /// The result of a new token.
    Renewal(Renewal),
    /// The gateway keeps as many revocations as it can. The new ones are not in effect.
    RevocationsFull,
    /// The clients of the uid, and the stamp of each binding.
    Bindings(#[serde(deserialize_with = "bounded::items")] Vec<(ConnectionId, u64)>),
    /// The clients of the group, and its members.
    Presence(PresenceAnswer),
    /// The retained message of the group, if there is one.
    Retained(Option<Retained>),
    /// The status of the gateway.
    Gateway(Box<GatewayStatus>),
    /// The details of clients.
    Details(DetailsPage),
    /// Lifecycle events, oldest first.
    History(#[serde(deserialize_with = "bounded::items")] Vec<LifecycleEvent>),
    /// The filter of the log before; or why the new one is invalid: nothing has changed then.
    LogFilter(Result<String, String>),
    /// The effective settings as TOML, as `--check` prints them.
    Settings(String),
    /// The steps of a push.
    Traced(Box<Traced>),
    /// The certificates in use.
    Certificates(#[serde(deserialize_with = "bounded::items")] Vec<CertificateStatus>),
    /// Whether messages are held back.
    Held(Held),
    /// Whether they are held back no more.
    Released(Released),
}

/// The outcome of [`Query::SwapSession`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Swap {
    /// The client is not connected.
    Offline,
    /// The session was replaced.
    Done,
    /// The session is this one, which differs from the expected one.
    Other(Session),
}

/// The effect of one command on the clients of a gateway. A client counts once for each time that
/// the command applies to it: twice for a message to two groups that it is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Connected clients that the command applied to.
    pub matched: u64,
    /// Those on which it took effect: the message was queued, the close begun, the group joined or
    /// left. A client that is closing is matched and not reached, as is one whose group limit
    /// prevents it from joining.
    pub reached: u64,
    /// Those whose write queue was full: the message was dropped, or the client closed because of
    /// it. Also those whose listener cannot frame the message.
    pub dropped: u64,
}

impl Effect {
    /// Adds the effect on other clients.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            matched: self.matched.saturating_add(other.matched),
            reached: self.reached.saturating_add(other.reached),
            dropped: self.dropped.saturating_add(other.dropped),
        }
    }
}

/// The selected fields of one client. Fields not requested are `None` or empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The client.
    pub client: ConnectionId,
    /// Its uid.
    pub uid: Option<Uid>,
    /// The groups it is in.
    pub groups: Vec<Group>,
    /// Its session.
    pub session: Option<Session>,
    /// Whether it was ever in a group, which PHP distinguishes from having left all groups. Set by
    /// its gateway only: it is not part of the native wire format.
    #[serde(skip)]
    pub joined: bool,
}
