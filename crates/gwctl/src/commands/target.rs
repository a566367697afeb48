//! The clients that a command is for.

use std::fmt;

use push_suite_cluster::{ClientId, Group, TailTarget, Uid};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::{
    failure::Failure,
    names::{self, Name},
};

/// The flags that select clients.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct TargetFlags {
    /// One client
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,

    /// Every client of a uid
    #[arg(long, value_parser = names::uid())]
    uid: Option<Uid>,

    /// Every member of a group
    #[arg(long, value_name = "NAME", value_parser = names::group())]
    group: Option<Group>,

    /// Every client
    #[arg(long)]
    all: bool,
}

/// The flags that select a client, a uid or a group.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct NamedFlags {
    /// One client
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,

    /// Every client of a uid
    #[arg(long, value_parser = names::uid())]
    uid: Option<Uid>,

    /// Every member of a group
    #[arg(long, value_name = "NAME", value_parser = names::group())]
    group: Option<Group>,
}

/// The clients that a command is for.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Client(ClientId),
    Uid(Uid),
    Group(Group),
    All,
}

impl TargetFlags {
    pub(crate) fn target(&self) -> Target {
        match (self.client, &self.uid, &self.group) {
            (Some(client), ..) => Target::Client(client),
            (_, Some(uid), _) => Target::Uid(uid.clone()),
            (.., Some(group)) => Target::Group(group.clone()),
            _ => Target::All,
        }
    }
}

impl NamedFlags {
    pub(crate) fn target(&self) -> Target {
        let Self { client, uid, group } = self;
        TargetFlags { client: *client, uid: uid.clone(), group: group.clone(), all: false }.target()
    }
}

impl Target {
    /// The target, as tails and traces have it.
    ///
    /// # Errors
    /// When it is all clients.
    pub(crate) fn named(&self) -> Result<TailTarget, Failure> {
        match self {
            Self::Client(client) => Ok(TailTarget::Client(*client)),
            Self::Uid(uid) => Ok(TailTarget::Uid(uid.clone())),
            Self::Group(group) => Ok(TailTarget::Group(group.clone())),
            Self::All => Err(Failure::usage("one of --client, --uid and --group is needed")),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => write!(f, "client {client}"),
            Self::Uid(uid) => write!(f, "uid {}", Name::from(uid).plain()),
            Self::Group(group) => write!(f, "group {}", Name::from(group).plain()),
            Self::All => f.write_str("all clients"),
        }
    }
}

/// An object with one key: `client`, `uid`, `group` or `all`.
impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Client(client) => map.serialize_entry("client", client)?,
            Self::Uid(uid) => map.serialize_entry("uid", &Name::from(uid))?,
            Self::Group(group) => map.serialize_entry("group", &Name::from(group))?,
            Self::All => map.serialize_entry("all", &true)?,
        }
        map.end()
    }
}
