//! Valid names.

use protocol::{Group, Uid};

/// The uid of this name.
///
/// # Panics
/// If it is invalid.
pub fn uid(name: &str) -> Uid {
    Uid::new(name).unwrap()
}

/// The group of this name.
///
/// # Panics
/// If it is invalid.
pub fn group(name: &str) -> Group {
    Group::new(name).unwrap()
}
