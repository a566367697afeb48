//! Commands from a peer to a gateway. A command has no reply.

use serde::{Deserialize, Serialize};

use crate::{
    CloseFrame, ConnectionId, Grant, Group, Keep, Member, MemberChange, Message, Position, Refusal,
    Retention, Session, Snapshot, StreamName, Uid, bounded,
};

/// One command to a gateway. A client that does not exist is not an error: it may have disconnected
/// while the command was in flight.
///
/// Variants are only ever appended: the native codec numbers them by position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Sends to one client.
    SendToClient { to: ConnectionId, message: Message },
    /// Sends to all or some of this gateway's clients.
    SendToAll { to: Recipients, message: Message },
    /// Sends to every client of each uid; twice if a uid is listed twice.
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
    /// Closes a client once its write queue is flushed, with `farewell` as the last message.
    Close { client: ConnectionId, farewell: Option<Message> },
    /// Aborts a client's connection at once; its write queue is discarded.
    Destroy { client: ConnectionId },
    /// Binds a client to a uid, in place of the uid that it had.
    BindUid { client: ConnectionId, uid: Uid },
    /// Removes the uid of a client, whichever it is.
    UnbindUid { client: ConnectionId },
    /// Adds a client to a group.
    JoinGroup { client: ConnectionId, group: Group },
    /// Removes a client from a group.
    LeaveGroup { client: ConnectionId, group: Group },
    /// Removes every client from a group.
    Ungroup { group: Group },
    /// Replaces a client's session. For `edit` see [`Delivery::edits`](crate::link::Delivery).
    SetSession { client: ConnectionId, edit: u64, session: Session },
    /// Changes part of a client's session, see [`Session::merge`]. For `edit` see
    /// [`Delivery::edits`](crate::link::Delivery).
    UpdateSession { client: ConnectionId, edit: u64, changes: Session },
    /// As [`Close`](Self::Close), with the code and reason of `frame`.
    CloseWith { client: ConnectionId, frame: CloseFrame, farewell: Option<Message> },
    /// The same for every client that is bound to the uid when the command is applied, except the
    /// excluded ones.
    CloseUid {
        uid: Uid,
        #[serde(deserialize_with = "bounded::targets")]
        exclude: Vec<ConnectionId>,
        frame: CloseFrame,
        farewell: Option<Message>,
    },
    /// Adds every client that is bound to the uid when the command is applied to a group.
    JoinGroupByUid { uid: Uid, group: Group },
    /// Removes every client that is bound to the uid when the command is applied from a group.
    LeaveGroupByUid { uid: Uid, group: Group },
    /// As [`SendToAll`](Self::SendToAll), [`SendToUids`](Self::SendToUids) or
    /// [`SendToGroups`](Self::SendToGroups), except to the excluded clients.
    SendExcept { to: Target, exclude: Excluded, message: Message },
    /// Accepts the handshake of a client, if it [awaits an answer](crate::Event::WebSocketRequest).
    /// For `edit` see [`Delivery::edits`](crate::link::Delivery); it numbers the session in `grant`.
    AcceptHandshake { client: ConnectionId, edit: u64, grant: Box<Grant> },
    /// Refuses the handshake of a client, if it [awaits an answer](crate::Event::WebSocketRequest),
    /// and closes the client.
    RefuseHandshake { client: ConnectionId, refusal: Box<Refusal> },
    /// Removes keys of a client's session, see [`Session::remove`]. For `edit` see
    /// [`Delivery::edits`](crate::link::Delivery).
    RemoveSessionKeys {
        client: ConnectionId,
        edit: u64,
        #[serde(deserialize_with = "bounded::targets")]
        keys: Vec<String>,
    },
    /// Closes a client that is over the limit of connections for its uid, unless it was bound
    /// anew since: `since` is the stamp of its [binding](crate::Binding). `keep` determines the
    /// reason of its close frame.
    CloseBinding { client: ConnectionId, since: u64, keep: Keep },
    /// Adds a client to a group as a member, and sends it the snapshot of the members. If the
    /// client's shard does not know the members, the client joins once the owner of the group has
    /// sent them. A client that is a member already receives a snapshot and stays the member that
    /// it is.
    JoinPresence {
        client: ConnectionId,
        group: Group,
        member: Box<Member>,
        snapshot: Box<Snapshot>,
    },
    /// From the owner of a group, as are the following commands, which a shard ignores from any
    /// other peer: it has received the full report of that number. The shard ignores the owner's
    /// other commands about the group until then: they were sent without knowledge of the report.
    PresenceTaken { shard: u16, group: Group, number: u64 },
    /// Answers [`wants_view`](crate::PresenceReport::wants_view): the announced members, in parts,
    /// with no [`SetMember`](Self::SetMember) of the group between them.
    PresenceView {
        shard: u16,
        group: Group,
        first: bool,
        last: bool,
        #[serde(deserialize_with = "bounded::targets")]
        members: Vec<Member>,
    },
    /// Announces a change of the members. Each shard applies it to its view and, if that changes,
    /// sends `message` to its clients in the group, except to those of the member itself.
    SetMember { group: Group, change: MemberChange, message: Option<Message> },
    /// Everything up to the report of that number is dealt with: members that had left by then may
    /// be forgotten.
    PresenceSettled { shard: u16, group: Group, number: u64 },
    /// Sends to every member of a group except the excluded clients, and retains the message as the
    /// last one of the group, in place of the one before; for no time if its retention is over.
    SendAndRetain { group: Group, exclude: Excluded, retention: Retention, message: Message },
    /// Sends a client the retained message of a group, unless the client was in the group when that
    /// was sent; if there is none, sends `message`. With a retention, `message` is the retained one
    /// of another gateway, and is retained here as well if there is none.
    SendRetained { client: ConnectionId, group: Group, found: Option<Retention>, message: Message },
    /// Sets when the connection of a client expires, in seconds since the Unix epoch, in place of
    /// the time of its token; `None`: never.
    SetExpiry { client: ConnectionId, expires_at: Option<u64> },
    /// From the owner of a group: its application was notified of the members that were present by
    /// the report of that number, and that the group was occupied.
    /// [`PresenceSettled`](Self::PresenceSettled) implies it.
    PresenceNotified { shard: u16, group: Group, number: u64 },
    /// A message of a stream. Each shard passes messages of a stream on to its members in the order
    /// of their offsets, each once. With `shard` it answers a
    /// [gap](crate::streaming::StreamGap) of that shard, and is for no other.
    Publish {
        stream: StreamName,
        position: Position,
        exclude: Excluded,
        shard: Option<u16>,
        message: Message,
    },
    /// Answers a gap of a shard, behind the messages: they are not all that was missing if they do
    /// not reach `top`, the last position in the store. `known` is that of the gap.
    StreamRead { shard: u16, stream: StreamName, known: Option<Position>, top: Position },
    /// Answers a gap of a shard: what was missing after `after` cannot be had. Members are sent
    /// `message`, and get the messages behind `to` from here on. Ignored if the shard has passed
    /// on messages behind `after` meanwhile.
    ResetStream { shard: u16, stream: StreamName, after: Position, to: Position, message: Message },
}

