//! Frames of a client with permessage-deflate.

use super::*;
use crate::websocket::deflate::tests::deflated;

/// Checks that the result does not depend on how the bytes are split.
fn check(bytes: &[u8], expected: Result<&[&str], Violation>) {
    let expected = expected.map(|items| items.iter().map(ToString::to_string).collect());
    let mut inflater = Inflater::default();
    let mut fed = |chunks: &[&[u8]]| {
        let inflater = Some(&mut inflater);
        feed_by(&mut Rules { limit: LIMIT, texts: TextValidation::Utf8, inflater }, chunks)
    };
    assert_eq!(fed(&[bytes]), expected, "at once");
    assert_eq!(fed(&bytes.chunks(1).collect::<Vec<_>>()), expected, "byte by byte");
    for at in 0..bytes.len() {
        let (start, end) = bytes.split_at(at);
        assert_eq!(fed(&[start, end]), expected, "cut at {at}");
    }
}

#[test]
fn compressed_and_other_messages_are_decoded_in_order() {
    let bytes = [
        frame(0xc1, &deflated(b"hi")),
        frame(0x81, b"there"),
        frame(0xc2, &deflated(&[1, 2])),
        frame(0xc1, b"\x00"),
        frame(0x89, b"p"),
    ];
    check(&bytes.concat(), Ok(&["text hi", "text there", "binary [1, 2]", "text ", "ping [112]"]));
}

#[test]
fn fragments_are_decompressed_together_around_ping() {
    let payload = deflated("中文, 中文, 中文!".as_bytes());
    let (start, rest) = payload.split_at(3);
    let bytes = [
        frame(0x41, start),
        frame(0x89, b"p"),
        frame(0x00, rest),
        frame(0x80, b""),
        frame(0x41, b""),
        frame(0x80, &deflated(b"in the last")),
    ];
    check(&bytes.concat(), Ok(&["ping [112]", "text 中文, 中文, 中文!", "text in the last"]));
}

#[test]
fn mark_of_compression_is_refused_on_other_frames() {
    let (start, hi) = (frame(0x41, b""), deflated(b"hi"));
    let misplaced = Violation::Protocol("a compressed frame that begins no message");
    check(&[start.clone(), frame(0xc0, &hi)].concat(), Err(misplaced));
    check(&[start, frame(0x40, &hi)].concat(), Err(misplaced));
    for control in [0xc9, 0xca, 0xc8] {
        check(&frame(control, b""), Err(misplaced));
    }
    for reserved in [0xa1, 0x91, 0xe1, 0xf1] {
        check(&frame(reserved, &hi), Err(Violation::Protocol("a reserved bit")));
    }
    assert_eq!(feed(&[&frame(0xc1, &hi)]), Err(Violation::Protocol("a reserved bit")));
}

#[test]
fn invalid_contents_are_refused() {
    check(&frame(0xc1, b"\x06"), Err(Violation::Deflate));
    check(&frame(0xc1, &deflated(b"a\xff")), Err(Violation::Utf8));
    let cut = deflated("中".as_bytes());
    let bytes = [frame(0x41, &cut[..2]), frame(0x80, &cut[2..])].concat();
    check(&bytes, Ok(&["text 中"]));
    let invalid = deflated(b"\xe4\xb8");
    let bytes = [frame(0x41, &invalid[..2]), frame(0x80, &invalid[2..])].concat();
    check(&bytes, Err(Violation::Utf8));
    let mut inflater = Inflater::default();
    let rules =
        &mut Rules { limit: LIMIT, texts: TextValidation::Any, inflater: Some(&mut inflater) };
    assert_eq!(feed_by(rules, &[&bytes]).unwrap(), ["text \u{fffd}"]);
}

#[test]
fn message_over_the_limit_is_refused_however_short_its_frames() {
    let too_long = |size| Violation::TooLong { size, limit: LIMIT };
    let bomb = deflated(&[0; 50 * LIMIT]);
    assert!(bomb.len() < LIMIT / 4);
    check(&frame(0xc2, &bomb), Err(too_long(LIMIT as u64 + 1)));
    let (start, rest) = bomb.split_at(10);
    check(&[frame(0x42, start), frame(0x80, rest)].concat(), Err(too_long(LIMIT as u64 + 1)));
    // By the length of the frame alone; and of all fragments.
    let most = largest_payload(LIMIT);
    assert_eq!(most, 1126);
    check(&frame(0xc2, &vec![0; most + 1])[..8], Err(too_long(most as u64 + 1)));
    let bytes = [frame(0x42, &vec![0; most]), frame(0x80, b"x")].concat();
    let mut inflater = Inflater::default();
    let rules =
        &mut Rules { limit: LIMIT, texts: TextValidation::Utf8, inflater: Some(&mut inflater) };
    assert_eq!(feed_by(rules, &[&bytes]), Err(too_long(most as u64 + 1)));
}

#[test]
fn incompressible_message_of_the_largest_size_is_accepted() {
    // As one with the smallest buffers sends it: a block for every 127 bytes.
    let message: Vec<u8> = (0..LIMIT as u32).map(|n| (n * n % 253) as u8).collect();
    let block = |bytes: &[u8]| {
        let length = bytes.len() as u16;
        [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), bytes].concat()
    };
    let payload = [message.chunks(127).flat_map(block).collect(), vec![0]].concat();
    assert!(LIMIT < payload.len());
    check(&frame(0xc2, &payload), Ok(&[&format!("binary {message:?}")]));
}
