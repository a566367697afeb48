//! Tests of the decoder, fed byte by byte and all at once.

use proptest::prelude::*;

use super::*;

mod compressed;

const LIMIT: usize = 1000;

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [7, 11, 13, 17];
    let mut out = vec![first];
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        medium @ 126..65536 => {
            out.push(0x80 | 126);
            out.extend((medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

fn described(received: &Received<'_>) -> String {
    match received {
        Received::Text(text) => format!("text {}", String::from_utf8_lossy(text)),
        Received::Binary(bytes) => format!("binary {bytes:?}"),
        Received::Ping(bytes) => format!("ping {bytes:?}"),
        Received::Pong(bytes) => format!("pong {bytes:?}"),
        Received::Close(code, "") => format!("close {code:?}"),
        Received::Close(code, reason) => format!("close {code:?} {reason}"),
    }
}

fn feed(chunks: &[&[u8]]) -> Result<Vec<String>, Violation> {
    feed_with(TextValidation::Utf8, chunks)
}

fn feed_with(texts: TextValidation, chunks: &[&[u8]]) -> Result<Vec<String>, Violation> {
    feed_by(&mut Rules { limit: LIMIT, texts, inflater: None }, chunks)
}

fn feed_by(rules: &mut Rules<'_>, chunks: &[&[u8]]) -> Result<Vec<String>, Violation> {
    let (mut decoder, mut decoded) = (Decoder::default(), Vec::new());
    for chunk in chunks {
        decoder.feed(&mut chunk.to_vec(), rules, |received| {
            decoded.push(described(&received));
            true
        })?;
    }
    Ok(decoded)
}

/// Checks that the result does not depend on how the bytes are split.
fn check(bytes: &[u8], expected: Result<&[&str], Violation>) {
    let expected = expected.map(|items| items.iter().map(ToString::to_string).collect());
    assert_eq!(feed(&[bytes]), expected, "at once");
    let single: Vec<_> = bytes.chunks(1).collect();
    assert_eq!(feed(&single), expected, "byte by byte");
    for at in 0..bytes.len() {
        let (start, end) = bytes.split_at(at);
        assert_eq!(feed(&[start, end]), expected, "cut at {at}");
    }
}

#[test]
fn messages_are_decoded_in_order() {
    let bytes = [frame(0x81, b"hi"), frame(0x82, &[1, 2]), frame(0x81, b"")].concat();
    check(&bytes, Ok(&["text hi", "binary [1, 2]", "text "]));
}

#[test]
fn fragments_are_reassembled_around_ping() {
    let bytes = [
        frame(0x01, "中".as_bytes().split_at(1).0),
        frame(0x89, b"p"),
        frame(0x00, "中".as_bytes().split_at(1).1),
        frame(0x80, b"!"),
    ];
    check(&bytes.concat(), Ok(&["ping [112]", "text 中!"]));
}

#[test]
fn invalid_framing_has_code_1002() {
    for (bytes, reason) in [
        (vec![0x81, 0x00], "a frame without a mask"),
        (frame(0xc1, b""), "a reserved bit"),
        (frame(0x83, b""), "a reserved opcode"),
        (frame(0x09, b""), "a fragmented control frame"),
        (frame(0x89, &[0; 126]), "a long control frame"),
        (frame(0x80, b""), "a continuation of nothing"),
        ([frame(0x01, b""), frame(0x81, b"")].concat(), "a message within a message"),
        (frame(0x88, &[3]), "half a close code"),
        (frame(0x88, &1005u16.to_be_bytes()), "a close code that may not be sent"),
    ] {
        check(&bytes, Err(Violation::Protocol(reason)));
        assert_eq!(Violation::Protocol(reason).code(), 1002);
    }
}

#[test]
fn invalid_utf8_has_code_1007_in_its_frame() {
    check(&frame(0x81, &[0xff]), Err(Violation::Utf8));
    check(&frame(0x01, &[0xff]), Err(Violation::Utf8));
    check(&[frame(0x01, &[0xe4]), frame(0x80, &[])].concat(), Err(Violation::Utf8));
    check(&frame(0x88, &[3, 232, 0xff]), Err(Violation::Utf8));
}

#[test]
fn invalid_utf8_is_accepted_without_validation() {
    let bytes = [frame(0x81, &[b'a', 0xff]), frame(0x01, &[0xe4]), frame(0x80, b"b")].concat();
    let decoded = feed_with(TextValidation::Any, &[&bytes]).unwrap();
    assert_eq!(decoded, ["text a\u{fffd}", "text \u{fffd}b"]);
}

#[test]
fn message_over_limit_has_code_1009_before_payload_arrives() {
    let header = &frame(0x82, &[0; LIMIT + 1])[..8];
    check(header, Err(Violation::TooLong { size: 1001, limit: LIMIT }));
    let two = [frame(0x02, &[0; LIMIT]), frame(0x80, &[0])].concat();
    assert_eq!(feed(&[&two]), Err(Violation::TooLong { size: 1001, limit: LIMIT }));
    assert!(feed(&[&frame(0x82, &[0; LIMIT])]).is_ok());
}

#[test]
fn frames_after_close_are_ignored() {
    let bytes = [frame(0x88, &1001u16.to_be_bytes()), frame(0x81, b"late")].concat();
    assert_eq!(feed(&[&bytes]).unwrap(), ["close Some(1001)"]);
}

#[test]
fn decoder_holds_no_memory_between_messages() {
    let mut decoder = Decoder::default();
    for chunk in frame(0x82, &[7; 900]).chunks_mut(100) {
        let rules = &mut Rules { limit: LIMIT, texts: TextValidation::Utf8, inflater: None };
        decoder.feed(chunk, rules, |_| true).unwrap();
    }
    assert_eq!(decoder.held(), 0);
    assert!(decoder.fragments.is_none());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, cut: prop::sample::Index) {
        let (start, end) = bytes.split_at(cut.index(bytes.len() + 1));
        let _ = feed(&[start, end]);
    }

    #[test]
    fn unmasking_equals_bytewise_xor(bytes: Vec<u8>, mask: [u8; 4]) {
        let expected: Vec<_> = bytes.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        let mut unmasked = bytes;
        unmask(&mut unmasked, mask);
        prop_assert_eq!(unmasked, expected);
    }
}
