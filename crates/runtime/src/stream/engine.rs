//! The TLS of one connection: decrypts what the socket receives, encrypts what is written, and
//! waits for the socket on behalf of both.

use std::{
    future::Future,
    io::{self, BufRead, IoSlice, Write},
    pin::pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use rustls::Connection;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::net::TcpStream;

/// The maximum number of encrypted bytes not sent yet. Nothing more is accepted until all are sent.
pub(super) const UNSENT: usize = 64 * 1024;

/// Bytes read from the socket at a time: together with an incomplete record, less than the 64 KiB
/// that callers read at a time, so that nothing is buffered here when they stop reading.
const CHUNK: usize = 40 * 1024;

/// How many bytes a peer may send until the handshake is done; certificates are the bulk of them.
const HANDSHAKE: usize = 32 * 1024;

/// A record's header, and the maximum of its body: 16 KiB, and what a cipher may add.
const HEAD: usize = 5;
const BODY: usize = 16 * 1024 + 2048;

/// The assumed size of what a failed session has left to send: an alert in one small record.
const ALERT: usize = 64;

/// The TLS of one connection, with its socket.
pub(super) struct Engine {
    tcp: TcpStream,
    tls: Connection,
    /// Received bytes that are not decrypted: an incomplete record, or records not requested yet.
    incoming: BytesMut,
    /// Decrypted bytes that were not read yet.
    plain: usize,
    /// Handshake bytes received; 0 once it is complete.
    shaken: usize,
    /// Encrypted bytes that the socket has not taken.
    unsent: usize,
    /// Whether the peer has closed its end of the socket.
    ended: bool,
    /// Whether we have sent `close_notify`.
    closed: bool,
    /// The error after which nothing more can be decrypted.
    failed: Option<rustls::Error>,
}

/// The data that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// All that there was, or nothing.
    All,
    /// Not all of it: there was no room.
    Some,
    /// Nothing, and nothing more will come: the peer has sent `close_notify`.
    End,
}

impl Engine {
    pub(super) fn new(tcp: TcpStream, mut tls: Connection, read: BytesMut) -> Self {
        tls.set_buffer_limit(Some(UNSENT));
        Self {
            tcp,
            tls,
            incoming: read,
            plain: 0,
            shaken: 0,
            unsent: 0,
            ended: false,
            closed: false,
            failed: None,
        }
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub(super) fn unsent(&self) -> usize {
        self.unsent
    }

    pub(super) fn held(&self) -> usize {
        self.unsent + self.incoming.capacity() + self.plain + self.shaken
    }

    /// Waits until both ends agree; what is left to send of that may still be there.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.is_handshaking() {
            ready!(self.poll_send(cx))?;
            if !self.decrypt()? {
                if self.ended {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                ready!(self.poll_fill(cx))?;
            }
            if !self.tls.is_handshaking() {
                self.shrink();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Passes decrypted bytes to `take` until it has no more room or none are left. `take` returns
    /// how many it took, and how many in total.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&[u8]) -> (usize, usize),
    ) -> Poll<io::Result<()>> {
        let mut all = 0;
        loop {
            let given = self.hand_over(&mut |chunk| {
                let (taken, sum) = take(chunk);
                all = sum;
                taken
            })?;
            if given != Given::All {
                return Poll::Ready(Ok(()));
            }
            match self.decrypt() {
                Ok(true) => continue,
                // An error is returned again by the next call, which may be much later.
                _ if 0 < all => {
                    self.shrink();
                    return Poll::Ready(Ok(()));
                }
                Ok(false) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if self.tls.wants_write()
                && let Poll::Ready(Err(error)) = self.poll_send(cx)
            {
                return Poll::Ready(Err(error));
            }
            ready!(self.poll_fill(cx))?;
        }
    }

    /// Gives `take` what is decrypted, chunk by chunk, until it takes less than all of one.
    pub(super) fn hand_over(&mut self, take: &mut impl FnMut(&[u8]) -> usize) -> io::Result<Given> {
        loop {
            let mut reader = self.tls.reader();
            let chunk = match reader.fill_buf() {
                Ok([]) => return Ok(Given::End),
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Given::All),
                Err(error) => return Err(error),
            };
            let (length, taken) = (chunk.len(), take(chunk));
            reader.consume(taken);
            self.plain = self.plain.saturating_sub(taken);
            if taken < length {
                return Ok(Given::Some);
            }
        }
    }

    /// Decrypts the next record, if it has come whole.
    ///
    /// # Errors
    /// When it is none, or was changed on its way; again each time.
    pub(super) fn decrypt(&mut self) -> io::Result<bool> {
        if let Some(error) = &self.failed {
            return Err(io::Error::new(io::ErrorKind::InvalidData, error.clone()));
        }
        let Some(length) = first_record(&self.incoming) else {
            return Ok(false);
        };
        if self.tls.is_handshaking() {
            self.shaken += length;
            if HANDSHAKE < self.shaken {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "handshake too long"));
            }
        }
        let mut record = &self.incoming[..length];
        while !record.is_empty() {
            // rustls accepts nothing after the peer's `close_notify`.
            if self.tls.read_tls(&mut record)? == 0 {
                break;
            }
            match self.tls.process_new_packets() {
                Ok(state) => self.plain = state.plaintext_bytes_to_read(),
                Err(error) => {
                    self.failed = Some(error.clone());
                    // Sends the alert, if the peer still reads.
                    let _ = self.send();
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        }
        self.incoming.advance(length);
        if !self.tls.is_handshaking() {
            self.shaken = 0;
        }
        Ok(true)
    }

    /// Takes in what the socket has, and waits for it if need be.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nothing is allocated to find that there is nothing.
        if self.tcp.poll_read_ready(cx)?.is_pending() {
            self.shrink();
            return Poll::Pending;
        }
        self.incoming.reserve(CHUNK);
        match pin!(self.tcp.read_buf(&mut self.incoming)).poll(cx) {
            Poll::Ready(read) => Poll::Ready(self.filled(read)),
            Poll::Pending => {
                self.shrink();
                Poll::Pending
            }
        }
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has come; when the connection is broken.
    pub(super) fn try_fill(&mut self) -> io::Result<()> {
        self.incoming.reserve(CHUNK);
        let read = self.tcp.try_read_buf(&mut self.incoming);
        self.filled(read)
    }

    fn filled(&mut self, read: io::Result<usize>) -> io::Result<()> {
        match read {
            Ok(0) => {
                self.ended = true;
                // From now on, rustls reports whether the end was clean.
                self.tls.read_tls(&mut io::empty()).map(drop)
            }
            Ok(_) => Ok(()),
            Err(error) => {
                self.shrink();
                Err(error)
            }
        }
    }

    /// Gives back the memory that what came last has needed.
    fn shrink(&mut self) {
        let rest = self.incoming.len();
        if rest == 0 {
            self.incoming = BytesMut::new();
        } else if HEAD + BODY < self.incoming.capacity() {
            self.incoming = BytesMut::from(&self.incoming[..]);
        }
        if self.shaken == 0 {
            // It looks whether its buffer is larger than it must be before it reads.
            let _ = self.tls.read_tls(&mut Nothing);
        }
    }

    /// Reads from the socket itself, before the handshake begins.
    pub(super) fn poll_read_raw(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        pin!(&mut self.tcp).poll_read(cx, into)
    }

    /// Takes bytes that were read from the socket as if they had come just now.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        self.incoming.extend_from_slice(bytes);
    }

    /// Encrypts what is taken at once, and sends it as far as the socket takes it.
    pub(super) fn try_write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send()?;
        if 0 < self.unsent || self.tls.is_handshaking() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = self.tls.writer().write_vectored(pieces)?;
        self.send()?;
        Ok(taken)
    }

