//! Names of streams and positions as text, in JSON, and as no peer should send them.

use proptest::prelude::*;

use super::*;

const EPOCH: Epoch = Epoch::from_bits(0x00c0_ffee_00c0_ffee);

fn group(name: &str) -> StreamName {
    StreamName::Group(name.try_into().unwrap())
}

fn uid(name: &str) -> StreamName {
    StreamName::Uid(name.try_into().unwrap())
}

#[test]
fn position_has_one_text_and_one_json() {
    let position = Position::new(EPOCH, 41);
    assert_eq!(position.to_string(), "00c0ffee00c0ffee-41");
    let json = r#"{"epoch":"00c0ffee00c0ffee","offset":41}"#;
    assert_eq!(serde_json::to_string(&position).unwrap(), json);
    assert_eq!(serde_json::from_str::<Position>(json).unwrap(), position);
    assert_eq!("00C0FFEE00C0FFEE-41".parse(), Ok(position));
    assert_eq!(Position::start(EPOCH).next(), Position::new(EPOCH, 1));
}

#[test]
fn longest_position_is_within_the_limit() {
    let longest = Position::new(Epoch::from_bits(u64::MAX), MAX_OFFSET);
    assert_eq!(longest.to_string().len(), MAX_POSITION_TEXT);
    assert_eq!(longest.to_string().parse(), Ok(longest));
}

#[test]
fn invalid_positions_are_refused() {
    use InvalidStream as Invalid;

    let huge = "0".repeat(1 << 20);
    for (text, invalid) in [
        ("", Invalid::Position),
        ("00c0ffee00c0ffee", Invalid::Position),
        (huge.as_str(), Invalid::Position),
        ("00c0ffee00c0ffee-00000000000000041", Invalid::Position),
        ("00c0ffee00c0ffee-", Invalid::Offset),
        ("00c0ffee00c0ffee-+1", Invalid::Offset),
        ("00c0ffee00c0ffee--1", Invalid::Offset),
        ("00c0ffee00c0ffee-1.5", Invalid::Offset),
        ("00c0ffee00c0ffee-9007199254740992", Invalid::Offset),
        ("-1", Invalid::Epoch),
        ("00c0ffee00c0ffe-1", Invalid::Epoch),
        ("+0c0ffee00c0ffee-1", Invalid::Epoch),
        ("ééééffee-1", Invalid::Epoch),
    ] {
        assert_eq!(text.parse::<Position>(), Err(invalid), "{text:.40}");
    }
}

#[test]
fn invalid_positions_in_json_are_refused() {
    for json in [
        r#"{"epoch":"00c0ffee00c0ffee"}"#,
        r#"{"offset":1}"#,
        r#"{"epoch":1,"offset":1}"#,
        r#"{"epoch":"x7f3","offset":1}"#,
        r#"{"epoch":"00c0ffee00c0ffee","offset":-1}"#,
        r#"{"epoch":"00c0ffee00c0ffee","offset":1e3}"#,
        r#"{"epoch":"00c0ffee00c0ffee","offset":9007199254740992}"#,
    ] {
        assert!(serde_json::from_str::<Position>(json).is_err(), "{json}");
    }
}

#[test]
fn group_and_uid_of_one_name_are_two_streams() {
    assert_ne!(group("7").to_key(), uid("7").to_key());
    assert_ne!(group("7"), uid("7"));
    assert_eq!(group("room-1").to_string(), "g:room-1");
    assert_eq!(serde_json::to_string(&uid("7")).unwrap(), r#"{"uid":"7"}"#);
    assert_eq!(serde_json::from_str::<StreamName>(r#"{"group":"7"}"#).unwrap(), group("7"));
}

#[test]
fn invalid_names_of_streams_are_refused() {
    let long = format!("g:{}", "x".repeat(crate::name::MAX_NAME + 1));
    for (text, invalid) in [
        ("", InvalidStream::Kind),
        ("g", InvalidStream::Kind),
        ("x:room", InvalidStream::Kind),
        ("room", InvalidStream::Kind),
        ("g:", InvalidStream::Name(InvalidName::Empty)),
        ("u:", InvalidStream::Name(InvalidName::Empty)),
        (&long, InvalidStream::Name(InvalidName::TooLong(crate::name::MAX_NAME + 1))),
    ] {
        assert_eq!(text.parse::<StreamName>(), Err(invalid), "{text:.40}");
    }
    for json in [r#"{"group":""}"#, r#"{"room":"1"}"#, r#""group""#, "{}"] {
        assert!(serde_json::from_str::<StreamName>(json).is_err(), "{json}");
    }
}

proptest! {
    #[test]
    fn any_position_round_trips(epoch: u64, offset in 0..=MAX_OFFSET) {
        let position = Position::new(Epoch::from_random(epoch), offset);
        prop_assert_eq!(position.to_string().parse(), Ok(position));
        let json = serde_json::to_string(&position).unwrap();
        prop_assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position);
    }

    #[test]
    fn any_text_that_parses_is_the_position(text in "[0-9a-fA-F+-]{0,40}") {
        if let Ok(position) = text.parse::<Position>() {
            let again: Position = position.to_string().parse().unwrap();
            prop_assert_eq!(again, position);
            prop_assert_eq!(text.split('-').next().unwrap().to_lowercase(),
                position.epoch.to_string());
        }
    }

    #[test]
    fn any_name_round_trips_as_a_key(name in prop::collection::vec(any::<u8>(), 1..64)) {
        for stream in [
            StreamName::Group(Group::new(&name).unwrap()),
            StreamName::Uid(Uid::new(&name).unwrap()),
        ] {
            prop_assert_eq!(StreamName::from_key(&stream.to_key()), Ok(stream.clone()));
            let json = serde_json::to_vec(&stream).unwrap();
            prop_assert_eq!(serde_json::from_slice::<StreamName>(&json).unwrap(), stream);
        }
    }
}
