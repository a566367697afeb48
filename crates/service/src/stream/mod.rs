//! A connection that is TLS or is not, with the same calls for both.
//!
//! Without TLS a [`Stream`] is the runtime's connection and nothing else: no buffer, no lock, no
//! further system call. With TLS it is a [`Session`], which keeps the rules of the runtime's own
//! connections:
//!
//! * What is accepted for writing may not have left yet ([`Stream::unsent`]): some 64 KiB at the most,
//!   which count as queued. [`poll_write_ready`](Stream::poll_write_ready) and
//!   [`poll_flush`](AsyncWrite::poll_flush) wait until they have, and whoever reads sends them on in
//!   passing.
//! * What has come is handed over before the socket is looked at again, so that nothing that is
//!   decrypted waits for bytes that never come.
//! * A connection, and both of its halves, belong to one task: there is one place for whom to wake.

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

use crate::{
    net::{self, TcpStream},
    tls,
};

pub use self::{
    halves::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, Reader, WriteHalf, Writer},
    session::Session,
};

/// A connection that is TLS or is not.
#[derive(Debug)]
pub enum Stream {
    /// It is not.
    Plain(TcpStream),
    /// It is.
    Tls(Arc<Session>),
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Self::Plain(tcp)
    }
}

impl Stream {
    /// Connects; with TLS, both ends have shown their certificates then.
    ///
    /// # Errors
    /// When nobody listens there, or the two do not accept each other.
    pub async fn connect(address: &str, tls: Option<&tls::Inner>) -> io::Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        match tls {
            Some(tls) => tls.connect(tcp).await,
            None => Ok(Self::Plain(tcp)),
        }
    }

    /// Whether it is TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Writes what is taken at once.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is; when the connection is broken.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write(bytes),
            Self::Tls(session) => session.try_write(&[IoSlice::new(bytes)]),
        }
    }

    /// Writes of many pieces what is taken at once.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write).
    pub fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write_vectored(pieces),
            Self::Tls(session) => session.try_write(pieces),
        }
    }

    /// Writes the last bytes; where it is not TLS, closes our end behind them if all are taken.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write).
    pub fn try_write_last(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => net::try_write_last(tcp, bytes),
            // It has a record behind them that says so.
            Self::Tls(session) => session.try_write(&[IoSlice::new(bytes)]),
        }
    }

    /// Waits until everything that was accepted has left, and more is taken.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => tcp.poll_write_ready(cx),
            Self::Tls(session) => session.poll_write_ready(cx),
        }
    }

    /// Bytes that were accepted for writing and have not left, as TLS makes them.
    #[must_use]
    pub fn unsent(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(session) => session.unsent(),
        }
    }

    /// Roughly how many bytes it holds because its peer does not read, or has sent something that is
    /// not whole. What every session holds is not counted.
    #[must_use]
    pub fn held(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(session) => session.held(),
        }
    }

    /// Closes our end behind what was written, and goes on reading.
    ///
    /// # Errors
    /// `WouldBlock` when something must leave before (to be called again once
    /// [`poll_write_ready`](Self::poll_write_ready) says so); when the connection is broken.
    pub fn close_write(&self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => net::close_write(tcp),
            Self::Tls(session) => session.close_write(),
        }
    }

    /// Says that nothing more follows, where that has a form of its own, without waiting.
    pub fn say_goodbye(&self) {
        if let Self::Tls(session) = self {
            session.say_goodbye();
        }
    }

    /// Has the kernel send at once, however little it is.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.with_tcp(|tcp| tcp.set_nodelay(nodelay))
    }

    /// As [`net::watch_over`].
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn watch_over(&self, every: Duration, within: Duration) -> io::Result<()> {
        self.with_tcp(|tcp| net::watch_over(tcp, every, within))
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

    fn with_tcp<T>(&self, ask: impl FnOnce(&TcpStream) -> T) -> T {
        match self {
            Self::Plain(tcp) => ask(tcp),
            Self::Tls(session) => session.with_tcp(ask),
        }
    }

    /// One half for reading and one for writing, for one task.
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

    /// The same, which together own the connection.
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
