//! A connection with or without TLS, behind one API.
//!
//! Without TLS a [`Stream`] is the runtime's connection: no buffer, no lock, no additional system
//! call. With TLS it is a [`Session`], with these rules:
//!
//! * Bytes accepted for writing may not be sent yet ([`Stream::unsent`]): some 64 KiB at most, which
//!   count as queued. [`poll_write_ready`](Stream::poll_write_ready) and
//!   [`poll_flush`](AsyncWrite::poll_flush) wait until they are sent; reading sends them as well.
//! * Decrypted bytes are returned before the socket is polled again, so that they never wait for
//!   bytes that do not arrive.
//! * A connection, and both of its halves, belong to one task: there is a single waker.

mod engine;
mod halves;
mod session;

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::{self, TcpStream};

pub use self::{
    halves::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, Reader, WriteHalf, Writer},
    session::Session,
};

/// A connection with or without TLS.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Arc<Session>),
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Self::Plain(tcp)
    }
}

impl Stream {
    /// Whether it uses TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Reads bytes in front of TLS, which are not encrypted, before anything else is read or
    /// written. Without TLS, an ordinary read.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn poll_read_raw(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, into),
            Self::Tls(session) => session.poll_read_raw(cx, into),
        }
    }

    /// Begins TLS with these bytes, of those that [`poll_read_raw`](Self::poll_read_raw) has read.
    /// Returns `false`, without effect, if it does not use TLS.
    #[must_use]
    pub fn begin_tls(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(session) => {
                session.unread(bytes);
                true
            }
        }
    }

    /// Writes as much as possible without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when nothing can be written; when the connection is broken.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write(bytes),
            Self::Tls(session) => session.try_write(&[IoSlice::new(bytes)]),
        }
    }

    /// Writes as much of several buffers as possible without waiting.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write).
    pub fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write_vectored(pieces),
            Self::Tls(session) => session.try_write(pieces),
        }
    }

    /// Writes the last bytes; without TLS, also closes our end if all of them are written.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write).
    pub fn try_write_last(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => net::try_write_last(tcp, bytes),
            // TLS ends with a `close_notify` record after them.
            Self::Tls(session) => session.try_write(&[IoSlice::new(bytes)]),
        }
    }

    /// Waits until everything accepted has been sent and more can be written.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => tcp.poll_write_ready(cx),
            Self::Tls(session) => session.poll_write_ready(cx),
        }
    }

    /// Encrypted bytes accepted for writing and not sent yet; 0 without TLS.
    #[must_use]
    pub fn unsent(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(session) => session.unsent(),
        }
    }

    /// Approximate number of bytes buffered because the peer does not read, or has sent an incomplete
    /// record. The fixed size of a session is not included.
    #[must_use]
    pub fn held(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(session) => session.held(),
        }
    }

    /// Closes our end after everything written; reading remains possible.
    ///
    /// # Errors
    /// `WouldBlock` when bytes must be sent first (call again once
    /// [`poll_write_ready`](Self::poll_write_ready) is ready); when the connection is broken.
    pub fn close_write(&self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => net::close_write(tcp),
            Self::Tls(session) => session.close_write(),
        }
    }

    /// Sends the TLS `close_notify` alert without waiting; no effect without TLS.
    pub fn send_close_notify(&self) {
        if let Self::Tls(session) = self {
            session.send_close_notify();
        }
    }

    /// Sets `TCP_NODELAY`.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.with_tcp(|tcp| tcp.set_nodelay(nodelay))
    }

    /// As [`net::enable_keepalive`].
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn enable_keepalive(&self, every: Duration, within: Duration) -> io::Result<()> {
        self.with_tcp(|tcp| net::enable_keepalive(tcp, every, within))
    }

    /// As [`net::limit_unsent`].
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn limit_unsent(&self, bytes: u32) -> io::Result<()> {
        self.with_tcp(|tcp| net::limit_unsent(tcp, bytes))
    }

    /// Our own address.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.with_tcp(TcpStream::local_addr)
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.with_tcp(TcpStream::peer_addr)
    }

    fn with_tcp<T>(&self, f: impl FnOnce(&TcpStream) -> T) -> T {
        match self {
            Self::Plain(tcp) => f(tcp),
            Self::Tls(session) => session.with_tcp(f),
        }
    }

    /// Splits it into borrowed halves for reading and writing, for use within one task.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        match self {
            Self::Plain(tcp) => {
                let (reader, writer) = tcp.split();
                (Reader::Plain(reader), Writer::Plain(writer))
            }
            Self::Tls(session) => {
                (Reader::Tls(Arc::clone(session)), Writer::Tls(Arc::clone(session)))
            }
        }
    }

    /// Splits it into owned halves, for use within one task.
    #[must_use]
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        match self {
            Self::Plain(tcp) => {
                let (reader, writer) = tcp.into_split();
                (Reader::Plain(reader), Writer::Plain(writer))
            }
            Self::Tls(session) => (Reader::Tls(Arc::clone(&session)), Writer::Tls(session)),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, into),
            Self::Tls(session) => session.poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(session) => session.poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(session) => session.poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(session) => session.poll_close_write(cx),
        }
    }
}

#[cfg(test)]
mod tests;
