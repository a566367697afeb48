//! Limits of members and snapshots, and the bytes of composed snapshots.

use super::*;

fn id(id: &str) -> MemberId {
    MemberId::new(id).unwrap()
}

fn member(name: &str) -> Member {
    Member::new(id(name), format!("\"{name}\""), format!("\"{name}\":{{}}")).unwrap()
}

fn bytes(text: &'static str) -> Part {
    Part::Bytes(Bytes::from_static(text.as_bytes()))
}

#[test]
fn snapshot_shows_count_ids_and_entries_in_order() {
    let parts = vec![
        bytes("{\"count\":"),
        Part::Count,
        bytes(",\"ids\":["),
        Part::Ids,
        bytes("],\"hash\":{"),
        Part::Entries,
        bytes("}}"),
    ];
    let snapshot = Snapshot::new(MessageKind::Text, parts).unwrap();
    let members = [member("1"), member("22")];
    let whole = r#"{"count":2,"ids":["1","22"],"hash":{"1":{},"22":{}}}"#;
    assert_eq!(snapshot.compose(members.iter()), Message::text(whole));
    let empty = r#"{"count":0,"ids":[],"hash":{}}"#;
    assert_eq!(snapshot.compose([].iter()), Message::text(empty));
}

#[test]
fn members_and_snapshots_are_bounded() {
    assert_eq!(MemberId::new(""), Err(InvalidPresence::MemberId(0)));
    assert!(MemberId::new([0xff; MAX_MEMBER_ID]).is_ok());
    assert!(MemberId::new([0xff; MAX_MEMBER_ID + 1]).is_err());

    let half = vec![b'x'; MAX_MEMBER / 2];
    assert!(Member::new(id("a"), half.clone(), half.clone()).is_ok());
    let more = [&half[..], b"x"].concat();
    let error = Member::new(id("a"), half, more).unwrap_err();
    assert_eq!(error, InvalidPresence::Member(MAX_MEMBER + 1));

    let new = |parts| Snapshot::new(MessageKind::Binary, parts);
    assert!(new(vec![Part::Ids; MAX_PARTS]).is_ok());
    assert_eq!(new(vec![Part::Ids; MAX_PARTS + 1]), Err(InvalidPresence::Parts(MAX_PARTS + 1)));
    let half = || Part::Bytes(vec![b'x'; MAX_SNAPSHOT / 2].into());
    assert!(new(vec![half(), half()]).is_ok());
    let error = new(vec![half(), half(), bytes("x")]).unwrap_err();
    assert_eq!(error, InvalidPresence::Snapshot(MAX_SNAPSHOT + 1));
}
