//! Occupancy and presence of groups: members, snapshots, and the reports of a gateway's shards to
//! the worker that owns a group.
//!
//! A worker *watches* groups by the prefixes of their names. Of the workers that watch a group, one
//! owns it ([rendezvous hashing](crate::rendezvous::rendezvous)): it sums the reports of all shards
//! and decides when a member is new or gone. A shard keeps the members that were announced to its
//! clients (its *view*), and refuses what would not change it.

use std::{borrow::Borrow, fmt, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

use crate::{Group, Message, MessageKind, bounded};

/// The longest id of a member, in bytes.
pub const MAX_MEMBER_ID: usize = 512;

/// The longest fragments of a member, in bytes, both together.
pub const MAX_MEMBER: usize = 16 * 1024;

/// Maximum number of parts of a snapshot.
pub const MAX_PARTS: usize = 16;

/// The longest bytes of a snapshot without what gateways insert, all parts together.
pub const MAX_SNAPSHOT: usize = 16 * 1024;

/// Maximum number of prefixes that a worker watches.
pub const MAX_PREFIXES: usize = 64;

/// Neither a member nor a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidPresence {
    /// An id of no bytes, or longer than [`MAX_MEMBER_ID`].
    #[error("the id of a member has 1 to {MAX_MEMBER_ID} bytes, not {0}")]
    MemberId(usize),
    /// Fragments longer than [`MAX_MEMBER`].
    #[error("the fragments of a member have at most {MAX_MEMBER} bytes, not {0}")]
    Member(usize),
    /// More than [`MAX_PARTS`].
    #[error("a snapshot has at most {MAX_PARTS} parts, not {0}")]
    Parts(usize),
    /// Longer than [`MAX_SNAPSHOT`].
    #[error("a snapshot has at most {MAX_SNAPSHOT} bytes of its own, not {0}")]
    Snapshot(usize),
}

/// The id of a member of a group, such as the id of its user. Any bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(Arc<[u8]>);

impl MemberId {
    /// Validates an id.
    ///
    /// # Errors
    /// When it is empty or longer than [`MAX_MEMBER_ID`].
    pub fn new(id: impl AsRef<[u8]>) -> Result<Self, InvalidPresence> {
        let id = id.as_ref();
        match id.len() {
            1..=MAX_MEMBER_ID => Ok(Self(id.into())),
            length => Err(InvalidPresence::MemberId(length)),
        }
    }

    /// Approximate memory that it takes in a list, in bytes.
    pub fn weight(&self) -> usize {
        // The pointer, plus reference counts and allocator overhead.
        size_of::<Self>() + 32 + self.0.len()
    }

    /// The id's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The id as text, if it is UTF-8. `Display` replaces what is not.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl Borrow<[u8]> for MemberId {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&str> for MemberId {
    type Error = InvalidPresence;

    fn try_from(id: &str) -> Result<Self, InvalidPresence> {
        Self::new(id)
    }
}

impl TryFrom<String> for MemberId {
    type Error = InvalidPresence;

    fn try_from(id: String) -> Result<Self, InvalidPresence> {
        Self::new(id)
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberId({:?})", String::from_utf8_lossy(&self.0))
    }
}

impl Serialize for MemberId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for MemberId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&serde_bytes::Bytes>::deserialize(deserializer)?;
        Self::new(&**bytes).map_err(D::Error::custom)
    }
}

/// One member of a group: its id, and how a snapshot shows it. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireMember")]
pub struct Member {
    id: MemberId,
    #[serde(serialize_with = "serialize_bytes")]
    listed: Bytes,
    #[serde(serialize_with = "serialize_bytes")]
    detailed: Bytes,
}

#[derive(Deserialize)]
#[serde(rename = "Member")]
struct WireMember<'a> {
    id: MemberId,
    #[serde(borrow)]
    listed: &'a serde_bytes::Bytes,
    #[serde(borrow)]
    detailed: &'a serde_bytes::Bytes,
}

