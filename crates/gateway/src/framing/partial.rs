//! Input behind the last whole message of a connection: a value.

use bytes::BytesMut;

use super::Violation;

/// Bytes that have come and are not consumed yet.
///
/// Holds no memory while it is empty, and never more than twice what is in it: what is left behind
/// a consumed message is copied, so that the message's own memory is freed.
#[derive(Debug, Default)]
pub(super) struct Partial(BytesMut);

impl Partial {
    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many bytes of memory they occupy.
    pub(super) fn held(&self) -> usize {
        self.0.capacity()
    }

    /// Has `consume` look at everything that waits and at `bytes` behind it, and keeps what it does
    /// not consume; it returns how many bytes it has consumed.
    ///
    /// # Errors
    /// What `consume` returns; nothing is kept then.
    pub(super) fn feed(
        &mut self,
        bytes: &mut [u8],
        consume: impl FnOnce(&mut [u8]) -> Result<usize, Violation>,
    ) -> Result<(), Violation> {
        if self.0.is_empty() {
            // The usual case: whole messages are read where they are.
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
    fn rest_behind_a_large_message_does_not_keep_its_memory() {
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
