//! A listener for HTTP with few, short connections.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use runtime::{listen::Acceptor, net::TcpStream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};

/// A listener for HTTP with few, short connections (`axum::serve` takes it): at most `limit` at
/// a time, further ones wait in the kernel; each lives at most `lifetime`, so that a peer that
/// sends its request byte by byte cannot keep a place.
#[derive(Debug)]
pub struct Bounded {
    acceptor: Acceptor,
    places: Arc<Semaphore>,
    lifetime: Duration,
}

impl Bounded {
    /// Bounds what `acceptor` takes in.
    #[must_use]
    pub fn new(acceptor: Acceptor, limit: usize, lifetime: Duration) -> Self {
        Self { acceptor, places: Arc::new(Semaphore::new(limit)), lifetime }
    }
}

impl axum::serve::Listener for Bounded {
    type Io = Short;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Short, SocketAddr) {
        let places = Arc::clone(&self.places);
        let place = places.acquire_owned().await.expect("the semaphore is never closed");
        let (stream, peer) = self.acceptor.accept().await;
        let end = Box::pin(tokio::time::sleep(self.lifetime));
        (Short { stream, end, _place: place }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.acceptor.addr())
    }
}

/// A connection that fails once its time is over.
#[derive(Debug)]
pub struct Short {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Short {
    fn over(&mut self, cx: &mut Context<'_>) -> bool {
        self.end.as_mut().poll(cx).is_ready()
    }
}

impl AsyncRead for Short {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.over(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Short {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.over(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::serve::Listener as _;
    use runtime::listen::bind;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn local() -> Acceptor {
        bind(SocketAddr::from(([127, 0, 0, 1], 0)), "--listen").unwrap()
    }

    #[tokio::test]
    async fn bounded_listener_at_its_limit_accepts_once_a_connection_closes() {
        let acceptor = local();
        let addr = acceptor.addr();
        let mut bounded = Bounded::new(acceptor, 1, Duration::from_secs(60));
        let _first = TcpStream::connect(addr).await.unwrap();
        let _second = TcpStream::connect(addr).await.unwrap();
        let (held, _) = bounded.accept().await;
        let mut next = std::pin::pin!(bounded.accept());
        let waited = tokio::time::timeout(Duration::from_millis(50), &mut next).await;
        assert!(waited.is_err(), "one place, taken");
        drop(held);
        next.await;
    }

    #[tokio::test]
    async fn connection_beyond_its_lifetime_fails() {
        let acceptor = local();
        let addr = acceptor.addr();
        let mut bounded = Bounded::new(acceptor, 1, Duration::from_millis(20));
        let _silent = TcpStream::connect(addr).await.unwrap();
        let (mut held, _) = bounded.accept().await;
        let error = held.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