impl TryFrom<WireMember<'_>> for Member {
    type Error = InvalidPresence;

    fn try_from(wire: WireMember<'_>) -> Result<Self, InvalidPresence> {
        check_fragments(wire.listed, wire.detailed)?;
        // One allocation for both, which are kept as long as the member.
        let both = Bytes::from([&wire.listed[..], &wire.detailed[..]].concat());
        let listed = both.slice(..wire.listed.len());
        Ok(Self { id: wire.id, detailed: both.slice(listed.len()..), listed })
    }
}

fn check_fragments(listed: &[u8], detailed: &[u8]) -> Result<(), InvalidPresence> {
    match listed.len().saturating_add(detailed.len()) {
        0..=MAX_MEMBER => Ok(()),
        length => Err(InvalidPresence::Member(length)),
    }
}

impl Member {
    /// A member with the bytes that [`Part::Ids`] and [`Part::Entries`] insert for it.
    ///
    /// # Errors
    /// When both together are longer than [`MAX_MEMBER`].
    pub fn new(
        id: MemberId,
        listed: impl Into<Bytes>,
        detailed: impl Into<Bytes>,
    ) -> Result<Self, InvalidPresence> {
        let (listed, detailed) = (listed.into(), detailed.into());
        check_fragments(&listed, &detailed)?;
        Ok(Self { id, listed, detailed })
    }

    /// Its id.
    pub fn id(&self) -> &MemberId {
        &self.id
    }

    /// Its bytes in a list of ids.
    pub fn listed(&self) -> &Bytes {
        &self.listed
    }

    /// Its bytes in a list of members with their details.
    pub fn detailed(&self) -> &Bytes {
        &self.detailed
    }

    /// Approximate memory that it takes in a list, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.id.weight() + 64 + self.listed.len() + self.detailed.len()
    }
}

/// How the message is made that shows a client the members of the group that it joins. A gateway
/// makes it when the client is added to the group, so that it is neither older nor newer than the
/// changes that the client receives from there on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireSnapshot")]
pub struct Snapshot {
    kind: MessageKind,
    parts: Vec<Part>,
}

/// A part of a [`Snapshot`].
///
/// Variants are only ever appended: the native codec numbers them by position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// These bytes.
    #[serde(deserialize_with = "deserialize_bytes")]
    Bytes(#[serde(serialize_with = "serialize_bytes")] Bytes),
    /// The number of members, in decimal digits.
    Count,
    /// The [listed](Member::listed) bytes of all members, separated by `,`.
    Ids,
    /// The [detailed](Member::detailed) bytes of all members, separated by `,`.
    Entries,
}

#[derive(Deserialize)]
#[serde(rename = "Snapshot")]
struct WireSnapshot {
    kind: MessageKind,
    #[serde(deserialize_with = "bounded::targets")]
    parts: Vec<Part>,
}

impl TryFrom<WireSnapshot> for Snapshot {
    type Error = InvalidPresence;

    fn try_from(wire: WireSnapshot) -> Result<Self, InvalidPresence> {
        Self::new(wire.kind, wire.parts)
    }
}

impl Snapshot {
    /// A message of these parts.
    ///
    /// # Errors
    /// When there are more than [`MAX_PARTS`], or their bytes are longer than [`MAX_SNAPSHOT`].
    pub fn new(kind: MessageKind, parts: Vec<Part>) -> Result<Self, InvalidPresence> {
        if MAX_PARTS < parts.len() {
            return Err(InvalidPresence::Parts(parts.len()));
        }
        let own = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.len(),
            Part::Count | Part::Ids | Part::Entries => 0,
        };
        match parts.iter().map(own).sum() {
            0..=MAX_SNAPSHOT => Ok(Self { kind, parts }),
            length => Err(InvalidPresence::Snapshot(length)),
        }
    }

    /// The parts, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The message for these members. The iterator is used once for each part that needs it.
    pub fn compose<'a>(
        &self,
        members: impl ExactSizeIterator<Item = &'a Member> + Clone,
    ) -> Message {
        let mut body = BytesMut::new();
        let join = |body: &mut BytesMut, fragment: fn(&Member) -> &Bytes| {
            for (at, member) in members.clone().enumerate() {
                if at != 0 {
                    body.put_u8(b',');
                }
                body.extend_from_slice(fragment(member));
            }
        };
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) => body.extend_from_slice(bytes),
                Part::Count => body.extend_from_slice(members.len().to_string().as_bytes()),
                Part::Ids => join(&mut body, Member::listed),
                Part::Entries => join(&mut body, Member::detailed),
            }
        }
        Message { kind: self.kind, body: body.freeze(), uncompressed: false }
    }

    /// Approximate heap size in bytes.
    pub fn weight(&self) -> usize {
        let own = |part: &Part| match part {
            Part::Bytes(bytes) => 32 + bytes.len(),
            Part::Count | Part::Ids | Part::Entries => 0,
        };
        size_of_val(&self.parts[..]) + self.parts.iter().map(own).sum::<usize>()
    }
}

