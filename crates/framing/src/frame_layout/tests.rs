//! Tests of the layouts: every split of the input, hostile lengths, and the text form.

use super::*;
use crate::{Decoder, Framing, TextValidation, length::LengthDecoder, websocket};

const LIMIT: usize = 300;

fn layout(query: &str) -> FrameLayout {
    query.parse().unwrap_or_else(|error| panic!("{query}: {error}"))
}

fn text(received: &Received<'_>) -> Vec<u8> {
    match received {
        Received::Text(bytes) | Received::Binary(bytes) => bytes.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// Decodes input that arrives in these pieces.
fn decode(layout: FrameLayout, pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, Violation> {
    let (mut decoder, mut messages) = (Decoder::new(Framing::Frame(layout)), Vec::new());
    for piece in pieces {
        decoder.feed(&mut piece.to_vec(), LIMIT, TextValidation::Utf8, |received| {
            messages.push(text(&received));
            true
        })?;
    }
    assert_eq!(decoder.buffered(), 0, "{layout}: complete frames leave nothing");
    Ok(messages)
}

/// Every combination of parameters, with small offsets and adjustments.
fn layouts() -> Vec<FrameLayout> {
    let mut all = Vec::new();
    for length in ["u8", "u16be", "u16le", "u24be", "u24le", "u32be", "u32le"] {
        for counts in ["payload", "frame"] {
            for adjust in [-3, 0, 2] {
                let parameters = format!("length={length}&counts={counts}&adjust={adjust}");
                all.push(layout(&parameters));
                for offset in [0, 1, 5] {
                    all.push(layout(&format!("{parameters}&offset={offset}&header=keep")));
                }
            }
        }
    }
    all
}

#[test]
fn frames_are_decoded_alike_however_the_input_is_split() {
    for layout in layouts() {
        let (mut input, mut expected) = (Vec::new(), Vec::new());
        for size in [0, 1, 2, 7, 9, 12, 30] {
            let message: Vec<u8> = (0..size).map(|at| at as u8 ^ 0xa5).collect();
            let Some(frame) = layout.encode(&message) else {
                continue;
            };
            // The length is in the message then, which is all of the frame.
            let kept = layout.header == Header::Keep;
            expected.push(if kept { frame.to_vec() } else { message });
            input.extend_from_slice(&frame);
        }
        assert!(1 < expected.len(), "{layout}");
        assert_eq!(decode(layout, &[&input]).unwrap(), expected, "{layout}");
        for cut in 0..input.len() {
            let pieces = [&input[..cut], &input[cut..]];
            assert_eq!(decode(layout, &pieces).unwrap(), expected, "{layout}: cut at {cut}");
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(decode(layout, &bytes).unwrap(), expected, "{layout}: byte by byte");
        // An application that echoes a message sends the frame that it came in.
        let echoed: Vec<Bytes> = expected.iter().filter_map(|it| layout.encode(it)).collect();
        assert_eq!(echoed.concat(), input, "{layout}");
    }
}

#[test]
fn header_without_a_possible_frame_is_refused_before_its_payload_arrives() {
    const PROTOCOL: u16 = 1002;
    const TOO_LONG: u16 = 1009;
    for (query, header, code) in [
        ("length=u8&counts=frame", &b"\0"[..], PROTOCOL),
        ("length=u16le&counts=frame", b"\x01\0", PROTOCOL),
        ("length=u16be&offset=2&counts=frame", b"\0\0\0\x03", PROTOCOL),
        ("length=u16be&adjust=-2", b"\0\x01", PROTOCOL),
        ("length=u8&offset=3&adjust=-1", b"abc\0", PROTOCOL),
        ("length=u32be&adjust=-32767", b"\0\0\x7f\xfe", PROTOCOL),
        ("length=u16be", b"\x01\x2d", TOO_LONG),
        ("length=u16le", b"\xff\xff", TOO_LONG),
        ("length=u24le", b"\xff\xff\xff", TOO_LONG),
        ("length=u32be", b"\xff\xff\xff\xff", TOO_LONG),
        ("length=u32le&adjust=32767", b"\xff\xff\xff\xff", TOO_LONG),
        ("length=u32be&adjust=32767", b"\0\0\0\0", TOO_LONG),
        // The header counts, since it is part of the message.
        ("length=u16be&header=keep", b"\x01\x2b", TOO_LONG),
    ] {
        let layout = layout(query);
        let refused = decode(layout, &[header]).unwrap_err();
        assert_eq!(refused.code(), code, "{query}: {refused}");
        let bytes: Vec<&[u8]> = header.chunks(1).collect();
        assert_eq!(decode(layout, &bytes), Err(refused), "{query}");
    }
    let limit = [&b"\x01\x2c"[..], &[7; LIMIT]].concat();
    assert_eq!(decode(layout("length=u16be"), &[&limit]).unwrap(), [[7; LIMIT]]);
}

#[test]
fn connection_of_a_device_needs_no_more_memory_than_that_of_a_browser() {
    assert!(size_of::<LengthDecoder>() <= size_of::<websocket::Decoder>());
}

#[test]
fn declared_length_allocates_nothing() {
    let mut decoder = Decoder::new(Framing::Frame(layout("length=u32be")));
    let mut header = *b"\0\xff\xff\xff";
    decoder.feed(&mut header, usize::MAX, TextValidation::Utf8, |_| true).unwrap();
    assert!(decoder.held() < 64, "{} bytes for a length", decoder.held());
}

#[test]
fn length_of_a_message_with_a_header_is_written_by_the_gateway() {
    let layout = layout("length=u16le&offset=2");
    assert_eq!(layout.encode(b"ab\0\0cde").unwrap(), &b"ab\x03\0cde"[..]);
    assert_eq!(layout.encode(b"ab\xff\xff").unwrap(), &b"ab\0\0"[..]);
    assert_eq!(layout.encode(b"ab\0"), None);
    assert_eq!(layout.smallest_message(), 4);
}

#[test]
fn message_whose_length_does_not_fit_its_field_has_no_frame() {
    for (query, most) in [
        ("length=u8", 255),
        ("length=u8&counts=frame", 254),
        ("length=u8&adjust=2", 257),
        ("length=u16be", 65_535),
        ("length=u8&offset=2&header=keep", 258),
    ] {
        let layout = layout(query);
        assert!(layout.encode(&vec![0; most]).is_some(), "{query}");
        assert_eq!(layout.encode(&vec![0; most + 1]), None, "{query}");
        assert!(layout.can_frame(most) && !layout.can_frame(most + 1), "{query}");
    }
    // Two bytes always follow what the length counts.
    let layout = layout("length=u8&adjust=2");
    assert_eq!((layout.encode(b""), layout.encode(b"a")), (None, None));
    assert_eq!(layout.encode(b"abc").unwrap(), &b"\x01abc"[..]);
}

#[test]
fn defaults_depend_on_the_offset_and_are_written_out() {
    for (query, written) in [
        ("length=u16le", "length=u16le&offset=0&counts=payload&adjust=0&header=strip&kind=binary"),
        (
            "offset=2&length=u16le",
            "length=u16le&offset=2&counts=payload&adjust=0&header=keep&kind=binary",
        ),
        (
            "length=u8&counts=frame&adjust=+4&header=keep&kind=text",
            "length=u8&offset=0&counts=frame&adjust=4&header=keep&kind=text",
        ),
    ] {
        assert_eq!(layout(query).to_string(), written);
        assert_eq!(layout(written), layout(query));
    }
    for layout in layouts() {
        assert_eq!(layout.to_string().parse(), Ok(layout));
    }
    assert_eq!(layout("length=u32be&counts=frame"), FrameLayout::GATEWAY_WORKER);
}

#[test]
fn invalid_query_is_refused_with_the_name_of_its_parameter() {
    for (query, name) in [
        ("", "length"),
        ("offset=2", "length"),
        ("length", "length"),
        ("length=u12", "length"),
        ("length=U8", "length"),
        ("length=u8&length=u8", "length: is given twice"),
        ("length=u8&lenght=u8", "\"lenght\""),
        ("length=u8&=1", "\"\""),
        ("length=u8&offset=-1", "offset"),
        ("length=u8&offset=256", "offset"),
        ("length=u8&offset=two", "offset"),
        ("length=u8&offset=", "offset"),
        ("length=u8&counts=header", "counts"),
        ("length=u8&adjust=32768", "adjust"),
        ("length=u8&adjust=99999999999999999999", "adjust"),
        ("length=u8&adjust=-256", "adjust"),
        ("length=u8&counts=frame&offset=200&adjust=-60", "adjust"),
        ("length=u8&header=drop", "header"),
        ("length=u8&offset=1&header=strip", "header"),
        ("length=u8&kind=json", "kind"),
    ] {
        let error = query.parse::<FrameLayout>().expect_err(query).to_string();
        assert!(error.contains(name), "{query}: {error}");
    }
}

#[test]
fn kind_of_received_messages_is_declared() {
    assert_eq!(layout("length=u8").received(b"a"), Received::Binary(b"a"));
    assert_eq!(layout("length=u8&kind=text").received(b"a"), Received::Text(b"a"));
}
