//! Occupancy and presence of the groups that this worker watches.

mod notice;

pub use notice::{Notice, NoticeKind};
