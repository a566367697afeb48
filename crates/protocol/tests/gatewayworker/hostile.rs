//! Hostile frames: they close the link that they arrived on, at most.

use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*};
use push_suite_protocol::{
    Answer, Command, Session,
    codec::{
        gateway_worker::{
            Frame, MAX_FRAME, Opcode, decode,
            from_peer::{PeerMessage, read},
            reply::NoReply,
        },
        json_lines::Lines,
    },
    discovery::{AboutRegister, FromRegister, ToRegister},
    php::{MAX_DEPTH, json_decode, json_encode, parse_str, query_of, serialize, unserialize},
};

use crate::{php, vectors};

/// Processes bytes as a gateway would, with every step that a frame can cause.
fn process(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    let capacity = buffer.capacity();
    for _ in 0..bytes.len() {
        let Ok(Some(frame)) = decode(&mut buffer, MAX_FRAME) else {
            break;
        };
        execute(&frame);
    }
    assert!(buffer.capacity() <= capacity, "nothing is reserved");
}

fn execute(frame: &Frame) {
    match read(frame) {
        Ok(PeerMessage::Query(_, reply)) => {
            assert_eq!(reply.encode(&Answer::Unavailable), Err(NoReply::Unavailable));
        }
        Ok(PeerMessage::Reply(reply)) => assert!(4 < reply.len()),
        Ok(PeerMessage::Command(Command::UpdateSession { changes, .. })) => {
            let stored = php(r#"a:2:{s:1:"n";a:1:{i:0;i:1;}s:1:"m";i:1;}"#);
            let (mut merged, mut other) = (stored.clone(), changes.clone());
            if merged.merge(&changes).is_err() {
                assert_eq!(merged, stored);
            }
            let _ = other.merge(&stored);
            let _ = changes.decode();
        }
        Ok(_) | Err(_) => {}
    }
}

/// Processes a text with every decoder.
fn process_text(text: &[u8]) {
    let text = Bytes::copy_from_slice(text);
    if let Ok(document) = unserialize(&text) {
        let _ = json_encode(&document, 1 << 20);
        let mut out = Vec::new();
        let _ = serialize(&document, 1 << 20, &mut out);
        assert!(unserialize(&out.into()).is_ok());
    }
    let _ = json_decode(&text);
    let _ = parse_str(&text);
    if let Ok(text) = std::str::from_utf8(&text) {
        let _ = query_of(text);
    }
    let _ = Session::from_php(text.clone()).unwrap().decode();
    let _ = Session::from_encoded(text).unwrap().to_php();
}

#[test]
fn truncated_frame_does_not_panic() {
    for bytes in vectors::wire() {
        for end in 0..bytes.len() {
            process(&bytes[..end]);
            process_text(&bytes[..end]);
            // The same with a matching length.
            if let Some(rest) = bytes.get(4..end) {
                process(&[&(end as u32).to_be_bytes(), rest].concat());
                process_text(rest);
            }
        }
    }
}

#[test]
fn flipped_bit_does_not_panic() {
    for bytes in vectors::wire() {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            process(&flipped);
            process_text(&flipped[4..]);
        }
    }
}

#[test]
fn truncated_or_corrupted_register_line_does_not_panic() {
    for line in vectors::register_lines() {
        for end in 0..=line.len() {
            process_lines(&line[..end]);
            process_lines(&[&line[..end], b"\n"].concat());
        }
        for bit in 0..line.len() * 8 {
            let mut flipped = line.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            process_lines(&flipped);
        }
    }
}

/// Processes bytes as a register would, and as its peers would.
fn process_lines(bytes: &[u8]) {
    let (mut lines, mut buffer) = (Lines::new(4096), BytesMut::from(bytes));
    while let Ok(Some(line)) = lines.next(&mut buffer) {
        let mut again = BytesMut::new();
        if let Ok(message) = ToRegister::parse(&line) {
            message.encode(&mut again);
        }
        if let Ok(message) = FromRegister::parse(&line) {
            message.encode(&mut again);
        }
        if let Some(about) = AboutRegister::parse(&line) {
            about.encode(&mut again);
        }
    }
}

