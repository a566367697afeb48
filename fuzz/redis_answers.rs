//! Answers of a server that may not be Redis, and the texts of streams: addresses, names, positions.

use bytes::BytesMut;
use protocol::{Position, StreamName};
use store::{StoreAddress, redis::resp::Decoder};

/// The bytes of a connection, at once and in pieces, whose answers must be the same; and as texts.
pub fn redis_answer(bytes: &[u8]) {
    let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::from(bytes));
    let mut at_once = Vec::new();
    while let Ok(Some(value)) = decoder.decode(&mut buffer) {
        at_once.push(value);
    }
    let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
    let mut in_pieces = Vec::new();
    'pieces: for piece in bytes.chunks(3) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(value)) => in_pieces.push(value),
                Ok(None) => break,
                Err(_) => break 'pieces,
            }
        }
    }
    assert_eq!(at_once, in_pieces);
    let text = String::from_utf8_lossy(bytes);
    if let Ok(address) = text.parse::<StoreAddress>() {
        assert!(!address.to_string().contains('@') || text.starts_with("sqlite:"));
    }
    if let Ok(position) = text.parse::<Position>() {
        assert_eq!(position.to_string().parse(), Ok(position));
    }
    if let Ok(stream) = text.parse::<StreamName>() {
        assert_eq!(StreamName::from_key(&stream.to_key()), Ok(stream));
    }
}
