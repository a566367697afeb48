//! What a peer may tell a gateway to do. Nothing comes back.

use serde::{Deserialize, Serialize};

use crate::{ConnectionId, Group, Message, Session, Uid, bounded};

/// One order to a gateway. A client that is not there is not an error: it may have left while the
/// command was on its way.
///
/// Variants are only ever appended: the native codec numbers them by position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Sends to one client.
    SendToClient { to: ConnectionId, message: Message },
    /// Sends to this gateway's clients, all or some.
    SendToAll { to: Recipients, message: Message },
    /// Sends to every client of each uid; twice where a uid is named twice.
    SendToUids {
        #[serde(deserialize_with = "bounded::targets")]
        uids: Vec<Uid>,
        message: Message,
    },
    /// Sends to every member of each group except the excluded clients; a client in two of the
    /// groups receives it twice.
    SendToGroups {
        #[serde(deserialize_with = "bounded::targets")]
        groups: Vec<Group>,
        #[serde(deserialize_with = "bounded::targets")]
        exclude: Vec<ConnectionId>,
        message: Message,
    },
    /// Closes a client once everything queued for it is written, the farewell last.
    Close { client: ConnectionId, farewell: Option<Message> },
    /// Cuts a client off at once; what was queued for it is lost.
    Destroy { client: ConnectionId },
    /// Says whom a client speaks for, in place of whom it spoke for before.
    BindUid { client: ConnectionId, uid: Uid },
    /// Takes a client's uid away, whichever it is.
    UnbindUid { client: ConnectionId },
    /// Adds a client to a group.
    JoinGroup { client: ConnectionId, group: Group },
    /// Takes a client out of a group.
    LeaveGroup { client: ConnectionId, group: Group },
    /// Takes every client out of a group.
    Ungroup { group: Group },
    /// Replaces a client's session. For `edit` see [`Delivery::edits`](crate::link::Delivery).
    SetSession { client: ConnectionId, edit: u64, session: Session },
    /// Changes part of a client's session, see [`Session::merge`]. For `edit` see
    /// [`Delivery::edits`](crate::link::Delivery).
    UpdateSession { client: ConnectionId, edit: u64, changes: Session },
}

/// To whom of a gateway's clients a message goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recipients {
    /// To all.
    All,
    /// To these.
    Only(#[serde(deserialize_with = "bounded::targets")] Vec<ConnectionId>),
    /// To all but these.
    Except(#[serde(deserialize_with = "bounded::targets")] Vec<ConnectionId>),
}

impl Command {
    /// The message that goes out to clients, where there is one.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::SendToClient { message, .. }
            | Self::SendToAll { message, .. }
            | Self::SendToUids { message, .. }
            | Self::SendToGroups { message, .. } => Some(message),
            Self::Close { farewell, .. } => farewell.as_ref(),
            Self::Destroy { .. }
            | Self::BindUid { .. }
            | Self::UnbindUid { .. }
            | Self::JoinGroup { .. }
            | Self::LeaveGroup { .. }
            | Self::Ungroup { .. }
            | Self::SetSession { .. }
            | Self::UpdateSession { .. } => None,
        }
    }

    /// The same, to be changed.
    pub fn message_mut(&mut self) -> Option<&mut Message> {
        match self {
            Self::SendToClient { message, .. }
            | Self::SendToAll { message, .. }
            | Self::SendToUids { message, .. }
            | Self::SendToGroups { message, .. } => Some(message),
            Self::Close { farewell, .. } => farewell.as_mut(),
            Self::Destroy { .. }
            | Self::BindUid { .. }
            | Self::UnbindUid { .. }
            | Self::JoinGroup { .. }
            | Self::LeaveGroup { .. }
            | Self::Ungroup { .. }
            | Self::SetSession { .. }
            | Self::UpdateSession { .. } => None,
        }
    }

    /// The session, or the changes of one, where there is one.
    pub fn session(&self) -> Option<&Session> {
        match self {
            Self::SetSession { session, .. } => Some(session),
            Self::UpdateSession { changes, .. } => Some(changes),
            Self::SendToClient { .. }
            | Self::SendToAll { .. }
            | Self::SendToUids { .. }
            | Self::SendToGroups { .. }
            | Self::Close { .. }
            | Self::Destroy { .. }
            | Self::BindUid { .. }
            | Self::UnbindUid { .. }
            | Self::JoinGroup { .. }
            | Self::LeaveGroup { .. }
            | Self::Ungroup { .. } => None,
        }
    }

    /// Roughly how many bytes of memory it holds besides itself: its message, its names, its session.
    pub fn weight(&self) -> usize {
        let message = self.message().map_or(0, |message| message.body.len());
        let session = self.session().map_or(0, |session| session.as_encoded().len());
        let names = match self {
            Self::SendToUids { uids, .. } => uids.iter().map(Uid::weight).sum(),
            Self::SendToGroups { groups, exclude, .. } => {
                groups.iter().map(Group::weight).sum::<usize>()
                    + exclude.len() * size_of::<ConnectionId>()
            }
            Self::SendToAll { to: Recipients::Only(ids) | Recipients::Except(ids), .. } => {
                ids.len() * size_of::<ConnectionId>()
            }
            Self::BindUid { uid, .. } => uid.weight(),
            Self::JoinGroup { group, .. }
            | Self::LeaveGroup { group, .. }
            | Self::Ungroup { group } => group.weight(),
            Self::SendToAll { to: Recipients::All, .. }
            | Self::SendToClient { .. }
            | Self::Close { .. }
            | Self::Destroy { .. }
            | Self::UnbindUid { .. }
            | Self::SetSession { .. }
            | Self::UpdateSession { .. } => 0,
        };
        message + session + names
    }

    /// The one client it is about, or `None` where it may reach many.
    pub fn client(&self) -> Option<ConnectionId> {
        match self {
            Self::SendToClient { to: client, .. }
            | Self::Close { client, .. }
            | Self::Destroy { client }
            | Self::BindUid { client, .. }
            | Self::UnbindUid { client }
            | Self::JoinGroup { client, .. }
            | Self::LeaveGroup { client, .. }
            | Self::SetSession { client, .. }
            | Self::UpdateSession { client, .. } => Some(*client),
            Self::SendToAll { .. }
            | Self::SendToUids { .. }
            | Self::SendToGroups { .. }
            | Self::Ungroup { .. } => None,
        }
    }
}