#[test]
fn length_beyond_the_text_is_an_error() {
    for text in [
        "s:9223372036854775807:\"a\";",
        "s:18446744073709551616:\"a\";",
        "S:4000000000:\"a\";",
        "a:4000000000:{}",
        "a:99999999999999999999:{}",
        "O:4000000000:\"A\":0:{}",
        "O:1:\"A\":4000000000:{}",
        "C:1:\"A\":4000000000:{}",
        "a:1:{i:0;R:4000000000;}",
    ] {
        assert!(unserialize(&Bytes::from(text)).is_err(), "{text}");
    }
}

#[test]
fn depth_and_number_of_values_are_limited() {
    let deep = |open: &str, close: &str, levels: usize| {
        Bytes::from(open.repeat(levels) + &close.repeat(levels))
    };
    for levels in [127, 128, 129, 512, 100_000] {
        let json = json_decode(&deep("[", "]", levels));
        assert_eq!(json.is_ok(), levels <= MAX_DEPTH);
        let value = "a:1:{i:0;".repeat(levels) + "N;" + &"}".repeat(levels);
        assert_eq!(unserialize(&value.into()).is_ok(), levels <= MAX_DEPTH);
        let object = "O:1:\"A\":1:{s:1:\"a\";".repeat(levels) + "N;" + &"}".repeat(levels);
        assert_eq!(unserialize(&object.into()).is_ok(), levels <= MAX_DEPTH);
    }
    let many = format!("[{}1]", "1,".repeat(2_000_000));
    assert!(json_decode(&many.into()).is_err());
    let many = format!("a:2000000:{{{}}}", "i:0;N;".repeat(2_000_000));
    assert!(unserialize(&many.into()).is_err());
}

#[test]
fn many_equal_or_distinct_keys_do_not_take_quadratic_time() {
    // Hundreds of thousands of lookups each: quadratic time would take hours.
    let equal = format!("{{{}\"a\":1}}", "\"a\":1,".repeat(300_000));
    assert_eq!(json_decode(&equal.into()).unwrap().as_array().unwrap().len(), 1);
    let keys: String = (0..200_000).map(|key| format!("s:7:\"k{key:06}\";i:1;")).collect();
    let session = php(&format!("a:200000:{{{keys}}}"));
    let mut merged = session.clone();
    merged.merge(&session).unwrap();
    assert_eq!(merged, session);
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..300)) {
        process(&bytes);
        process_text(&bytes);
    }

    #[test]
    fn arbitrary_frame_does_not_panic(
        opcode in prop::sample::select(Opcode::ALL),
        flag in 0_u8..4,
        ext in hostile_text(),
        body in hostile_text(),
    ) {
        let frame = Frame {
            cmd: opcode.into(),
            flag,
            connection_id: 2,
            ext_data: ext.into(),
            body: body.into(),
            ..Frame::default()
        };
        execute(&frame);
    }
}

/// Pieces of valid input, in random order.
fn hostile_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(
        &[
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            ";",
            "\"",
            "a:1:{",
            "i:0;",
            "i:1;",
            "s:1:\"a\";",
            "N;",
            "b:1;",
            "d:0.1;",
            "O:1:\"A\":1:{",
            "C:1:\"A\":2:{ab}",
            "E:3:\"A:B\";",
            "R:1;",
            "R:2;",
            "r:2;",
            "\"group\":",
            "\"exclude\":",
            "\"connections\":",
            "\"fields\":",
            "\"where\":",
            "null",
            "-1",
            "7",
            "\"uid\"",
            "\\u0000",
            "1e999",
            "\u{ff}",
        ][..],
    );
    vec(piece, 0..14).prop_map(|pieces| pieces.concat().into_bytes())
}
