//! Uids as watched groups: a worker that watches uids watches a group for each of them, which has the
//! clients that are bound to the uid. So its owner is chosen, reported to and replaced as that of any
//! watched group.

use crate::{Group, Uid};

/// The beginning of the names of these groups. Whatever clients join under such a name does not
/// count there.
pub const PREFIX: &[u8] = b"\0uid\0";

/// The prefix under which a worker watches all of them.
pub fn prefix() -> Group {
    Group::new(PREFIX).expect("not empty, and short")
}

/// The group of a uid; `None` if the uid is too long for it, by at most five bytes.
pub fn group_of(uid: &Uid) -> Option<Group> {
    Group::new([PREFIX, uid.as_bytes()].concat()).ok()
}

/// The uid of such a group; `None` for any other group.
pub fn uid_of(group: &Group) -> Option<Uid> {
    Uid::new(group.as_bytes().strip_prefix(PREFIX)?).ok()
}

/// Whether a prefix of watched groups is one of some of these groups.
pub fn is_watched_by(prefix: &Group) -> bool {
    prefix.as_bytes().starts_with(PREFIX) || PREFIX.starts_with(prefix.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::MAX_NAME;

    #[test]
    fn uid_has_one_group_and_other_groups_are_of_no_uid() {
        let group = |name: &[u8]| Group::new(name).unwrap();
        for uid in [Uid::from(7), Uid::new([0, 0xff]).unwrap()] {
            assert_eq!(uid_of(&group_of(&uid).unwrap()), Some(uid));
        }
        for other in [&b"uid"[..], PREFIX, b"\0uid", b"7"] {
            assert_eq!(uid_of(&group(other)), None, "{other:?}");
        }
        let long = |length| Uid::new("x".repeat(length)).unwrap();
        assert!(group_of(&long(MAX_NAME - PREFIX.len())).is_some());
        assert_eq!(group_of(&long(MAX_NAME - PREFIX.len() + 1)), None);
        let watched = [prefix(), group(b"\0"), group(b"\0uid\0an")];
        assert!(watched.iter().all(is_watched_by));
        assert!(![group(b"u"), group(b"\0v")].iter().any(is_watched_by));
    }
}
