//! Bytes on their way to a socket.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::ledger::SMALL;

/// Up to this many bytes are copied behind one another, so that many small pieces become one; from
/// there on a piece is shared and written from where it is.
const COPY: usize = SMALL;

/// How many pieces one system call writes.
const PIECES: usize = 32;

/// Bytes on their way to a socket, in order. Holds no memory while it is empty.
#[derive(Debug, Default)]
pub(crate) struct OutQueue {
    pieces: VecDeque<Piece>,
    /// Small pieces, copied together; behind all of `pieces`.
    tail: BytesMut,
    length: usize,
    /// Bytes of `pieces` that are this queue's own copies.
    copied: usize,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// Whether others may hold the same bytes.
    shared: bool,
}

impl OutQueue {
    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Bytes of memory that this queue holds for itself.
    pub(crate) fn copied(&self) -> usize {
        self.copied + self.tail.capacity()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds bytes behind all others.
    pub(crate) fn push(&mut self, bytes: &Bytes) {
        self.length += bytes.len();
        if bytes.len() <= COPY {
            self.tail.put_slice(bytes);
            return;
        }
        if !self.tail.is_empty() {
            let bytes = self.tail.split().freeze();
            self.copied += bytes.len();
            self.pieces.push_back(Piece { bytes, shared: false });
        }
        self.pieces.push_back(Piece { bytes: bytes.clone(), shared: true });
    }

    /// Adds bytes before all others.
    pub(crate) fn push_front(&mut self, bytes: Bytes) {
        self.length += bytes.len();
        self.copied += bytes.len();
        self.pieces.push_front(Piece { bytes, shared: false });
    }

    /// Writes until everything is written or `write` would block; says whether everything is.
    ///
    /// # Errors
    /// When the socket is broken.
    pub(crate) fn write(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        while !self.is_empty() {
            let written = match self.pieces.is_empty() {
                true => write(&[IoSlice::new(&self.tail)]),
                false => {
                    let tail = Some(&self.tail[..]).filter(|tail| !tail.is_empty());
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
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        *self = Self::default();
        Ok(true)
    }

    /// Forgets what was written.
    fn advance(&mut self, mut written: usize) {
        self.length -= written;
        while let Some(piece) = self.pieces.front_mut() {
            let length = written.min(piece.bytes.len());
            if !piece.shared {
                self.copied -= length;
            }
            if written < piece.bytes.len() {
                piece.bytes.advance(written);
                return;
            }
            written -= length;
            self.pieces.pop_front();
        }
        self.tail.advance(written);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
        slices.iter().flat_map(|slice| slice.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn everything_is_written_once_and_in_order(
            sizes in prop::collection::vec(0..3 * COPY, 0..50),
            room in prop::collection::vec(1..5000usize, 1..20),
        ) {
            let (mut queue, mut expected, mut written) = (OutQueue::default(), Vec::new(), Vec::<u8>::new());
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
            prop_assert_eq!(queue.tail.capacity(), 0);
        }
    }
}
