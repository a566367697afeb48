//! Certificates that a process uses.

use serde::{Deserialize, Serialize};

/// A certificate of a listener, or of the links between processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// The flag that names its file.
    pub flag: String,
    /// The file.
    pub file: String,
    /// When the first of the certificates in use of the file ceases to be valid, in seconds since
    /// the Unix epoch; `None` if that cannot be read.
    pub not_after: Option<u64>,
}
