//! Admission at an inner port: peers with a certificate, and perhaps peers without TLS.

use std::{io, net::IpAddr};

use bytes::BytesMut;
use thiserror::Error;
use tokio::io::AsyncReadExt;

use super::MutualTls;
use crate::{net::TcpStream, stream::Stream};

/// The first byte of every TLS connection. A GatewayWorker frame with this byte would far exceed
/// its size limit, a native link begins with a magic number, and a line of JSON with a brace.
const HANDSHAKE: u8 = 0x16;

/// Accepts peers at an inner port. Without TLS, all of them.
#[derive(Clone, Debug, Default)]
pub struct InnerAcceptor(Option<(MutualTls, Plain)>);

/// Which peers may connect without TLS although TLS is enabled. PHP peers do not support it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Plain {
    /// None.
    #[default]
    Refuse,
    /// Peers on a loopback address.
    Loopback,
    /// All peers.
    Allow,
}

/// Why a peer was refused.
#[derive(Debug, Error)]
pub enum Refused {
    /// It connected without TLS, which is required.
    #[error("no TLS, and --inner-tls-plain does not allow that")]
    Plain,
    /// The handshake failed: one end rejected the other, or the bytes are not valid TLS.
    #[error("TLS: {0}")]
    Tls(io::Error),
    /// The connection failed.
    #[error("connection lost")]
    Lost(#[from] io::Error),
    /// The peer closed the connection without sending anything.
    #[error("closed by the peer")]
    Closed,
}

impl InnerAcceptor {
    /// Accepts peers over TLS, and without TLS those that `plain` allows.
    #[must_use]
    pub const fn new(inner: MutualTls, plain: Plain) -> Self {
        Self(Some((inner, plain)))
    }

    /// The TLS of inner connections, in both roles.
    #[must_use]
    pub fn inner(&self) -> Option<&MutualTls> {
        self.0.as_ref().map(|(inner, _)| inner)
    }

    /// Accepts a peer, after the handshake if it uses TLS. Bytes read from a peer without TLS are
    /// appended to `read`. Depends on the peer, so the caller must apply a timeout.
    ///
    /// # Errors
    /// The reason for refusing it.
    pub async fn enter(
        &self,
        mut tcp: TcpStream,
        from: IpAddr,
        read: &mut BytesMut,
    ) -> Result<Stream, Refused> {
        let Some((inner, plain)) = &self.0 else {
            return Ok(tcp.into());
        };
        if read.is_empty() && tcp.read_buf(read).await? == 0 {
            return Err(Refused::Closed);
        }
        if read.first() == Some(&HANDSHAKE) {
            return inner.accept(tcp, read.split()).await.map_err(|error| match error.kind() {
                // An error of TLS, not of the socket.
                io::ErrorKind::InvalidData => Refused::Tls(error),
                _ => Refused::Lost(error),
            });
        }
        match plain {
            Plain::Allow => Ok(tcp.into()),
            Plain::Loopback if from.to_canonical().is_loopback() => Ok(tcp.into()),
            Plain::Loopback | Plain::Refuse => Err(Refused::Plain),
        }
    }
}
