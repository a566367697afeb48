//! Outgoing connections.

use std::io;

use crate::{net::TcpStream, stream::Stream, tls::MutualTls};

/// Connects to `host:port`; with TLS, performs the handshake.
///
/// # Errors
/// When connecting or the handshake fails.
pub async fn connect(address: &str, tls: Option<&MutualTls>) -> io::Result<Stream> {
    let tcp = TcpStream::connect(address).await?;
    match tls {
        Some(tls) => tls.connect(tcp).await,
        None => Ok(Stream::Plain(tcp)),
    }
}
