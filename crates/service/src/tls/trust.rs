//! What is believed of a certificate on the inner wire, at either end.
//!
//! It must be signed by a CA of `--inner-tls-ca`, directly or through certificates that come with it;
//! be valid now; be for the use that is made of it, if it names uses; and be made out to the DNS name
//! [`NAME`]. Addresses are not looked at: processes move, and one certificate may serve several. The
//! name is looked at so that a CA which signs other things as well makes no peers by that.

use std::sync::Arc;

use anyhow::Context;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier, verify_server_name},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

/// The DNS name that every certificate of the inner wire is made out to.
pub const NAME: &str = "push-suite";

pub(super) fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).expect("a plain word is a name")
}

/// What both ends go by.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) clients: Arc<dyn ClientCertVerifier>,
    servers: Arc<WebPkiServerVerifier>,
}

impl Trust {
    pub(super) fn new(
        roots: RootCertStore,
        provider: &Arc<CryptoProvider>,
    ) -> anyhow::Result<Self> {
        let roots = Arc::new(roots);
        let (ours, provider) = (|| Arc::clone(&roots), || Arc::clone(provider));
        let servers = WebPkiServerVerifier::builder_with_provider(ours(), provider()).build();
        let clients = WebPkiClientVerifier::builder_with_provider(ours(), provider()).build();
        let (servers, clients) = (servers.context("no CA")?, clients.context("no CA")?);
        Ok(Self { clients: Arc::new(Named(clients)), servers, roots })
    }

    /// Whether peers would believe this certificate, in either role.
    pub(super) fn check(&self, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        let (own, others) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        let now = UnixTime::now();
        self.servers.verify_server_cert(own, others, &name(), &[], now)?;
        self.clients.verify_client_cert(own, others, now)?;
        Ok(())
    }
}

/// Looks at the names of clients, too: those of servers are looked at anyway.
#[derive(Debug)]
struct Named(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Whoever has a certificate for this has one, and need not be told who would sign another.
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(own, others, now)?;
        verify_server_name(&ParsedCertificate::try_from(own)?, &name()).map_err(|error| {
            match error {
                // The long form lists what a stranger has sent.
                Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. }) => {
                    CertificateError::NotValidForName.into()
                }
                error => error,
            }
        })?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
