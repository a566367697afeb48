//! The two halves of a connection, for those who read and write at once within one task.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Session;
use crate::net::{TcpStream, tcp};

/// What reads, `P` where it is not TLS.
#[derive(Debug)]
pub enum Reader<P> {
    /// It is not.
    Plain(P),
    /// It is.
    Tls(Arc<Session>),
}

/// What writes, `P` where it is not TLS.
#[derive(Debug)]
pub enum Writer<P> {
    /// It is not.
    Plain(P),
    /// It is.
    Tls(Arc<Session>),
}

/// Reads from a connection that is lent.
pub type ReadHalf<'a> = Reader<tcp::ReadHalf<'a>>;

/// Writes to a connection that is lent.
pub type WriteHalf<'a> = Writer<tcp::WriteHalf<'a>>;

/// Reads, and owns the connection together with an [`OwnedWriteHalf`].
pub type OwnedReadHalf = Reader<tcp::OwnedReadHalf>;

/// Writes, and owns the connection together with an [`OwnedReadHalf`]. Where it is not TLS, our end
/// is closed when this is dropped.
pub type OwnedWriteHalf = Writer<tcp::OwnedWriteHalf>;

impl<P: AsRef<TcpStream>> Reader<P> {
    /// Reads what has come already, and says how much.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has; when the connection is broken.
    pub fn try_read_buf(&self, into: &mut impl BufMut) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.as_ref().try_read_buf(into),
            Self::Tls(session) => session.try_read_buf(into),
        }
    }
}

impl<P: AsRef<TcpStream>> Writer<P> {
    /// Writes what is taken at once.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is; when the connection is broken.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.as_ref().try_write(bytes),
            Self::Tls(session) => session.try_write(&[IoSlice::new(bytes)]),
        }
    }

    /// Writes of many pieces what is taken at once.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write).
    pub fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.as_ref().try_write_vectored(pieces),
            Self::Tls(session) => session.try_write(pieces),
        }
    }

    /// Waits until everything that was accepted has left, and more is taken. Safe to cancel.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(half) => half.as_ref().writable().await,
            Self::Tls(session) => poll_fn(|cx| session.poll_write_ready(cx)).await,
        }
    }

    /// Bytes that were accepted for writing and have not left, as TLS makes them.
    pub fn unsent(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(session) => session.unsent(),
        }
    }
}

impl<P: AsyncRead + Unpin> AsyncRead for Reader<P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(half) => Pin::new(half).poll_read(cx, into),
            Self::Tls(session) => session.poll_read(cx, into),
        }
    }
}

impl<P: AsyncWrite + Unpin> AsyncWrite for Writer<P> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(half) => Pin::new(half).poll_write(cx, bytes),
            Self::Tls(session) => session.poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(half) => Pin::new(half).poll_flush(cx),
            Self::Tls(session) => session.poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(half) => Pin::new(half).poll_shutdown(cx),
            Self::Tls(session) => session.poll_close_write(cx),
        }
    }
}
