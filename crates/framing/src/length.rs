//! Length-prefixed messages.

use super::{Partial, Received, Violation};

/// Size of the length prefix in bytes, which the length includes.
const PREFIX: usize = 4;

/// Decoder of length-prefixed messages.
#[derive(Debug, Default)]
pub struct LengthDecoder {
    partial: Partial,
}

impl LengthDecoder {
    /// Bytes of memory held for an incomplete message.
    pub(super) fn held(&self) -> usize {
        self.partial.held()
    }

    pub(super) fn partial(&mut self) -> &mut Partial {
        &mut self.partial
    }

    /// Buffered bytes.
    pub(super) fn len(&self) -> usize {
        self.partial.len()
    }

    pub(super) fn feed(
        &mut self,
        bytes: &mut [u8],
        limit: usize,
        mut on: impl FnMut(Received<'_>) -> bool,
    ) -> Result<(), Violation> {
        self.partial.feed(bytes, |all| frames(all, limit, &mut on))
    }
}

/// Decodes all complete messages. Returns the number of bytes consumed.
fn frames(
    bytes: &[u8],
    limit: usize,
    on: &mut impl FnMut(Received<'_>) -> bool,
) -> Result<usize, Violation> {
    let mut taken = 0;
    while let Some(length) = bytes[taken..].first_chunk::<PREFIX>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some(size) = length.checked_sub(PREFIX) else {
            return Err(Violation::Protocol("a length that does not count itself"));
        };
        if limit < size {
            return Err(Violation::TooLong { size: size as u64, limit });
        }
        let Some(message) = bytes[taken..].get(PREFIX..length) else {
            break;
        };
        taken += length;
        if !on(Received::Binary(message)) {
            break;
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(chunks: &[&[u8]]) -> Result<Vec<Vec<u8>>, Violation> {
        let (mut decoder, mut received_all) = (LengthDecoder::default(), Vec::new());
        for chunk in chunks {
            decoder.feed(&mut chunk.to_vec(), 8, |received| {
                let Received::Binary(bytes) = received else { panic!("{received:?}") };
                received_all.push(bytes.to_vec());
                true
            })?;
        }
        Ok(received_all)
    }

    #[test]
    fn messages_are_reassembled_from_any_chunks() {
        let bytes = b"\0\0\0\x06hi\0\0\0\x04\0\0\0\x05!";
        let expected = [b"hi".to_vec(), b"".to_vec(), b"!".to_vec()];
        assert_eq!(feed(&[bytes]).unwrap(), expected);
        for at in 0..bytes.len() {
            assert_eq!(feed(&[&bytes[..at], &bytes[at..]]).unwrap(), expected, "cut at {at}");
        }
    }

    #[test]
    fn invalid_length_is_refused_before_payload_arrives() {
        for length in 0..4 {
            assert!(matches!(feed(&[&[0, 0, 0, length]]), Err(Violation::Protocol(_))));
        }
        assert!(feed(&[&[0, 0, 0, 12]]).is_ok());
        let long = Err(Violation::TooLong { size: 9, limit: 8 });
        assert_eq!(feed(&[&[0, 0, 0, 13]]), long);
    }
}
