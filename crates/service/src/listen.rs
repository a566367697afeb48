//! Listening: a bind that reports the flag at fault, and an accept that never fails.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};

use crate::{
    clock,
    net::{self, TcpListener, TcpStream, Unpolled},
    outage::Outage,
};

/// An address that could not be bound, with its flag.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr} ({flag}): {}", reason(error))]
pub struct CannotListen {
    /// Where.
    pub addr: SocketAddr,
    /// The flag that it came from.
    pub flag: &'static str,
    // Not named `source`, which would make it one: the text above already ends with it.
    error: io::Error,
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this host has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Binds `addr`; `flag` is what the user would change (`--listen`).
///
/// # Errors
/// When the address is in use, or is not one of this host.
pub fn bind(addr: SocketAddr, flag: &'static str) -> Result<Acceptor, CannotListen> {
    let acceptor = net::listen(addr).and_then(Acceptor::new);
    acceptor.map_err(|error| CannotListen { addr, flag, error })
}

/// Binds `addr` outside of a runtime, for a thread that has its own; see [`Acceptor::new`]. Where
/// `beside` has the same port for IPv4, `[::]` is bound for IPv6 alone.
///
/// # Errors
/// When the address is in use, or is not one of this host.
pub fn bind_unpolled(
    addr: SocketAddr,
    flag: &'static str,
    beside: &[SocketAddr],
) -> Result<Unpolled, CannotListen> {
    let only_v6 = beside.iter().any(|other| other.is_ipv4() && other.port() == addr.port());
    let socket = if only_v6 { net::listen_v6(addr) } else { net::listen(addr) };
    socket.map_err(|error| CannotListen { addr, flag, error })
}

impl CannotListen {
    /// The error of binding `addr`, which `flag` sets.
    #[must_use]
    pub const fn new(addr: SocketAddr, flag: &'static str, error: io::Error) -> Self {
        Self { addr, flag, error }
    }
}

/// A listener whose [`accept`](Self::accept) never fails.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    addr: SocketAddr,
    outage: Outage,
}

impl Acceptor {
    /// Accepts on a listener that was set up elsewhere; call it within the runtime.
    ///
    /// # Errors
    /// When the runtime cannot take it.
    pub fn new(listener: Unpolled) -> io::Result<Self> {
        let listener = net::polled(listener)?;
        Ok(Self { addr: listener.local_addr()?, listener, outage: Outage::default() })
    }

    /// The bound address, with the port that the kernel chose for port 0.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The next connection. Errors (such as too few file descriptors) are logged at growing
    /// intervals, and accepting is retried after a pause. Cancel safe.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => {
                    if self.outage.lasts()
                        && let Some(lasted) = self.outage.ends(clock::now())
                    {
                        tracing::info!(addr = %self.addr, ?lasted, "accepting again");
                    }
                    return accepted;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if let Some(lasts) = self.outage.fails(clock::now()) {
                        tracing::error!(addr = %self.addr, %error, ?lasts, "cannot accept; retrying");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

const PAUSE: Duration = Duration::from_millis(100);

/// Errors of a single connection, such as a peer that closed it before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

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
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn local() -> Acceptor {
        bind(SocketAddr::from(([127, 0, 0, 1], 0)), "--listen").unwrap()
    }

    #[tokio::test]
    async fn port_in_use_is_reported_with_its_flag() {
        let taken = local();
        let error = bind(taken.addr(), "--listen").unwrap_err();
        let addr = taken.addr();
        let expected = format!("cannot listen on {addr} (--listen): address in use");
        assert_eq!(error.to_string(), expected);
        assert_eq!(format!("{:#}", anyhow::Error::from(error)), expected, "only once");
    }

    #[tokio::test]
    async fn bound_listener_accepts() {
        let mut acceptor = local();
        let stream = TcpStream::connect(acceptor.addr()).await.unwrap();
        let (_, peer) = acceptor.accept().await;
        assert_eq!(peer, stream.local_addr().unwrap());
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
