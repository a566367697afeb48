//! For tests: a CA and the certificates it signs, as files.

use std::{fs, path::PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::{MutualTls, NAME};

/// A CA with a folder for its files.
pub(crate) struct Ca {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let (folder, key) = (TempDir::new().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("ca.pem"), cert.pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    /// The path of a file in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs a certificate, and writes it and its key to `cert.pem` and `key.pem`.
    pub(crate) fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path("cert.pem"), cert.pem()).unwrap();
        fs::write(self.path("key.pem"), key.serialize_pem()).unwrap();
    }

    /// Reads the certificate signed last.
    pub(crate) fn read(&self) -> anyhow::Result<MutualTls> {
        MutualTls::read(self.path("cert.pem"), self.path("key.pem"), self.path("ca.pem"))
    }

    /// The TLS of a process of the cluster.
    pub(crate) fn member(&self) -> MutualTls {
        self.sign(NAME, |_| ());
        self.read().unwrap()
    }
}
