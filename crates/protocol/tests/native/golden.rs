//! The golden bytes of the native wire format, which deployed peers rely on.

use std::{collections::BTreeMap, fmt::Debug};

use bytes::BytesMut;
use push_suite_protocol::{
    codec::native::{MAX_FRAME, PREFIX, decode, encode},
    link::LinkMessage,
};

use crate::cases;

const GOLDEN: &str = include_str!("../golden/native.txt");

#[test]
fn peer_messages_have_golden_bytes() {
    check(cases::to_gateway());
}

#[test]
fn gateway_messages_have_golden_bytes() {
    check(cases::to_peer());
}

#[test]
fn every_golden_frame_has_a_case() {
    let mut unchecked = golden();
    cases::to_gateway().iter().for_each(|(name, _)| drop(unchecked.remove(name.as_str())));
    cases::to_peer().iter().for_each(|(name, _)| drop(unchecked.remove(name.as_str())));
    assert!(unchecked.is_empty(), "no case for {:?}", unchecked.keys());
}

fn check<T: LinkMessage + Debug + PartialEq>(cases: Vec<(String, T)>) {
    let golden = golden();
    let mut missing = String::new();
    for (name, message) in cases {
        let mut encoded = BytesMut::new();
        encode(&message, &mut encoded).unwrap();
        let Some(bytes) = golden.get(name.as_str()) else {
            missing += &line(&name, &encoded);
            continue;
        };
        assert!(encoded == bytes[..], "{name} is encoded as\n{}", line(&name, &encoded));
        let mut buffer = BytesMut::from(&bytes[..]);
        let decoded: Option<T> = decode(&mut buffer, MAX_FRAME).unwrap();
        assert_eq!(decoded.as_ref(), Some(&message), "{name}");
        assert!(buffer.is_empty(), "{name}");
    }
    assert!(missing.is_empty(), "add to tests/golden/native.txt, once it is right:\n{missing}");
}

/// The frames by name. Spaces within the hex are for readability.
fn golden() -> BTreeMap<&'static str, Vec<u8>> {
    let mut frames = BTreeMap::new();
    for line in GOLDEN.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, text) = line.split_once(": ").expect("a line is `name: hex`");
        let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
        let spaces = text.chars().filter(|digit| *digit == ' ').count();
        assert_eq!(digits.len() + spaces, text.len(), "{name} is not hex");
        assert_eq!(digits.len() % 2, 0, "{name} has half a byte");
        let bytes = digits.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect();
        assert!(frames.insert(name, bytes).is_none(), "{name} is listed twice");
    }
    frames
}

/// A line of the file: length, version, flags and header length, header, payload.
fn line(name: &str, frame: &[u8]) -> String {
    let header = u32::from_be_bytes(frame[6..PREFIX].try_into().unwrap()) as usize;
    let parts = [
        &frame[..4],
        &frame[4..5],
        &frame[5..6],
        &frame[6..PREFIX],
        &frame[PREFIX..PREFIX + header],
        &frame[PREFIX + header..],
    ];
    let hex = |part: &&[u8]| part.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let parts: Vec<String> = parts.iter().map(hex).filter(|part| !part.is_empty()).collect();
    format!("{name}: {}\n", parts.join(" "))
}
