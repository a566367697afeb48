//! Members of a watched group in a run: the names of clients that join it, and the messages that
//! they receive about each other.

use std::collections::BTreeSet;

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

/// The members that a client has seen; none before its first list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View(Option<BTreeSet<String>>);

impl View {
    /// The client, which is the member `own`, receives a message. Returns whether it agrees with the
    /// ones before: additions and removals of each other member alternate, beginning with the list.
    pub fn receive(&mut self, own: &str, message: &Seen) -> bool {
        match (message, &mut self.0) {
            (Seen::Snapshot(names), known) => {
                let names: BTreeSet<_> = names.iter().cloned().collect();
                // Again, if its event was redelivered: nothing else may have changed.
                let is_same = known.as_ref().is_none_or(|known| *known == names);
                let is_right = is_same && names.contains(own);
                *known = Some(names);
                is_right
            }
            (Seen::Added(name), Some(known)) => name != own && known.insert(name.clone()),
            (Seen::Removed(name), Some(known)) => name != own && known.remove(name),
            (Seen::Added(_) | Seen::Removed(_), None) => false,
        }
    }

    /// Whether it has seen exactly these members.
    pub fn is(&self, members: &BTreeSet<String>) -> bool {
        self.0.as_ref() == Some(members)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_and_removals_alternate_from_the_list_on() {
        let (added, removed) = (Seen::Added("a".to_owned()), Seen::Removed("a".to_owned()));
        let list = |names: &[&str]| Seen::Snapshot(names.iter().map(|&name| name.into()).collect());
        let mut view = View::default();
        assert!(!view.receive("me", &added), "no list yet");
        assert!(!view.receive("me", &list(&["a"])), "without the client itself");
        let mut view = View::default();
        for (message, is_right) in [
            (list(&["me"]), true),
            (added.clone(), true),
            (added, false),
            (list(&["a", "me"]), true),
            (removed.clone(), true),
            (removed, false),
            (list(&["a", "me"]), false),
            (Seen::Added("me".to_owned()), false),
        ] {
            assert_eq!(view.receive("me", &message), is_right, "{message:?}");
        }
        assert!(view.is(&["a".to_owned(), "me".to_owned()].into()));
    }
}
