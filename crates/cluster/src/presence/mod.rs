//! Occupancy and presence of the groups that this worker watches.
//!
//! Of the workers that watch a group, one owns it, which the gateways choose. It receives the
//! reports of their shards, decides ([`table`]), and sends what it has decided to all gateways.
//! `docs/guarantees.md` has the rules by which all clients see the same members.

mod events;
mod notice;
mod notices;
mod owner;
mod senders;
mod table;

pub use notice::{Notice, NoticeKind, UidNotice};
pub use owner::Application;

pub(crate) use events::Event;
pub(crate) use owner::Owner;
