//! Changes of watched groups, as an application sees them: values.

use protocol::{Group, Member, MemberId};

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
