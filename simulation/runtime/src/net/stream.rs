//! Connections.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use super::tcp::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::network::{EndId, watch, with};

/// The local end of a connection; closed when dropped.
#[derive(Debug)]
pub(super) struct Socket {
    end: EndId,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

impl Drop for Socket {
    fn drop(&mut self) {
        with(|network| network.close(self.end));
    }
}

impl Socket {
    /// Passes received bytes to `put`, in up to two slices of at most `most` bytes in total.
    pub(super) fn try_take(&self, most: usize, mut put: impl FnMut(&[u8])) -> io::Result<usize> {
        with(|network| {
            let end = &mut network.ends[self.end];
            if end.inbox.is_empty() {
                return match end.error {
                    Some(error) => Err(error.into()),
                    None if end.ended => Ok(0),
                    None => Err(io::ErrorKind::WouldBlock.into()),
                };
            }
            let count = most.min(end.inbox.len());
            let (front, back) = end.inbox.as_slices();
            let first = count.min(front.len());
            put(&front[..first]);
            put(&back[..count - first]);
            end.inbox.drain(..count);
            network.taken(self.end, count);
            Ok(count)
        })
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        with(|network| {
            let end = &network.ends[self.end];
            if let Some(error) = end.error {
                return Err(error.into());
            }
            if end.shut {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let room = if end.connected { network.room(self.end) } else { 0 };
            match bytes.len().min(room) {
                0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
                0 => Ok(0),
                count => {
                    network.write(self.end, &bytes[..count]);
                    Ok(count)
                }
            }
        })
    }

    pub(super) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.try_write(&all)
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with(|network| {
            let end = &mut network.ends[self.end];
            if !end.inbox.is_empty() || end.ended || end.error.is_some() {
                return Poll::Ready(Ok(()));
            }
            watch(&mut end.readers, cx.waker());
            Poll::Pending
        })
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with(|network| {
            let room = network.room(self.end);
            let end = &mut network.ends[self.end];
            if end.connected && room != 0 || end.error.is_some() || end.shut {
                return Poll::Ready(Ok(()));
            }
            watch(&mut end.writers, cx.waker());
            Poll::Pending
        })
    }

    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.try_take(buf.remaining(), |bytes| buf.put_slice(bytes)) {
            Ok(_) => Poll::Ready(Ok(())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.poll_read_ready(cx),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.try_write(buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.poll_write_ready(cx).map_ok(|()| 0)
            }
            done => Poll::Ready(done),
        }
    }

    pub(super) fn shut(&self) {
        with(|network| network.shut(self.end));
    }
}

/// A connection.
#[derive(Debug)]
pub struct TcpStream {
    pub(super) socket: Arc<Socket>,
}

/// An address to connect to.
pub trait Address {
    /// The socket address; `None` if it is invalid.
    fn addr(&self) -> Option<SocketAddr>;
}

impl Address for SocketAddr {
    fn addr(&self) -> Option<SocketAddr> {
        Some(*self)
    }
}

impl Address for &str {
    fn addr(&self) -> Option<SocketAddr> {
        self.parse().ok()
    }
}

impl TcpStream {
    pub(super) fn of(end: EndId) -> Self {
        let (local, remote) = with(|network| {
            let end = &network.ends[end];
            (end.local, end.remote)
        });
        Self { socket: Arc::new(Socket { end, local, remote }) }
    }

    /// Connects.
    ///
    /// # Errors
    /// When no listener is bound to the address, or it is invalid.
    pub async fn connect(address: impl Address) -> io::Result<Self> {
        let addr = address.addr().ok_or(io::ErrorKind::InvalidInput)?;
        let stream = Self::of(with(|network| network.connect(addr))?);
        poll_fn(|cx| stream.socket.poll_write_ready(cx)).await?;
        match with(|network| network.ends[stream.socket.end].error) {
            Some(error) => Err(error.into()),
            None => Ok(stream),
        }
    }

    /// Does nothing: the simulated network sends without delay.
    ///
    /// # Errors
    /// Never; the real function may fail.
    pub fn set_nodelay(&self, _nodelay: bool) -> io::Result<()> {
        Ok(())
    }

    /// The local address.
    ///
    /// # Errors
    /// Never; the real function may fail.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.socket.local)
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// Never; the real function may fail.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.socket.remote)
    }

    /// As tokio's. There is no cached readiness, so this only calls `act`.
    ///
    /// # Errors
    /// The result of `act`.
    pub fn try_io<T>(
        &self,
        _interest: Interest,
        act: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        act()
    }

    /// As tokio's.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.try_write(bytes)
    }

    /// As tokio's.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.try_write_vectored(slices)
    }

    /// As tokio's.
    ///
    /// # Errors
    /// Never; the next read or write returns the error.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_read_ready(cx)
    }

    /// As tokio's.
    ///
    /// # Errors
    /// Never; the next read or write returns the error.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_write_ready(cx)
    }

    /// As tokio's.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn try_read_buf(&self, buf: &mut impl bytes::BufMut) -> io::Result<usize> {
        let room = buf.chunk_mut().len();
        self.socket.try_take(room, |bytes| buf.put_slice(bytes))
    }

    /// As tokio's.
    ///
    /// # Errors
    /// Never; the next write returns the error.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.socket.poll_write_ready(cx)).await
    }

    /// Splits the connection into borrowed halves.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        (ReadHalf(self), WriteHalf(self))
    }

    /// Splits the connection into owned halves. Dropping the write half shuts it down.
    #[must_use]
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        (OwnedReadHalf(Self { socket: Arc::clone(&self.socket) }), OwnedWriteHalf(self))
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.socket.poll_read(cx, buf)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.shut();
        Poll::Ready(Ok(()))
    }
}
