//! A CA and the certificates signed by it.

use std::{fs, path::PathBuf, time::Duration};

use push_suite_cluster::Tls;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use runtime::tls::NAME;
use tempfile::TempDir;

/// A CA with a temporary folder for its files.
#[derive(Debug)]
pub struct Ca {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    /// Creates a CA; its certificate is in `ca.pem`.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("push-suite-ca.").unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "a CA of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    /// Path of a file in its folder.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Signs a certificate for processes of the cluster and writes `NAME.pem` and `NAME.key`,
    /// replacing existing files. Returns the certificate in DER.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn sign(&self, name: &str) -> Vec<u8> {
        self.sign_until(name, rcgen::date_time_ymd(4096, 1, 1).unix_timestamp())
    }

    /// The same, valid until this many seconds after the Unix epoch.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn sign_until(&self, name: &str, not_after: i64) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_after = epoch + Duration::from_secs(not_after.unsigned_abs());
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), cert.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        cert.der().to_vec()
    }

    /// Configuration with a new certificate, to connect to processes of the cluster.
    ///
    /// # Panics
    /// If a file cannot be written or read.
    pub fn member(&self, name: &str) -> Tls {
        self.sign(name);
        let [cert, key] = ["pem", "key"].map(|end| self.path(&format!("{name}.{end}")));
        Tls::read(cert, key, self.path("ca.pem")).unwrap()
    }
}

impl Default for Ca {
    fn default() -> Self {
        Self::new()
    }
}
