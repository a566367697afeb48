//! Buffered input behind the last complete message of a connection.

use bytes::BytesMut;

use super::Violation;

/// Received bytes that are not consumed yet.
///
/// Allocates nothing while it is empty, and never more than twice its content: the rest behind a
/// consumed message is copied, so that the memory of the message is freed.
#[derive(Debug, Default)]
pub(super) struct Partial(BytesMut);

impl Partial {
    /// Number of buffered bytes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Allocated bytes.
    pub(super) fn held(&self) -> usize {
        self.0.capacity()
    }

    /// Appends bytes that are not processed yet.
    pub(super) fn hold(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Passes the buffered bytes followed by `bytes` to `consume`, which returns the number of
    /// bytes consumed, and buffers the rest.
    ///
    /// # Errors
    /// Those of `consume`. Nothing is buffered then.
    pub(super) fn feed(
        &mut self,
        bytes: &mut [u8],
        consume: impl FnOnce(&mut [u8]) -> Result<usize, Violation>,
    ) -> Result<(), Violation> {
        if self.0.is_empty() {
            // The usual case: complete messages are decoded without a copy.
            let consumed = consume(bytes)?;
            if consumed < bytes.len() {
                self.0.extend_from_slice(&bytes[consumed..]);
            }
            return Ok(());
        }
        let mut all = std::mem::take(&mut self.0);
        all.extend_from_slice(bytes);
        match consume(&mut all)? {
            0 => self.0 = all,
            consumed if consumed < all.len() => self.0 = BytesMut::from(&all[consumed..]),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Consumes everything up to the last zero.
    fn feed(partial: &mut Partial, bytes: &[u8]) {
        let consume =
            |all: &mut [u8]| Ok(all.iter().rposition(|byte| *byte == 0).map_or(0, |at| at + 1));
        partial.feed(&mut bytes.to_vec(), consume).unwrap();
    }

    #[test]
    fn memory_of_large_message_is_freed_with_rest_buffered() {
        let mut partial = Partial::default();
        for _ in 0..16 {
            feed(&mut partial, &[1; 64 * 1024]);
        }
        assert!(1024 * 1024 <= partial.held() && partial.held() <= 2 * 1024 * 1024);
        feed(&mut partial, &[1, 0, 7]);
        assert_eq!(partial.len(), 1);
        assert!(partial.held() < 64, "{} bytes for one", partial.held());
        feed(&mut partial, &[0]);
        assert_eq!((partial.len(), partial.held()), (0, 0));
    }
}
