//! Who is let in at an inner port: peers with a certificate, and perhaps those without TLS.

use std::{io, net::IpAddr};

use bytes::BytesMut;
use thiserror::Error;
use tokio::io::AsyncReadExt;

use super::{Inner, Plain};
use crate::{net::TcpStream, stream::Stream};

/// How every TLS connection begins. A frame of GatewayWorker that began so would be far over its
/// limit, a native link begins with a magic number, and a line of JSON with a brace.
const HANDSHAKE: u8 = 0x16;

/// Who is let in at an inner port. Without TLS, everybody.
#[derive(Clone, Debug, Default)]
pub struct Gate(Option<(Inner, Plain)>);

/// Who was not let in, and why.
#[derive(Debug, Error)]
pub enum Refused {
    /// It speaks no TLS, and must.
    #[error("speaks no TLS, and --inner-tls-plain does not let it in")]
    Plain,
    /// The two do not accept each other, or it is no TLS after all.
    #[error("TLS: {0}")]
    Tls(io::Error),
    /// The connection broke.
    #[error("connection lost")]
    Lost(#[from] io::Error),
    /// It said nothing and hung up.
    #[error("closed by the peer")]
    Closed,
}

impl Gate {
    /// Lets in who speaks TLS, and of the others whom `plain` says.
    #[must_use]
    pub const fn new(inner: Inner, plain: Plain) -> Self {
        Self(Some((inner, plain)))
    }

    /// What connections to other processes are made with, and what peers are shown.
    #[must_use]
    pub fn inner(&self) -> Option<&Inner> {
        self.0.as_ref().map(|(inner, _)| inner)
    }

    /// Lets a peer in, if it may. What was read of one that speaks no TLS is added to `read`. Takes as
    /// long as the peer does, so call it with a deadline.
    ///
    /// # Errors
    /// Says why it is not let in.
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
                // What the library says, and not the socket.
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
