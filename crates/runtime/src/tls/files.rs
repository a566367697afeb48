//! Certificate and key files, and the TLS configurations made of them.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, anyhow, ensure};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};

use super::{
    Both, expiry,
    reloadable::{CertificateFile, Source},
    trust::Trust,
};
use crate::files;

/// The files of inner connections.
#[derive(Debug)]
pub(super) struct MutualTls {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    pub(super) ca: PathBuf,
}

/// The files for client connections.
#[derive(Debug)]
pub(super) struct ServerTls {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

impl Source for MutualTls {
    type Made = Both;

    const WHAT: &'static str = "certificates for inner connections";

    fn read(&self) -> anyhow::Result<Both> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let file = |flag, path| File { flag, path };
        let ca = file("--inner-tls-ca", &self.ca);
        let cert = file("--inner-tls-cert", &self.cert);
        let mut roots = RootCertStore::empty();
        for root in ca.certificates()? {
            roots.add(root).map_err(|error| anyhow!("{ca}: {error}"))?;
        }
        let trust = Trust::new(roots, &provider)?;
        let own = own(&cert, &file("--inner-tls-key", &self.key), &provider)?;
        trust
            .check(&own.cert)
            .map_err(|error| anyhow!("{cert}: peers would reject it: {error}"))?;
        let own = Arc::new(SingleCertAndKey::from(own));

        let client = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let client = client.with_protocol_versions(&[&TLS13])?;
        let client = client.with_root_certificates(trust.roots);
        let mut client = client.with_client_cert_resolver(Arc::clone(&own) as _);
        // Connections are few, and each must be verified against the files read last.
        client.resumption = Resumption::disabled();
        // The name is the same for every process.
        client.enable_sni = false;

        let server = ServerConfig::builder_with_provider(provider);
        let server = server.with_protocol_versions(&[&TLS13])?;
        let mut server = server.with_client_cert_verifier(trust.clients).with_cert_resolver(own);
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Both { client: Arc::new(client), server: Arc::new(server) })
    }

    fn certificate(&self) -> CertificateFile {
        dated("--inner-tls-cert", &self.cert)
    }
}

impl Source for ServerTls {
    type Made = Arc<ServerConfig>;

    const WHAT: &'static str = "certificate for clients";

    fn read(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let cert = File { flag: "--tls-cert", path: &self.cert };
        let own = own(&cert, &File { flag: "--tls-key", path: &self.key }, &provider)?;
        let server = ServerConfig::builder_with_provider(provider);
        let server = server.with_safe_default_protocol_versions()?.with_no_client_auth();
        let mut server = server.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        // Without this, a browser might negotiate another protocol, such as HTTP/2.
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Sessions resume with tickets, so the server stores no session state.
        server.ticketer = aws_lc_rs::Ticketer::new()?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(server))
    }

    fn certificate(&self) -> CertificateFile {
        dated("--tls-cert", &self.cert)
    }
}

/// The file of a certificate, with the time at which the first of its chain ends.
fn dated(flag: &'static str, path: &Path) -> CertificateFile {
    let certificates = File { flag, path }.certificates().unwrap_or_default();
    let not_after = certificates.iter().filter_map(|der| expiry::not_after(der)).min();
    CertificateFile { flag, path: path.to_owned(), not_after }
}

/// A certificate with its key.
fn own(cert: &File<'_>, key: &File<'_>, provider: &CryptoProvider) -> anyhow::Result<CertifiedKey> {
    let (chain, private) = (cert.certificates()?, key.private_key()?);
    CertifiedKey::from_der(chain, private, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => anyhow!("{key} is not the key of {cert}"),
        error => anyhow!("{key}, {cert}: {error}"),
    })
}

/// A file, with its flag.
struct File<'a> {
    flag: &'static str,
    path: &'a Path,
}

impl fmt::Display for File<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.flag, self.path.display())
    }
}

impl File<'_> {
    fn certificates(&self) -> anyhow::Result<Vec<CertificateDer<'static>>> {
        let pem = self.read()?;
        let all = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let all = all.map_err(|error| self.unreadable(error))?;
        ensure!(!all.is_empty(), "{self}: contains no certificate");
        Ok(all)
    }

    fn private_key(&self) -> anyhow::Result<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_slice(&self.read()?).map_err(|error| match error {
            pem::Error::NoItemsFound => anyhow!("{self}: contains no private key"),
            error => self.unreadable(error),
        })
    }

    fn read(&self) -> anyhow::Result<Vec<u8>> {
        files::read(self.path, files::LIMIT).with_context(|| self.to_string())
    }

    /// Omits the PEM error, which may contain a line of a key.
    fn unreadable(&self, _: pem::Error) -> anyhow::Error {
        anyhow!("{self}: not a valid PEM file")
    }
}