/// The clients that a message with exclusions is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// All clients.
    All,
    /// Every client of each uid; twice if a uid is listed twice.
    Uids(#[serde(deserialize_with = "bounded::targets")] Vec<Uid>),
    /// Every member of each group; twice a client that is in two of them.
    Groups(#[serde(deserialize_with = "bounded::targets")] Vec<Group>),
}

/// The clients that do not receive a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// These clients.
    #[serde(deserialize_with = "bounded::targets")]
    pub clients: Vec<ConnectionId>,
    /// Every client of these uids.
    #[serde(deserialize_with = "bounded::targets")]
    pub uids: Vec<Uid>,
}

/// The recipients of a message among a gateway's clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recipients {
    /// All clients.
    All,
    /// These clients.
    Only(#[serde(deserialize_with = "bounded::targets")] Vec<ConnectionId>),
    /// All clients but these.
    Except(#[serde(deserialize_with = "bounded::targets")] Vec<ConnectionId>),
}

impl Command {
    /// The message to clients, if the command has one.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::SendToClient { message, .. }
            | Self::SendToAll { message, .. }
            | Self::SendToUids { message, .. }
            | Self::SendToGroups { message, .. }
            | Self::SendExcept { message, .. }
            | Self::SendAndRetain { message, .. }
            | Self::SendRetained { message, .. }
            | Self::Publish { message, .. }
            | Self::ResetStream { message, .. } => Some(message),
            Self::Close { farewell, .. }
            | Self::CloseWith { farewell, .. }
            | Self::CloseUid { farewell, .. } => farewell.as_ref(),
            Self::SetMember { message, .. } => message.as_ref(),
            Self::Destroy { .. }
            | Self::BindUid { .. }
            | Self::UnbindUid { .. }
            | Self::JoinGroup { .. }
            | Self::LeaveGroup { .. }
            | Self::Ungroup { .. }
            | Self::SetSession { .. }
            | Self::UpdateSession { .. }
            | Self::JoinGroupByUid { .. }
            | Self::LeaveGroupByUid { .. }
            | Self::AcceptHandshake { .. }
            | Self::RefuseHandshake { .. }
            | Self::RemoveSessionKeys { .. }
            | Self::CloseBinding { .. }
            | Self::JoinPresence { .. }
            | Self::PresenceTaken { .. }
            | Self::PresenceView { .. }
            | Self::PresenceSettled { .. }
            | Self::SetExpiry { .. }
            | Self::StreamRead { .. }
            | Self::PresenceNotified { .. } => None,
        }
    }

    /// The same, mutable.
    pub fn message_mut(&mut self) -> Option<&mut Message> {
        match self {
            Self::SendToClient { message, .. }
            | Self::SendToAll { message, .. }
            | Self::SendToUids { message, .. }
            | Self::SendToGroups { message, .. }
            | Self::SendExcept { message, .. }
            | Self::SendAndRetain { message, .. }
            | Self::SendRetained { message, .. }
            | Self::Publish { message, .. }
            | Self::ResetStream { message, .. } => Some(message),
            Self::Close { farewell, .. }
            | Self::CloseWith { farewell, .. }
            | Self::CloseUid { farewell, .. } => farewell.as_mut(),
            Self::SetMember { message, .. } => message.as_mut(),
            Self::Destroy { .. }
            | Self::BindUid { .. }
            | Self::UnbindUid { .. }
            | Self::JoinGroup { .. }
            | Self::LeaveGroup { .. }
            | Self::Ungroup { .. }
            | Self::SetSession { .. }
            | Self::UpdateSession { .. }
            | Self::JoinGroupByUid { .. }
            | Self::LeaveGroupByUid { .. }
            | Self::AcceptHandshake { .. }
            | Self::RefuseHandshake { .. }
            | Self::RemoveSessionKeys { .. }
            | Self::CloseBinding { .. }
            | Self::JoinPresence { .. }
            | Self::PresenceTaken { .. }
            | Self::PresenceView { .. }
            | Self::PresenceSettled { .. }
            | Self::SetExpiry { .. }
            | Self::StreamRead { .. }
            | Self::PresenceNotified { .. } => None,
        }
    }

    /// The session or the session changes, if the command has them.
    pub fn session(&self) -> Option<&Session> {
        match self {
            Self::SetSession { session, .. } => Some(session),
            Self::UpdateSession { changes, .. } => Some(changes),
            Self::AcceptHandshake { grant, .. } => grant.session(),
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
            | Self::Ungroup { .. }
            | Self::CloseWith { .. }
            | Self::CloseUid { .. }
            | Self::JoinGroupByUid { .. }
            | Self::LeaveGroupByUid { .. }
            | Self::SendExcept { .. }
            | Self::RefuseHandshake { .. }
            | Self::RemoveSessionKeys { .. }
            | Self::CloseBinding { .. }
            | Self::JoinPresence { .. }
            | Self::PresenceTaken { .. }
            | Self::PresenceView { .. }
            | Self::SetMember { .. }
            | Self::PresenceSettled { .. }
            | Self::PresenceNotified { .. }
            | Self::SendAndRetain { .. }
            | Self::SendRetained { .. }
            | Self::Publish { .. }
            | Self::StreamRead { .. }
            | Self::ResetStream { .. }
            | Self::SetExpiry { .. } => None,
        }
    }

    /// Whether it changes a session, whose size determines its cost.
    pub fn edits_session(&self) -> bool {
        self.session().is_some() || matches!(self, Self::RemoveSessionKeys { .. })
    }

    /// Approximate heap size in bytes: its message, its names, its session, its answer.
    pub fn weight(&self) -> usize {
        let message = self.message().map_or(0, |message| message.body.len());
        let session = self.session().map_or(0, |session| session.as_encoded().len());
        let ids = |ids: &[ConnectionId]| size_of_val(ids);
        let uids = |uids: &[Uid]| uids.iter().map(Uid::weight).sum::<usize>();
        let groups = |groups: &[Group]| groups.iter().map(Group::weight).sum::<usize>();
        let names = match self {
            Self::SendToUids { uids: to, .. } => uids(to),
            Self::SendToGroups { groups: to, exclude, .. } => groups(to) + ids(exclude),
            Self::SendToAll { to: Recipients::Only(to) | Recipients::Except(to), .. } => ids(to),
            Self::SendExcept { to, exclude, .. } => {
                let to = match to {
                    Target::All => 0,
                    Target::Uids(to) => uids(to),
                    Target::Groups(to) => groups(to),
                };
                to + ids(&exclude.clients) + uids(&exclude.uids)
            }
            Self::SendAndRetain { group, exclude, .. } => {
                group.weight() + ids(&exclude.clients) + uids(&exclude.uids)
            }
            Self::Publish { stream, exclude, .. } => {
                stream.weight() + ids(&exclude.clients) + uids(&exclude.uids)
            }
            Self::StreamRead { stream, .. } | Self::ResetStream { stream, .. } => stream.weight(),
            Self::AcceptHandshake { grant, .. } => grant.weight(),
            Self::RefuseHandshake { refusal, .. } => refusal.weight(),
            Self::RemoveSessionKeys { keys, .. } => {
                keys.iter().map(|key| size_of::<String>() + key.len()).sum()
            }
            Self::BindUid { uid, .. } => uid.weight(),
            Self::CloseUid { uid, exclude, .. } => uid.weight() + ids(exclude),
            Self::JoinGroupByUid { uid, group } | Self::LeaveGroupByUid { uid, group } => {
                uid.weight() + group.weight()
            }
            Self::JoinPresence { group, member, snapshot, .. } => {
                group.weight() + member.weight() + snapshot.weight()
            }
            Self::PresenceView { group, members, .. } => {
                group.weight() + members.iter().map(Member::weight).sum::<usize>()
            }
            Self::SetMember { group, change, .. } => group.weight() + change.weight(),
            Self::JoinGroup { group, .. }
            | Self::LeaveGroup { group, .. }
            | Self::Ungroup { group }
            | Self::PresenceTaken { group, .. }
            | Self::PresenceSettled { group, .. }
            | Self::PresenceNotified { group, .. }
            | Self::SendRetained { group, .. } => group.weight(),
            Self::SendToAll { to: Recipients::All, .. }
            | Self::SendToClient { .. }
            | Self::Close { .. }
            | Self::CloseWith { .. }
            | Self::CloseBinding { .. }
            | Self::Destroy { .. }
            | Self::UnbindUid { .. }
            | Self::SetSession { .. }
            | Self::UpdateSession { .. }
            | Self::SetExpiry { .. } => 0,
        };
        message + session + names
    }

    /// The client that it applies to, or `None` if it may apply to several.
    pub fn client(&self) -> Option<ConnectionId> {
        match self {
            Self::SendToClient { to: client, .. }
            | Self::Close { client, .. }
            | Self::CloseWith { client, .. }
            | Self::CloseBinding { client, .. }
            | Self::Destroy { client }
            | Self::BindUid { client, .. }
            | Self::UnbindUid { client }
            | Self::JoinGroup { client, .. }
            | Self::LeaveGroup { client, .. }
            | Self::SetSession { client, .. }
            | Self::UpdateSession { client, .. }
            | Self::AcceptHandshake { client, .. }
            | Self::RefuseHandshake { client, .. }
            | Self::RemoveSessionKeys { client, .. }
            | Self::JoinPresence { client, .. }
            | Self::SendRetained { client, .. }
            | Self::SetExpiry { client, .. } => Some(*client),
            Self::SendToAll { .. }
            | Self::SendToUids { .. }
            | Self::SendToGroups { .. }
            | Self::SendExcept { .. }
            | Self::CloseUid { .. }
            | Self::JoinGroupByUid { .. }
            | Self::LeaveGroupByUid { .. }
            | Self::Ungroup { .. }
            | Self::PresenceTaken { .. }
            | Self::PresenceView { .. }
            | Self::SetMember { .. }
            | Self::PresenceSettled { .. }
            | Self::PresenceNotified { .. }
            | Self::Publish { .. }
            | Self::StreamRead { .. }
            | Self::ResetStream { .. }
            | Self::SendAndRetain { .. } => None,
        }
    }
}
