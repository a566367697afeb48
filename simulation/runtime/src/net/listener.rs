//! Listeners.

use std::{future::poll_fn, io, net::SocketAddr, sync::Arc, task::Poll};

use super::TcpStream;
use crate::network::with;

/// A listener that is not registered with a runtime yet.
#[derive(Debug)]
pub struct Unpolled(Arc<Port>);

#[derive(Debug)]
struct Port {
    addr: SocketAddr,
    id: u64,
}

impl Drop for Port {
    fn drop(&mut self) {
        with(|network| network.close_listener(self.addr, self.id));
    }
}

impl Unpolled {
    pub(super) fn listen(addr: SocketAddr) -> io::Result<Self> {
        let (addr, id) = with(|network| network.listen(addr))?;
        Ok(Self(Arc::new(Port { addr, id })))
    }

    /// Another handle of the listener.
    ///
    /// # Errors
    /// Never; the real function may fail.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(Arc::clone(&self.0)))
    }

    /// The bound address.
    ///
    /// # Errors
    /// Never; the real function may fail.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.addr)
    }
}

/// A listener.
#[derive(Debug)]
pub struct TcpListener(pub(super) Unpolled);

impl TcpListener {
    /// Accepts the next connection. Cancel safe.
    ///
    /// # Errors
    /// Never; the real function may fail.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let addr = self.0.0.addr;
        poll_fn(|cx| match with(|network| network.accept(addr, cx.waker())) {
            Some(end) => {
                let stream = TcpStream::of(end);
                let remote = stream.socket.remote;
                Poll::Ready(Ok((stream, remote)))
            }
            None => Poll::Pending,
        })
        .await
    }

    /// The bound address.
    ///
    /// # Errors
    /// Never; the real function may fail.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
