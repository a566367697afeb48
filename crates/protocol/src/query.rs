//! What a peer may ask a gateway, and what comes back. Each query has one answer.

use serde::{Deserialize, Serialize};

use crate::{ConnectionId, Group, Session, Uid, bounded};

/// One question about a gateway's own clients.
///
/// Variants are only ever appended: the native codec numbers them by position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// Is this client connected? → [`Answer::Online`]
    IsOnline { client: ConnectionId },
    /// What is this client's session? → [`Answer::Session`]
    Session { client: ConnectionId },
    /// Every client's session, of a group's members or of all. → [`Answer::Sessions`]
    Sessions { group: Option<Group> },
    /// Which clients speak for these uids? → [`Answer::Clients`]
    ClientsOfUids {
        #[serde(deserialize_with = "bounded::targets")]
        uids: Vec<Uid>,
    },
    /// How many clients are there, in a group or in all? → [`Answer::Count`]
    Count { group: Option<Group> },
    /// How many members has each of these groups? → [`Answer::Counts`]
    Counts {
        #[serde(deserialize_with = "bounded::targets")]
        groups: Vec<Group>,
    },
    /// Which groups are there? → [`Answer::Groups`]
    Groups,
    /// Chosen facts about chosen clients. → [`Answer::Rows`]
    Select { fields: Fields, filter: Filter },
}

impl Query {
    /// Roughly how many bytes of memory it holds besides itself: its names.
    pub fn weight(&self) -> usize {
        let groups = |groups: &[Group]| groups.iter().map(Group::weight).sum::<usize>();
        let uids = |uids: &[Uid]| uids.iter().map(Uid::weight).sum::<usize>();
        match self {
            Self::ClientsOfUids { uids: asked } => uids(asked),
            Self::Counts { groups: asked } => groups(asked),
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

    /// The one client it is about, or `None` where it may be about many.
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

/// Which facts a [`Query::Select`] wants of each client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields {
    /// Its uid.
    pub uid: bool,
    /// The groups it is in.
    pub groups: bool,
    /// Its session.
    pub session: bool,
}

/// Which clients a [`Query::Select`] is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filter {
    /// Every client.
    All,
    /// Clients for whom any of these holds, each client once.
    Any {
        /// It is in one of these groups.
        #[serde(deserialize_with = "bounded::targets")]
        groups: Vec<Group>,
        /// It speaks for one of these uids.
        #[serde(deserialize_with = "bounded::targets")]
        uids: Vec<Uid>,
        /// It is one of these.
        #[serde(deserialize_with = "bounded::targets")]
        clients: Vec<ConnectionId>,
    },
}

/// What comes back. Lists are in the order in which things came to be: clients by when they
/// connected, a uid's clients by when they were bound, a group's members by when they joined, a
/// client's groups by when it joined them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Whether the client is connected.
    Online(bool),
    /// The client's session; `None` when it is not connected.
    Session(Option<Session>),
    /// Each client's session.
    Sessions(#[serde(deserialize_with = "bounded::items")] Vec<(ConnectionId, Session)>),
    /// Each asked uid once, in the order asked, and its clients.
    Clients(#[serde(deserialize_with = "bounded::items")] Vec<(Uid, Vec<ConnectionId>)>),
    /// How many.
    Count(u64),
    /// Each asked group once, in the order asked, and how many members it has.
    Counts(#[serde(deserialize_with = "bounded::items")] Vec<(Group, u64)>),
    /// Every group that has members.
    Groups(#[serde(deserialize_with = "bounded::items")] Vec<Group>),
    /// A row for each client.
    Rows(#[serde(deserialize_with = "bounded::items")] Vec<Row>),
    /// The gateway could not answer: it is going down, or the answer would be larger than a frame
    /// may be.
    Unavailable,
}

/// One client's facts. What was not asked for is `None` or empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Which client.
    pub client: ConnectionId,
    /// Whom it speaks for.
    pub uid: Option<Uid>,
    /// The groups it is in.
    pub groups: Vec<Group>,
    /// Its session.
    pub session: Option<Session>,
    /// Whether it was ever in a group, which PHP tells apart from being in none any more. Known to
    /// its gateway only: it is not part of the native wire.
    #[serde(skip)]
    pub joined: bool,
}
