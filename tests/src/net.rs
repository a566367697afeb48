//! Connects to ports with TLS where they require it, so that callers need not know which do.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Mutex, MutexGuard},
};

use push_suite_cluster::Tls;
use runtime::{net::TcpStream, stream::Stream};

/// The ports that require TLS, and the configuration to connect with.
static PORTS: Mutex<BTreeMap<SocketAddr, Tls>> = Mutex::new(BTreeMap::new());

fn ports() -> MutexGuard<'static, BTreeMap<SocketAddr, Tls>> {
    PORTS.lock().unwrap()
}

/// Makes [`connect`] and [`wrap`] use TLS for this port from now on.
pub fn use_tls(addr: SocketAddr, tls: &Tls) {
    ports().insert(addr, tls.clone());
}

/// Connects, with TLS if the port requires it.
///
/// # Errors
/// If the connection is refused, or the TLS handshake fails.
pub async fn connect(addr: SocketAddr) -> io::Result<Stream> {
    wrap(TcpStream::connect(addr).await?, addr).await
}

/// Performs the TLS handshake on a connection if the port requires it.
///
/// # Errors
/// If the TLS handshake fails.
pub async fn wrap(tcp: TcpStream, addr: SocketAddr) -> io::Result<Stream> {
    let tls = ports().get(&addr).cloned();
    match tls {
        Some(tls) => tls.connect(tcp).await,
        None => Ok(tcp.into()),
    }
}