    /// Waits until something can be written.
    pub(super) fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_handshake(cx))?;
        self.poll_send(cx)
    }

    /// Sends what is encrypted, and waits until all of it has left.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.send()?;
            if self.unsent == 0 {
                return Poll::Ready(Ok(()));
            }
            ready!(self.tcp.poll_write_ready(cx))?;
        }
    }

    /// Sends what is encrypted, as far as the socket takes it.
    pub(super) fn send(&mut self) -> io::Result<()> {
        self.unsent = 0;
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Socket(&self.tcp)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = self.tls.process_new_packets();
                    self.unsent = left.map_or(ALERT, |state| state.tls_bytes_to_write());
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends `close_notify`, once.
    pub(super) fn send_close_notify(&mut self) {
        if !std::mem::replace(&mut self.closed, true) {
            self.tls.send_close_notify();
        }
    }
}

/// The length of the first record, if it is complete. Bytes that are not a record are returned in
/// full, for rustls to reject.
fn first_record(bytes: &[u8]) -> Option<usize> {
    const KINDS: std::ops::RangeInclusive<u8> = 0x14..=0x18;
    let (kind, major) = (*bytes.first()?, bytes.get(1));
    if !KINDS.contains(&kind) || major.is_some_and(|major| *major != 3) {
        return Some(bytes.len());
    }
    let head = bytes.first_chunk::<HEAD>()?;
    let body = usize::from(u16::from_be_bytes([head[3], head[4]]));
    match HEAD + body {
        _ if BODY < body => Some(bytes.len()),
        record => (record <= bytes.len()).then_some(record),
    }
}

/// The socket as TLS writes to it.
struct Socket<'a>(&'a TcpStream);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket with nothing to read.
struct Nothing;

impl io::Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_is_taken_once_complete_and_invalid_bytes_at_once() {
        let record = [0x16, 3, 1, 0, 2, 7, 7];
        for part in 0..record.len() {
            assert_eq!(first_record(&record[..part]), None, "{part} bytes");
        }
        assert_eq!(first_record(&record), Some(7));
        assert_eq!(first_record(&[&record[..], &record[..3]].concat()), Some(7));
        assert_eq!(first_record(b"GET / HTTP/1.1"), Some(14));
        assert_eq!(first_record(b"\x16HELLO"), Some(6));
        assert_eq!(first_record(&[0x17, 3, 3, 0xff, 0xff]), Some(5));
    }
}
