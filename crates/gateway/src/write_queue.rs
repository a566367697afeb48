//! The write queue of a socket.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use bytes::{Buf, Bytes};
use framing::shared_frames::SMALL;

/// Buffers up to this size are copied into one contiguous tail. Larger ones are shared and written
/// without a copy.
const COPY: usize = SMALL;

/// Maximum number of buffers per `writev` call.
const PIECES: usize = 32;

/// Bytes to be written to a socket, in order. Allocates nothing while it is empty.
#[derive(Debug, Default)]
pub(crate) struct WriteQueue {
    pieces: VecDeque<Piece>,
    /// Small buffers, copied together; follows all of `pieces`.
    tail: Vec<u8>,
    /// Bytes of `tail` that are already written.
    written: usize,
    length: usize,
    /// Bytes of `pieces` that only this queue owns.
    copied: usize,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// Bytes of memory that only this queue owns until the whole piece is written; 0 if shared.
    own: usize,
}

impl WriteQueue {
    /// Number of bytes to be written.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Bytes of memory that only this queue owns.
    pub(crate) fn copied(&self) -> usize {
        self.copied + self.tail.capacity() + self.pieces.capacity() * size_of::<Piece>()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends bytes.
    pub(crate) fn push(&mut self, bytes: &Bytes) {
        self.length += bytes.len();
        if bytes.len() <= COPY {
            self.tail.extend_from_slice(bytes);
            return;
        }
        let tail = std::mem::take(&mut self.tail);
        let written = std::mem::take(&mut self.written);
        if written < tail.len() {
            let own = tail.capacity();
            self.copied += own;
            self.pieces.push_back(Piece { bytes: Bytes::from(tail).slice(written..), own });
        }
        self.pieces.push_back(Piece { bytes: bytes.clone(), own: 0 });
    }

    /// Prepends bytes.
    pub(crate) fn push_front(&mut self, bytes: Bytes) {
        let own = bytes.len();
        self.length += own;
        self.copied += own;
        self.pieces.push_front(Piece { bytes, own });
    }

    /// Appends everything of another queue.
    pub(crate) fn append(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        let tail = other.tail.get(other.written..).map(Bytes::copy_from_slice);
        for bytes in other.pieces.into_iter().map(|piece| piece.bytes).chain(tail) {
            self.push(&bytes);
        }
    }

    /// Writes until the queue is empty or `write` would block. Returns whether the queue is empty.
    ///
    /// # Errors
    /// Any other error of `write`, and `WriteZero` if it writes nothing.
    pub(crate) fn write(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        while !self.is_empty() {
            let tail = &self.tail[self.written..];
            let written = match self.pieces.is_empty() {
                true => write(&[IoSlice::new(tail)]),
                false => {
                    let tail = Some(tail).filter(|tail| !tail.is_empty());
                    let pieces = self.pieces.iter().map(|piece| &piece.bytes[..]).chain(tail);
                    let mut slices = [IoSlice::new(&[]); PIECES];
                    let mut count = 0;
                    for (slice, piece) in slices.iter_mut().zip(pieces) {
                        *slice = IoSlice::new(piece);
                        count += 1;
                    }
                    write(&slices[..count])
                }
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.shrink();
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        *self = Self::default();
        Ok(true)
    }

    /// Drops bytes that are written.
    fn advance(&mut self, mut written: usize) {
        self.length -= written;
        while let Some(piece) = self.pieces.front_mut() {
            if written < piece.bytes.len() {
                piece.bytes.advance(written);
                return;
            }
            written -= piece.bytes.len();
            self.copied -= piece.own;
            self.pieces.pop_front();
        }
        self.written += written;
    }

    /// Releases the memory of written bytes once they are the larger part.
    fn shrink(&mut self) {
        if self.tail.len() / 2 < self.written {
            self.tail.drain(..self.written);
            self.written = 0;
        }
        if self.tail.len() < self.tail.capacity() / 4 {
            self.tail.shrink_to(self.tail.len() * 2);
        }
        if self.pieces.len() < self.pieces.capacity() / 4 {
            self.pieces.shrink_to(self.pieces.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
        slices.iter().flat_map(|slice| slice.to_vec()).collect()
    }

    /// A socket that accepts `left` bytes and then would block.
    fn accepting(mut left: usize) -> impl FnMut(&[IoSlice<'_>]) -> io::Result<usize> {
        move |slices| match joined(slices).len().min(left) {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            taken => {
                left -= taken;
                Ok(taken)
            }
        }
    }

    #[test]
    fn memory_of_written_bytes_is_released_while_few_bytes_remain() {
        let mut queue = WriteQueue::default();
        for _ in 0..1000 {
            queue.push(&Bytes::from(vec![7; 1000]));
        }
        assert!(!queue.write(accepting(999_999)).unwrap());
        assert_eq!(queue.len(), 1);
        assert!(queue.copied() < 64, "{} bytes for one", queue.copied());
        let mut queue = WriteQueue::default();
        for _ in 0..1000 {
            queue.push(&Bytes::from(vec![7; COPY + 1]));
        }
        assert!(!queue.write(accepting(1000 * (COPY + 1) - 1)).unwrap());
        assert!(queue.copied() < 8 * size_of::<Piece>(), "{} bytes for one", queue.copied());
    }

    proptest! {
        #[test]
        fn bytes_are_written_once_and_in_order(
            sizes in prop::collection::vec(0..3 * COPY, 0..50),
            room in prop::collection::vec(1..5000usize, 1..20),
        ) {
            let (mut queue, mut expected, mut written) = (WriteQueue::default(), Vec::new(), Vec::<u8>::new());
            let mut room = room.into_iter().cycle();
            for (number, size) in sizes.into_iter().enumerate() {
                let piece = vec![number as u8; size];
                queue.push(&Bytes::from(piece.clone()));
                expected.extend(piece);
                let mut left = room.next().unwrap();
                queue.write(|slices| {
                    let all = joined(slices);
                    let taken = all.len().min(left);
                    if taken == 0 {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    written.extend(&all[..taken]);
                    left -= taken;
                    Ok(taken)
                }).unwrap();
                prop_assert_eq!(queue.len(), expected.len() - written.len());
            }
            queue.write(|slices| {
                let all = joined(slices);
                written.extend(&all);
                Ok(all.len())
            }).unwrap();
            prop_assert_eq!(written, expected);
            prop_assert_eq!(queue.copied(), 0);
        }
    }
}
