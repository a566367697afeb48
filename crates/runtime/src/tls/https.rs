//! TLS to servers that are not of the cluster, such as those of webhooks.

use std::{
    env, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use bytes::BytesMut;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::handshake;
use crate::{files, net::TcpStream, stream::Session, stream::Stream};

/// The variable that names another file with the system's certificates, as in other programs.
const VARIABLE: &str = "SSL_CERT_FILE";

/// The places of the system's certificates, by distribution.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The connecting end of HTTPS: servers present a certificate of a trusted CA for their name.
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpsClient(Arc<ClientConfig>);

impl HttpsClient {
    /// Trusts the CAs of a PEM file; without one, those of the system.
    ///
    /// # Errors
    /// When the file cannot be read, or has no certificate; when the system has no such file.
    pub fn new(ca: Option<&Path>) -> anyhow::Result<Self> {
        let path = match ca {
            Some(path) => path.to_owned(),
            None => system().context("the system has no certificates of CAs")?,
        };
        let shown = path.display();
        let pem = files::read(&path, files::LIMIT).with_context(|| format!("{shown}"))?;
        let mut roots = RootCertStore::empty();
        // Some systems have certificates that are of no use; the others count.
        let (added, _) = roots
            .add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
        ensure!(0 < added, "{shown}: contains no certificate of a CA");
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions()?.with_root_certificates(roots);
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// Performs the handshake with the server of this name or address.
    ///
    /// # Errors
    /// When the name is invalid, or the server's certificate is not trusted for it.
    pub async fn connect(&self, tcp: TcpStream, host: &str) -> io::Result<Stream> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let client = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        handshake(Session::new(tcp, client, BytesMut::new())).await
    }
}

fn system() -> Option<PathBuf> {
    let named = env::var_os(VARIABLE).map(PathBuf::from);
    named.or_else(|| SYSTEM.iter().map(PathBuf::from).find(|path| path.is_file()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::{net, tls::ServerTls, tls::pki::Ca};

    /// A server with a certificate of `ca` for `localhost`.
    fn serve(ca: &Ca) -> std::net::SocketAddr {
        ca.sign("localhost", |_| ());
        let tls = ServerTls::read(ca.path("cert.pem"), ca.path("key.pem")).unwrap();
        let listener = net::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let listener = net::polled(listener).unwrap();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let mut stream = tls.accept(tcp).unwrap();
                let mut byte = [0];
                if stream.read_exact(&mut byte).await.is_ok() {
                    stream.write_all(&byte).await.unwrap();
                    stream.flush().await.unwrap();
                }
            }
        });
        addr
    }

    #[tokio::test]
    async fn server_of_a_trusted_ca_is_accepted_under_its_name_only() {
        let ca = Ca::new();
        let addr = serve(&ca);
        let client = HttpsClient::new(Some(&ca.path("ca.pem"))).unwrap();
        let tcp = || async { TcpStream::connect(addr).await.unwrap() };
        let mut stream = client.connect(tcp().await, "localhost").await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.flush().await.unwrap();
        let mut read = [0];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"x");
        client.connect(tcp().await, "example.com").await.unwrap_err();
        client.connect(tcp().await, "not a name").await.unwrap_err();
    }

    #[tokio::test]
    async fn server_of_another_ca_is_refused() {
        let (ours, theirs) = (Ca::new(), Ca::new());
        let addr = serve(&theirs);
        let client = HttpsClient::new(Some(&ours.path("ca.pem"))).unwrap();
        let tcp = TcpStream::connect(addr).await.unwrap();
        client.connect(tcp, "localhost").await.unwrap_err();
    }

    #[test]
    fn file_without_certificates_is_named() {
        let ca = Ca::new();
        std::fs::write(ca.path("empty.pem"), "nothing").unwrap();
        for name in ["empty.pem", "missing.pem"] {
            let error = HttpsClient::new(Some(&ca.path(name))).unwrap_err();
            assert!(format!("{error:#}").contains(name), "{error:#}");
        }
    }
}
