//! The decoder, fed byte by byte and all at once.

use proptest::prelude::*;

use super::*;

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

fn told(received: &Received<'_>) -> String {
    match received {
        Received::Text(text) => format!("text {}", String::from_utf8_lossy(text)),
        Received::Binary(bytes) => format!("binary {bytes:?}"),
        Received::Ping(bytes) => format!("ping {bytes:?}"),
        Received::Pong => "pong".into(),
        Received::Close(code) => format!("close {code:?}"),
    }
}

fn feed(chunks: &[&[u8]]) -> Result<Vec<String>, Violation> {
    feed_with(Texts::Utf8, chunks)
}

fn feed_with(texts: Texts, chunks: &[&[u8]]) -> Result<Vec<String>, Violation> {
    let (mut decoder, mut heard) = (Decoder::default(), Vec::new());
    for chunk in chunks {
        decoder.feed(&mut chunk.to_vec(), LIMIT, texts, |received| {
            heard.push(told(&received));
            true
        })?;
    }
    Ok(heard)
}

/// The same, whatever pieces the bytes come in.
fn check(bytes: &[u8], expected: Result<&[&str], Violation>) {
    let expected = expected.map(|heard| heard.iter().map(ToString::to_string).collect());
    assert_eq!(feed(&[bytes]), expected, "at once");
    let single: Vec<_> = bytes.chunks(1).collect();
    assert_eq!(feed(&single), expected, "byte by byte");
    for at in 0..bytes.len() {
        let (start, end) = bytes.split_at(at);
        assert_eq!(feed(&[start, end]), expected, "cut at {at}");
    }
}

#[test]
fn messages_come_whole_and_in_order() {
    let bytes = [frame(0x81, b"hi"), frame(0x82, &[1, 2]), frame(0x81, b"")].concat();
    check(&bytes, Ok(&["text hi", "binary [1, 2]", "text "]));
}

#[test]
fn fragments_are_put_together_with_a_ping_between_them() {
    let bytes = [
        frame(0x01, "中".as_bytes().split_at(1).0),
        frame(0x89, b"p"),
        frame(0x00, "中".as_bytes().split_at(1).1),
        frame(0x80, b"!"),
    ];
    check(&bytes.concat(), Ok(&["ping [112]", "text 中!"]));
}

#[test]
fn wrong_framing_is_1002() {
    for (bytes, why) in [
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
        check(&bytes, Err(Violation::Protocol(why)));
        assert_eq!(Violation::Protocol(why).code(), 1002);
    }
}

#[test]
fn text_that_is_not_utf8_is_1007_as_soon_as_a_frame_shows_it() {
    check(&frame(0x81, &[0xff]), Err(Violation::Utf8));
    check(&frame(0x01, &[0xff]), Err(Violation::Utf8));
    check(&[frame(0x01, &[0xe4]), frame(0x80, &[])].concat(), Err(Violation::Utf8));
    check(&frame(0x88, &[3, 232, 0xff]), Err(Violation::Utf8));
}

#[test]
fn text_may_be_anything_where_that_is_said() {
    let bytes = [frame(0x81, &[b'a', 0xff]), frame(0x01, &[0xe4]), frame(0x80, b"b")].concat();
    let heard = feed_with(Texts::Any, &[&bytes]).unwrap();
    assert_eq!(heard, ["text a\u{fffd}", "text \u{fffd}b"]);
}

#[test]
fn too_long_is_1009_before_the_payload_is_waited_for() {
    let header = &frame(0x82, &[0; LIMIT + 1])[..8];
    check(header, Err(Violation::TooLong { size: 1001, limit: LIMIT }));
    let two = [frame(0x02, &[0; LIMIT]), frame(0x80, &[0])].concat();
    assert_eq!(feed(&[&two]), Err(Violation::TooLong { size: 1001, limit: LIMIT }));
    assert!(feed(&[&frame(0x82, &[0; LIMIT])]).is_ok());
}

#[test]
fn nothing_is_read_behind_a_close() {
    let bytes = [frame(0x88, &1001u16.to_be_bytes()), frame(0x81, b"late")].concat();
    assert_eq!(feed(&[&bytes]).unwrap(), ["close Some(1001)"]);
}

#[test]
fn a_client_between_messages_keeps_nothing() {
    let mut decoder = Decoder::default();
    for chunk in frame(0x82, &[7; 900]).chunks_mut(100) {
        decoder.feed(chunk, LIMIT, Texts::Utf8, |_| true).unwrap();
    }
    assert_eq!(decoder.held(), 0);
    assert!(decoder.fragments.is_none());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, cut: prop::sample::Index) {
        let (start, end) = bytes.split_at(cut.index(bytes.len() + 1));
        let _ = feed(&[start, end]);
    }

    #[test]
    fn unmasking_is_byte_by_byte(bytes: Vec<u8>, mask: [u8; 4]) {
        let expected: Vec<_> = bytes.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        let mut unmasked = bytes;
        unmask(&mut unmasked, mask);
        prop_assert_eq!(unmasked, expected);
    }
}
