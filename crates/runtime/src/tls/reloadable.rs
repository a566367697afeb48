//! Values read from files that can be reloaded while in use.

use std::{fmt::Debug, path::PathBuf};

use crate::sync::Mutex;

/// Files, and the value made of them.
pub(super) trait Source: Debug + Send + Sync {
    /// The value.
    type Made: Clone + Debug + Send + Sync;

    /// The description of the files in the log.
    const WHAT: &'static str;

    /// Reads the files.
    fn read(&self) -> anyhow::Result<Self::Made>;

    /// The certificate among the files, as it is now.
    fn certificate(&self) -> CertificateFile;
}

/// The value of the last successful read of the files.
#[derive(Debug)]
pub(super) struct Reloadable<S: Source> {
    source: S,
    made: Mutex<S::Made>,
    certificate: Mutex<CertificateFile>,
}

impl<S: Source> Reloadable<S> {
    pub(super) fn read(source: S) -> anyhow::Result<Self> {
        let made = Mutex::new(source.read()?);
        let certificate = Mutex::new(source.certificate());
        Ok(Self { source, made, certificate })
    }

    pub(super) fn get(&self) -> S::Made {
        self.made.lock().clone()
    }
}

/// The file of a certificate that is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFile {
    /// The flag that names it.
    pub flag: &'static str,
    /// Its path.
    pub path: PathBuf,
    /// When the first of the certificates in it ceases to be valid, in seconds since the Unix epoch;
    /// `None` if that cannot be read.
    pub not_after: Option<u64>,
}

/// Files that can be reloaded.
pub trait Reload: Debug + Send + Sync {
    /// The description of the files in the log.
    fn what(&self) -> &'static str;

    /// The certificate among the files, in the version in use.
    fn certificate(&self) -> Option<CertificateFile> {
        None
    }

    /// Whether a new version applies to existing connections as well, for the log.
    fn applies_at_once(&self) -> bool {
        false
    }

    /// Reloads the files.
    ///
    /// # Errors
    /// When the files are invalid; the previous value then stays in use.
    fn reread(&self) -> anyhow::Result<()>;
}

impl<S: Source> Reload for Reloadable<S> {
    fn what(&self) -> &'static str {
        S::WHAT
    }

    fn certificate(&self) -> Option<CertificateFile> {
        Some(self.certificate.lock().clone())
    }

    fn reread(&self) -> anyhow::Result<()> {
        let made = self.source.read()?;
        *self.made.lock() = made;
        *self.certificate.lock() = self.source.certificate();
        Ok(())
    }
}
