//! Verification of certificates on inner connections, at either end.
//!
//! A certificate must be signed by a CA of `--inner-tls-ca`, directly or through the intermediates
//! sent with it; be valid now; permit the use made of it, if it has an extended key usage; and
//! contain the DNS name [`NAME`]. Addresses are not checked: processes move, and several may share
//! one certificate. The name is checked so that other certificates of the same CA do not make their
//! holders peers.

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

/// The DNS name in every certificate of an inner connection.
pub const NAME: &str = "push-suite";

pub(super) fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).expect("the constant is a valid DNS name")
}

/// The verifiers of both ends.
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

    /// Checks that peers would accept this certificate, in either role.
    pub(super) fn check(&self, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        let (own, others) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        let now = UnixTime::now();
        self.servers.verify_server_cert(own, others, &name(), &[], now)?;
        self.clients.verify_client_cert(own, others, now)?;
        Ok(())
    }
}

/// Checks the name of client certificates too, which rustls does only for servers.
#[derive(Debug)]
struct Named(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Peers have a single certificate, and do not select one by the accepted CAs.
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
                // The detailed error lists names sent by an unauthenticated peer.
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
