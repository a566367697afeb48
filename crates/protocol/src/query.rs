//! Queries from a peer to a gateway, and their answers. Each query has one answer.

use serde::{Deserialize, Serialize};

use crate::{ConnectionId, Group, Session, Uid, bounded};

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
}

impl Query {
    /// Approximate heap size in bytes: its names.
    pub fn weight(&self) -> usize {
        let groups = |groups: &[Group]| groups.iter().map(Group::weight).sum::<usize>();
        let uids = |uids: &[Uid]| uids.iter().map(Uid::weight).sum::<usize>();
        match self {
            Self::ClientsOfUids { uids: requested } => uids(requested),
            Self::Counts { groups: requested } => groups(requested),
            Self::Sessions { group: Some(group) } | Self::Count { group: Some(group) } => {
                group.weight()
            }
            Self::Select {
                filter: Filter::Any { groups: in_groups, uids: of, clients }, ..
            } => groups(in_groups) + uids(of) + clients.len() * size_of::<ConnectionId>(),
            Self::Select { filter: Filter::All, .. }
            | Self::Sessions { group: None }
            | Self::Count { group: None }
            | Self::IsOnline { .. }
            | Self::Session { .. }
            | Self::Groups => 0,
        }
    }

    /// The client that it is about, or `None` if it may be about several.
    pub fn client(&self) -> Option<ConnectionId> {
        match self {
            Self::IsOnline { client } | Self::Session { client } => Some(*client),
            Self::Sessions { .. }
            | Self::ClientsOfUids { .. }
            | Self::Count { .. }
            | Self::Counts { .. }
            | Self::Groups
            | Self::Select { .. } => None,
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