/// A member and the number of its clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalMember {
    /// The member.
    pub member: Member,
    /// Its clients.
    pub clients: u32,
}

/// A change of the members of a group that its owner has decided.
///
/// Variants are only ever appended: the native codec numbers them by position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberChange {
    /// The member has its first client in the cluster.
    Added(Box<Member>),
    /// The member has no client in the cluster any more.
    Removed(MemberId),
}

impl MemberChange {
    /// The member that it is about.
    pub fn id(&self) -> &MemberId {
        match self {
            Self::Added(member) => member.id(),
            Self::Removed(id) => id,
        }
    }

    /// Approximate heap size in bytes.
    pub fn weight(&self) -> usize {
        match self {
            Self::Added(member) => member.weight(),
            Self::Removed(id) => id.weight(),
        }
    }
}

/// The state of one group on one shard of a gateway, for the owner of the group. Reports are states:
/// several changes between two reports are one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceReport {
    /// The group.
    pub group: Group,
    /// The shard.
    pub shard: u16,
    /// Numbers the reports of a shard about all groups. The parts of a report have the same.
    pub number: u64,
    /// Whether it replaces all that the shard has reported about the group, else it changes it. The
    /// first report to a new owner is full.
    pub full: bool,
    /// Whether another part of this report follows. A part lists further members and further ids of
    /// the view.
    pub more: bool,
    /// The clients in the group, and those whose join waits for a view.
    pub clients: u64,
    /// In a full report, all members here, and those that have left and are not settled; else those
    /// whose number of clients has changed. A member without clients has left here, and its
    /// fragments are empty.
    #[serde(deserialize_with = "bounded::targets")]
    pub members: Vec<LocalMember>,
    /// In a full report: the members that were announced to the shard's clients, if it has a view.
    #[serde(deserialize_with = "bounded::optional_targets")]
    pub view: Option<Vec<MemberId>>,
    /// Joins wait for a view, see [`PresenceView`](crate::Command::PresenceView). Set in the last part
    /// of a report.
    pub wants_view: bool,
}

/// The contents of a part of a full report that an application was notified of: a later owner does
/// not notify its application of them again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceNotified {
    /// The group.
    pub group: Group,
    /// The shard.
    pub shard: u16,
    /// The number of the report.
    pub number: u64,
    /// That the group is occupied. The shard has had clients in it ever since.
    pub occupied: bool,
    /// That these members were added. Each has had clients on the shard ever since.
    #[serde(deserialize_with = "bounded::targets")]
    pub members: Vec<MemberId>,
}

/// The members that a [query](crate::Query::Presence) is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceAnswer {
    /// The clients in the group, and those whose join waits for a view.
    pub clients: u64,
    /// The members that have clients here, each once, in the order of their ids.
    #[serde(deserialize_with = "bounded::items")]
    pub members: Vec<LocalMember>,
}

fn serialize_bytes<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// Checked by the constructors of what contains it; a frame bounds it until then.
fn deserialize_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let bytes = <&serde_bytes::Bytes>::deserialize(deserializer)?;
    match bytes.len() {
        0..=MAX_SNAPSHOT => Ok(Bytes::copy_from_slice(bytes)),
        length => Err(D::Error::custom(InvalidPresence::Snapshot(length))),
    }
}

#[cfg(test)]
mod tests;
