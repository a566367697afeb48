//! The two halves of a connection, for concurrent reads and writes within one task.

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

/// The reading half, `P` without TLS.
#[derive(Debug)]
pub enum Reader<P> {
    /// Without TLS.
    Plain(P),
    /// With TLS.
    Tls(Arc<Session>),
}

/// The writing half, `P` without TLS.
#[derive(Debug)]
pub enum Writer<P> {
    /// Without TLS.
    Plain(P),
    /// With TLS.
    Tls(Arc<Session>),
}

/// The reading half of a borrowed connection.
pub type ReadHalf<'a> = Reader<tcp::ReadHalf<'a>>;

/// The writing half of a borrowed connection.
pub type WriteHalf<'a> = Writer<tcp::WriteHalf<'a>>;

/// The reading half that owns the connection together with an [`OwnedWriteHalf`].
pub type OwnedReadHalf = Reader<tcp::OwnedReadHalf>;

/// The writing half that owns the connection together with an [`OwnedReadHalf`]. Without TLS,
/// dropping it closes our end.
pub type OwnedWriteHalf = Writer<tcp::OwnedWriteHalf>;

impl<P: AsRef<TcpStream>> Reader<P> {
    /// Reads bytes already received, and returns their number.
    ///
    /// # Errors
    /// `WouldBlock` when none were received; when the connection is broken.
    pub fn try_read_buf(&self, into: &mut impl BufMut) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.as_ref().try_read_buf(into),
            Self::Tls(session) => session.try_read_buf(into),
        }
    }
}

impl<P: AsRef<TcpStream>> Writer<P> {
    /// Writes as much as possible without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when nothing can be written; when the connection is broken.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.as_ref().try_write(bytes),
            Self::Tls(session) => session.try_write(&[IoSlice::new(bytes)]),
        }
    }

    /// Writes as much of several buffers as possible without waiting.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write).
    pub fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.as_ref().try_write_vectored(pieces),
            Self::Tls(session) => session.try_write(pieces),
        }
    }

    /// Waits until everything accepted has been sent and more can be written. Safe to cancel.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(half) => half.as_ref().writable().await,
            Self::Tls(session) => poll_fn(|cx| session.poll_write_ready(cx)).await,
        }
    }

    /// Encrypted bytes accepted for writing and not sent yet; 0 without TLS.
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
