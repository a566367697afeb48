//! Connections to ports of which some speak TLS: who connects need not know which.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Mutex, MutexGuard},
};

use client::Tls;
use service::{net::TcpStream, stream::Stream};

/// The ports that speak TLS, and what connects to them.
static PORTS: Mutex<BTreeMap<SocketAddr, Tls>> = Mutex::new(BTreeMap::new());

fn ports() -> MutexGuard<'static, BTreeMap<SocketAddr, Tls>> {
    PORTS.lock().unwrap()
}

/// From here on whoever connects to this port speaks TLS, unless it makes a point of not doing so.
pub fn speaks_tls(addr: SocketAddr, tls: &Tls) {
    ports().insert(addr, tls.clone());
}

/// Connects, as is done at that port.
///
/// # Errors
/// When nobody listens there, or the two do not accept each other.
pub async fn connect(addr: SocketAddr) -> io::Result<Stream> {
    over(TcpStream::connect(addr).await?, addr).await
}

/// Makes a connection what is spoken at the port it leads to.
///
/// # Errors
/// When the two do not accept each other.
pub async fn over(tcp: TcpStream, addr: SocketAddr) -> io::Result<Stream> {
    let tls = ports().get(&addr).cloned();
    match tls {
        Some(tls) => tls.connect(tcp).await,
        None => Ok(tcp.into()),
    }
}
