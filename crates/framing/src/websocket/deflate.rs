//! Compression of message payloads for permessage-deflate (RFC 7692, 7.2). Every message is
//! compressed on its own, so one compressor and one decompressor serve any number of connections.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::Violation;

/// The end of a flushed payload, which is not transmitted (RFC 7692, 7.2.1).
const FLUSHED: [u8; 4] = [0, 0, 0xff, 0xff];

/// Follows a received payload: the bytes that were not transmitted, and an empty final block, which
/// ends the stream only if the payload did not end within a block.
const TAIL: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];

/// Memory in bytes that a buffer keeps between messages.
const KEPT: usize = 64 * 1024;

/// Maximum number of streams in one payload. A sender may end each of its blocks as a stream, but
/// beginning a stream costs more than its bytes say.
const MAX_STREAMS: usize = 1024;

/// A compressor. It allocates its state, some 400 KB, with the first message.
#[derive(Debug)]
pub struct Deflater {
    level: u8,
    stream: Option<Compress>,
    out: Vec<u8>,
}

impl Deflater {
    /// A compressor of this level, from 1 (fast) to 9 (small).
    pub const fn new(level: u8) -> Self {
        Self { level, stream: None, out: Vec::new() }
    }

    /// The compressed payload, or `None` if that is not smaller. References reach no farther back
    /// than the message is long, and no farther than 32 KiB.
    pub(crate) fn deflate(&mut self, payload: &[u8]) -> Option<&[u8]> {
        let level = Compression::new(u32::from(self.level));
        let stream = self.stream.get_or_insert_with(|| Compress::new(level, false));
        stream.reset();
        self.out.clear();
        self.out.reserve_exact(longest(payload.len()));
        let status = stream.compress_vec(payload, &mut self.out, FlushCompress::Sync);
        // Without space left there may be more to flush.
        let is_whole = status.is_ok()
            && stream.total_in() == payload.len() as u64
            && self.out.len() < self.out.capacity();
        if !is_whole {
            // A stream that has output left does not become a new one by its reset.
            self.stream = None;
            return None;
        }
        let deflated = self.out.strip_suffix(&FLUSHED)?;
        (deflated.len() < payload.len()).then_some(deflated)
    }

    /// Frees the memory of a large message.
    pub(crate) fn release(&mut self) {
        self.out.clear();
        self.out.shrink_to(KEPT);
    }
}

/// Maximum length of a compressed payload: 9 bits for each byte that is repeated nowhere, and the
/// heads and ends of blocks.
const fn longest(payload: usize) -> usize {
    payload + payload / 8 + payload / 1024 + 64
}

/// A decompressor. It allocates its state, some 50 KB, with the first message.
#[derive(Debug, Default)]
pub struct Inflater {
    stream: Option<Decompress>,
    out: Vec<u8>,
    counts: Inflated,
}

/// Bytes of compressed messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inflated {
    /// Their payloads as received.
    pub wire: u64,
    /// The messages.
    pub message: u64,
}

impl Inflater {
    /// Bytes of the messages that were decompressed since the last call.
    pub fn take_counts(&mut self) -> Inflated {
        std::mem::take(&mut self.counts)
    }

    /// Frees the memory of a large message.
    pub fn release(&mut self) {
        self.out.truncate(KEPT);
        self.out.shrink_to(KEPT);
    }

    /// The message of a payload. Decompression stops as soon as it exceeds `limit` bytes.
    ///
    /// # Errors
    /// [`Violation::TooLong`] beyond the limit, [`Violation::Deflate`] if the payload is invalid or
    /// truncated.
    pub(crate) fn inflate(&mut self, payload: &[u8], limit: usize) -> Result<&[u8], Violation> {
        let stream = self.stream.get_or_insert_with(|| Decompress::new(false));
        stream.reset(false);
        let (mut length, mut streams) = (0, 1);
        // Some senders leave out the one byte of an empty message.
        let sent = if payload.is_empty() { &[0] } else { payload };
        for part in [sent, &TAIL] {
            let mut rest = part;
            loop {
                if length == self.out.len() {
                    // One byte more than the limit shows that it is exceeded.
                    let most = limit.saturating_add(1);
                    let size = (2 * length).max(4 * payload.len()).max(1024).min(most);
                    self.out.resize(size.max(length), 0);
                }
                let (consumed, produced) = (stream.total_in(), stream.total_out());
                let room = &mut self.out[length..];
                let space = room.len();
                let status = stream
                    .decompress(rest, room, FlushDecompress::None)
                    .map_err(|_| Violation::Deflate)?;
                rest = &rest[(stream.total_in() - consumed) as usize..];
                let produced = (stream.total_out() - produced) as usize;
                length += produced;
                if limit < length {
                    return Err(Violation::TooLong { size: length as u64, limit });
                }
                match status {
                    // The empty block of the tail, or a final block (RFC 7692, 7.2.3.4) that is the
                    // end of the payload.
                    Status::StreamEnd if rest.is_empty() => {
                        self.counts.wire += payload.len() as u64;
                        self.counts.message += length as u64;
                        return Ok(&self.out[..length]);
                    }
                    Status::StreamEnd if streams < MAX_STREAMS => {
                        streams += 1;
                        stream.reset(false);
                    }
                    Status::StreamEnd => return Err(Violation::Deflate),
                    Status::Ok | Status::BufError if produced == space => {}
                    Status::Ok | Status::BufError if rest.is_empty() => break,
                    Status::Ok | Status::BufError => return Err(Violation::Deflate),
                }
            }
        }
        Err(Violation::Deflate)
    }
}

#[cfg(test)]
pub(crate) mod tests;
