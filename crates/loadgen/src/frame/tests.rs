//! Frames, whole and in pieces.

use super::*;
use crate::protocol::ServerMessage;

fn server(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::from([first]);
    match payload.len() {
        len @ ..126 => frame.push(u8::try_from(len).unwrap()),
        len @ ..65_536 => {
            frame.push(126);
            frame.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

fn read(bytes: &[u8], piece: usize) -> Result<Vec<String>, Broken> {
    read_by(Decoder::default(), bytes, piece)
}

fn read_by(mut decoder: Decoder, bytes: &[u8], piece: usize) -> Result<Vec<String>, Broken> {
    let mut seen = Vec::new();
    for bytes in bytes.chunks(piece) {
        decoder.feed(bytes, |received| {
            seen.push(match received {
                Received::Message { front, size } => {
                    format!("{}:{size}", String::from_utf8_lossy(front))
                }
                Received::Ping(payload) => format!("ping {}", payload.len()),
                Received::Close => "close".to_owned(),
            });
        })?;
    }
    Ok(seen)
}

#[test]
fn messages_are_decoded_from_pieces_of_any_size() {
    let stream = [
        server(0x81, b"short"),
        server(0x89, b"now"),
        server(0x82, &[b'y'; 300]),
        server(0x81, b""),
        server(0x81, &[b'z'; 70_000]),
        server(0x8a, b"unasked"),
        server(0x88, b"\x03\xe8"),
    ]
    .concat();
    let whole = read(&stream, stream.len()).unwrap();
    let (y, z) = ("y".repeat(FRONT), "z".repeat(FRONT));
    let expected = ["short:5", "ping 3", &format!("{y}:300"), ":0", &format!("{z}:70000"), "close"];
    assert_eq!(whole, expected);
    for piece in [1, 2, 3, 7, 4096] {
        assert_eq!(read(&stream, piece).unwrap(), whole, "in pieces of {piece}");
    }
}

#[test]
fn ping_between_fragments_leaves_the_message_intact() {
    let stream =
        [server(0x01, b"one "), server(0x89, b""), server(0x00, b"two "), server(0x80, b"three")];
    assert_eq!(read(&stream.concat(), 5).unwrap(), ["ping 0", "one two three:13"]);
}

#[test]
fn invalid_server_frames_are_rejected() {
    assert_eq!(read(&[0x81, 0x85, 0, 0, 0, 0], 6), Err(Broken), "masked");
    assert_eq!(read(&[0xc1, 0x01], 2), Err(Broken), "compressed without negotiation");
    assert_eq!(read(&[0x89, 126, 1, 0], 4), Err(Broken), "a long ping");
}

fn unmasked(frame: &[u8]) -> Vec<u8> {
    let key: [u8; 4] = frame[2..6].try_into().unwrap();
    frame[6..].iter().enumerate().map(|(n, byte)| byte ^ key[n % 4]).collect()
}

#[test]
fn template_is_a_masked_message_with_its_stamp() {
    let stamp = Stamp { run: 7, sender: 3, number: 9, due: 1 };
    let mut frame = Vec::new();
    Template::new(*b"+-", &[b'x'; 64], None, Protocol::Plain, false).append(&stamp, &mut frame);
    assert_eq!(frame[..2], [0x81, 0x80 | 64]);
    let payload = unmasked(&frame);
    assert_eq!(payload.len(), 64);
    assert_eq!(payload[0], b'-', "the number is odd");
    assert_eq!(Stamp::read(&payload), Some(stamp));
    assert_eq!(payload[63], b'x');
}

#[test]
fn template_ends_with_the_recipient_in_every_protocol() {
    let stamp = Stamp { run: 7, sender: 300, number: 8, due: 1 };
    for protocol in [Protocol::Plain, Protocol::Socketio] {
        let mut frame = b"before".to_vec();
        let token = Token::Uid { uids: 256 };
        Template::new(*b"tt", &[b'x'; 64], Some(token), protocol, false).append(&stamp, &mut frame);
        let payload = unmasked(&frame[6..]);
        let ServerMessage::Message(front, 64) = protocol.read(&payload, payload.len() as u64)
        else {
            panic!("{}", String::from_utf8_lossy(&payload));
        };
        assert_eq!(Stamp::read(front), Some(stamp));
        assert!(front.starts_with(b"t") && front.ends_with(b"xx@00002c"));
    }
}

#[test]
fn compressed_messages_are_decoded_if_that_was_negotiated() {
    // "Hello" in one frame and in two, as in RFC 7692; and a message that is not compressed.
    let payload = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let stream = [
        server(0xc1, payload),
        server(0x41, &payload[..3]),
        server(0x89, b"now"),
        server(0x80, &payload[3..]),
        server(0x81, b"plain"),
        server(0xc1, payload),
    ]
    .concat();
    for piece in [1, 2, 3, stream.len()] {
        let seen = read_by(Decoder::inflating(), &stream, piece).unwrap();
        assert_eq!(
            seen,
            ["Hello:5", "ping 3", "Hello:5", "plain:5", "Hello:5"],
            "in pieces of {piece}"
        );
    }
    assert_eq!(read(&stream, stream.len()), Err(Broken));
    assert_eq!(read_by(Decoder::inflating(), &server(0xc9, b""), 2), Err(Broken));
    assert_eq!(read_by(Decoder::inflating(), &server(0xc1, b"\x06"), 9), Err(Broken));
}
