//! TLS: what a process shows, whom it believes, and the files that say so, read again on SIGHUP.
//!
//! | I want to… | Look at |
//! |---|---|
//! | take the flags of the inner wire | [`InnerFiles`], [`Plain`] |
//! | connect to a peer, or let one in | [`Inner`], through [`Stream::connect`] and a [`Gate`] |
//! | serve strangers (`wss://`) | [`Public`] |
//! | know what is believed of a certificate | `trust` |
//!
//! A connection, once it is made, is a [`Stream`]. No other crate names rustls.

mod files;
mod flags;
mod gate;
mod live;
mod trust;

#[cfg(test)]
pub(crate) mod pki;
#[cfg(test)]
mod tests;

use std::{future::poll_fn, io, path::PathBuf, sync::Arc};

use bytes::BytesMut;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use self::live::Live;
use crate::{
    net::TcpStream,
    stream::{Session, Stream},
};

pub use self::{
    flags::{InnerFiles, Plain, PublicFiles},
    gate::{Gate, Refused},
    live::Reread,
    trust::NAME,
};

/// TLS between our own processes: both ends show a certificate of the cluster's CA. Cheap to clone;
/// all clones have what was read last.
#[derive(Clone, Debug)]
pub struct Inner(Arc<Live<files::Inner>>);

/// What is needed to be either end of an inner connection.
#[derive(Clone, Debug)]
struct Both {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Inner {
    /// Reads a certificate (and those that lead from it to the CA), its key, and the certificates of
    /// the CA, all of them PEM.
    ///
    /// # Errors
    /// Names the flag and the file of what cannot be read, or would be refused by peers.
    pub fn read(cert: PathBuf, key: PathBuf, ca: PathBuf) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Live::read(files::Inner { cert, key, ca })?)))
    }

    /// Makes a connection TLS, as the end that connects.
    ///
    /// # Errors
    /// When the two do not accept each other. That the other end has not accepted us may only be
    /// heard when something is read.
    pub async fn connect(&self, tcp: TcpStream) -> io::Result<Stream> {
        let client = ClientConnection::new(self.0.get().client, trust::name());
        let client = client.map_err(io::Error::other)?;
        shaken(Session::new(tcp, client, BytesMut::new())).await
    }

    /// Makes a connection TLS, as the end that was connected to; `read` has come on it already.
    ///
    /// # Errors
    /// When the two do not accept each other.
    pub async fn accept(&self, tcp: TcpStream, read: BytesMut) -> io::Result<Stream> {
        let server = ServerConnection::new(self.0.get().server).map_err(io::Error::other)?;
        shaken(Session::new(tcp, server, read)).await
    }

    /// The files that it was read from, to be read again.
    #[must_use]
    pub fn files(&self) -> Arc<dyn Reread> {
        Arc::clone(&self.0) as Arc<dyn Reread>
    }
}

async fn shaken(session: Session) -> io::Result<Stream> {
    poll_fn(|cx| session.poll_handshake(cx)).await?;
    Ok(Stream::Tls(Arc::new(session)))
}

/// TLS towards strangers, who show no certificate. Cheap to clone; all clones have what was read
/// last.
#[derive(Clone, Debug)]
pub struct Public(Arc<Live<files::Public>>);

impl Public {
    /// Reads a certificate (and those that lead from it to its CA) and its key, both PEM.
    ///
    /// # Errors
    /// Names the flag and the file of what cannot be read.
    pub fn read(cert: PathBuf, key: PathBuf) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Live::read(files::Public { cert, key })?)))
    }

    /// Makes a connection TLS. The handshake is done by whoever reads from it.
    ///
    /// # Errors
    /// When the library cannot begin.
    pub fn accept(&self, tcp: TcpStream) -> io::Result<Stream> {
        let server = ServerConnection::new(self.0.get()).map_err(io::Error::other)?;
        Ok(Stream::Tls(Arc::new(Session::new(tcp, server, BytesMut::new()))))
    }

    /// The files that it was read from, to be read again.
    #[must_use]
    pub fn files(&self) -> Arc<dyn Reread> {
        Arc::clone(&self.0) as Arc<dyn Reread>
    }
}
