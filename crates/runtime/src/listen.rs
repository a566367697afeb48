//! Listening: a bind that reports the flag at fault, and an accept that never fails.

use std::{io, net::SocketAddr, time::Duration};

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

#[cfg(test)]
mod tests {
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
}
