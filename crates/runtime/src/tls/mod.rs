//! TLS: certificates, trust, and the files of both, reloaded on SIGHUP.
//!
//! | I want to… | Look at |
//! |---|---|
//! | allow peers without TLS | [`Plain`] |
//! | connect to a peer | [`MutualTls`], through [`dial`](crate::dial) |
//! | accept a peer | [`InnerAcceptor`] |
//! | serve clients (`wss://`) | [`ServerTls`] |
//! | connect to a server that is not of the cluster | [`HttpsClient`] |
//! | see how certificates are verified | `trust` |
//!
//! An established connection is a [`Stream`]. No other crate names rustls.

mod expiry;
mod files;
mod https;
mod inner_acceptor;
mod reloadable;
mod trust;

#[cfg(test)]
pub(crate) mod pki;
#[cfg(test)]
mod tests;

use std::{future::poll_fn, io, path::PathBuf, sync::Arc};

use bytes::BytesMut;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use self::reloadable::Reloadable;
use crate::{
    net::TcpStream,
    stream::{Session, Stream},
};

pub use self::{
    https::HttpsClient,
    inner_acceptor::{InnerAcceptor, Plain, Refused},
    reloadable::{CertificateFile, Reload},
    trust::NAME,
};

/// Mutual TLS between processes of a cluster: both ends present a certificate of the cluster's CA.
/// Cheap to clone; all clones use the files read last.
#[derive(Clone, Debug)]
pub struct MutualTls(Arc<Reloadable<files::MutualTls>>);

/// The configurations of both roles of an inner connection.
#[derive(Clone, Debug)]
struct Both {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl MutualTls {
    /// Reads a certificate (with intermediates), its key, and the certificates of the CA, all PEM.
    ///
    /// # Errors
    /// Names the flag and the file that cannot be read, or that peers would reject.
    pub fn read(cert: PathBuf, key: PathBuf, ca: PathBuf) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Reloadable::read(files::MutualTls { cert, key, ca })?)))
    }

    /// Performs the handshake as the connecting end.
    ///
    /// # Errors
    /// When either end rejects the other. A rejection by the other end may only be reported by the
    /// first read.
    pub async fn connect(&self, tcp: TcpStream) -> io::Result<Stream> {
        let client = ClientConnection::new(self.0.get().client, trust::name());
        let client = client.map_err(io::Error::other)?;
        handshake(Session::new(tcp, client, BytesMut::new())).await
    }

    /// Performs the handshake as the accepting end; `read` are the bytes received so far.
    ///
    /// # Errors
    /// When either end rejects the other.
    pub async fn accept(&self, tcp: TcpStream, read: BytesMut) -> io::Result<Stream> {
        let server = ServerConnection::new(self.0.get().server).map_err(io::Error::other)?;
        handshake(Session::new(tcp, server, read)).await
    }

    /// Its files, for reloading.
    #[must_use]
    pub fn files(&self) -> Arc<dyn Reload> {
        Arc::clone(&self.0) as Arc<dyn Reload>
    }
}

async fn handshake(session: Session) -> io::Result<Stream> {
    poll_fn(|cx| session.poll_handshake(cx)).await?;
    Ok(Stream::Tls(Arc::new(session)))
}

/// TLS for clients, which present no certificate. Cheap to clone; all clones use the files read
/// last.
#[derive(Clone, Debug)]
pub struct ServerTls(Arc<Reloadable<files::ServerTls>>);

impl ServerTls {
    /// Reads a certificate (with intermediates) and its key, both PEM.
    ///
    /// # Errors
    /// Names the flag and the file that cannot be read.
    pub fn read(cert: PathBuf, key: PathBuf) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Reloadable::read(files::ServerTls { cert, key })?)))
    }

    /// Starts TLS on a connection. Reading from it performs the handshake.
    ///
    /// # Errors
    /// When rustls cannot create the session.
    pub fn accept(&self, tcp: TcpStream) -> io::Result<Stream> {
        let server = ServerConnection::new(self.0.get()).map_err(io::Error::other)?;
        Ok(Stream::Tls(Arc::new(Session::new(tcp, server, BytesMut::new()))))
    }

    /// Its files, for reloading.
    #[must_use]
    pub fn files(&self) -> Arc<dyn Reload> {
        Arc::clone(&self.0) as Arc<dyn Reload>
    }
}
