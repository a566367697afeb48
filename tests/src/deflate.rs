//! The payloads of compressed WebSocket messages (RFC 7692), as a client has them.

use std::io::{Read as _, Write as _};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};

/// The end of every compressed message, which is not transmitted, and a final block.
const TAIL: &[u8] = &[0, 0, 0xff, 0xff, 3, 0];

/// Compresses a message.
///
/// # Panics
/// Never, since it is written to memory.
pub fn deflate(message: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(message).unwrap();
    encoder.flush().unwrap();
    encoder.get_ref().strip_suffix(&TAIL[..4]).unwrap().to_vec()
}

/// Decompresses a message.
///
/// # Panics
/// If it is invalid.
pub fn inflate(payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    DeflateDecoder::new(&[payload, TAIL].concat()[..]).read_to_end(&mut message).unwrap();
    message
}
