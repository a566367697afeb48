//! Members of a watched group in a run: the names of clients that join it, and the messages that
//! they receive about each other.

use anyhow::Context as _;
use push_suite_worker::{
    Client, Group, Member, MemberChange, MemberId, Message, MessageKind, Part, Snapshot,
};

use crate::message::Token;

/// The group.
pub const GROUP: &str = "watched-room";

/// The prefix that workers watch.
const PREFIX: &str = "watched-";

/// The numbers of the clients that join the group begin here.
const FIRST: u32 = 1 << 21;

/// The beginning of each message about members; no reply of a worker begins like it.
const MARK: &[u8] = b"members";

/// The client with that number among those that join the group.
pub const fn client(number: u32) -> u32 {
    FIRST + number
}

/// The member that a client is, if it joins the group: two clients are one member.
pub fn member_of(token: Token) -> Option<String> {
    token.client.checked_sub(FIRST).map(|number| format!("m{}", number / 2))
}

/// A message about members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// All members.
    Snapshot(Vec<String>),
    /// One was added.
    Added(String),
    /// One was removed.
    Removed(String),
}

impl Seen {
    /// Decodes a message; `None` if it is not about members.
    pub fn decode(message: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(message.strip_prefix(MARK)?).ok()?;
        let (kind, names) = text.split_at_checked(1)?;
        Some(match kind {
            "=" => Self::Snapshot(names.split(',').map(str::to_owned).collect()),
            "+" => Self::Added(names.to_owned()),
            "-" => Self::Removed(names.to_owned()),
            _ => return None,
        })
    }
}

/// The prefixes of the groups that workers watch.
pub(crate) fn prefixes() -> Vec<Group> {
    Group::new(PREFIX).into_iter().collect()
}

/// The message about a change.
pub(crate) fn message(change: &MemberChange) -> Message {
    let kind = match change {
        MemberChange::Added(_) => b"+",
        MemberChange::Removed(_) => b"-",
    };
    Message::binary([MARK, kind, change.id().as_bytes()].concat())
}

/// Adds a client to the group, if it is one of those.
pub(crate) async fn join(client: &Client, token: Token) -> anyhow::Result<()> {
    let Some(name) = member_of(token) else { return Ok(()) };
    let member = Member::new(MemberId::new(&name)?, name, "").context("a member")?;
    let parts = vec![Part::Bytes([MARK, b"="].concat().into()), Part::Ids];
    let snapshot = Snapshot::new(MessageKind::Binary, parts)?;
    Ok(client.join_presence(GROUP, member, snapshot).await?)
}
