//! The reports of registers.

use protocol::discovery::AboutRegister;

/// A register, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegisterReport {
    /// Its address in the configuration.
    pub address: String,
    /// Its answer about itself; `None` if it is a register of PHP or of an older version. Or why it has
    /// not answered.
    pub about: Result<Option<AboutRegister>, String>,
}
