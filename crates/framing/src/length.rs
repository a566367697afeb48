//! Length-prefixed messages.

use super::{FrameLayout, Partial, Received, Violation};

/// Decoder of length-prefixed messages.
#[derive(Debug)]
pub struct LengthDecoder {
    layout: FrameLayout,
    partial: Partial,
}

impl LengthDecoder {
    pub(super) fn new(layout: FrameLayout) -> Self {
        Self { layout, partial: Partial::default() }
    }

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
        let layout = self.layout;
        self.partial.feed(bytes, |all| {
            let mut consumed = 0;
            while let Some((message, size)) = layout.decode(&all[consumed..], limit)? {
                consumed += size;
                if !on(layout.received(message)) {
                    break;
                }
            }
            Ok(consumed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(chunks: &[&[u8]]) -> Result<Vec<Vec<u8>>, Violation> {
        let (mut decoder, mut received_all) =
            (LengthDecoder::new(FrameLayout::GATEWAY_WORKER), Vec::new());
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
