//! Changes of watched groups, as an application sees them: values.

use protocol::{Group, Member, MemberId, Uid};

/// A change of a watched group, decided by the worker that owns it.
///
/// At least once: if the owner dies before it has handled a notice, the next owner gives it again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// The group.
    pub group: Group,
    /// Orders the notices of a group: later ones have higher numbers. Microseconds since 1970 by
    /// the owner's clock, or one more than the last number if that is higher. Of two owners it is
    /// as exact as their clocks agree.
    pub number: u64,
    /// The change.
    pub kind: NoticeKind,
}

/// The kinds of [`Notice`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoticeKind {
    /// The group has its first client.
    Occupied,
    /// The group has had no client on any gateway for the presence grace period.
    Vacated,
    /// A member has its first client.
    MemberAdded(Member),
    /// A member has had no client on any gateway for the presence grace period.
    MemberRemoved(MemberId),
    /// The number of clients of the group, over all gateways. Several changes in quick succession
    /// may be one notice.
    Clients(u64),
}

/// A uid has its first client, or none any more, as the worker has decided that owns it.
///
/// At least once, as a [`Notice`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UidNotice {
    /// The uid.
    pub uid: Uid,
    /// Orders the notices of a uid, as [`Notice::number`] those of a group.
    pub number: u64,
    /// Whether a client is bound to the uid; if not, then none has been on any gateway for the
    /// presence grace period.
    pub is_online: bool,
}

impl UidNotice {
    /// A notice, for tests of an application.
    pub const fn new(uid: Uid, number: u64, is_online: bool) -> Self {
        Self { uid, number, is_online }
    }
}

impl Notice {
    /// A notice, for tests of an application.
    pub const fn new(group: Group, number: u64, kind: NoticeKind) -> Self {
        Self { group, number, kind }
    }

    /// Approximate memory that it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        let kind = match &self.kind {
            NoticeKind::MemberAdded(member) => member.weight(),
            NoticeKind::MemberRemoved(id) => id.weight(),
            NoticeKind::Occupied | NoticeKind::Vacated | NoticeKind::Clients(_) => 0,
        };
        size_of::<Self>() + self.group.weight() + kind
    }
}
