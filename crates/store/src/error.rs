//! Why a store does not answer.

use std::{fmt, sync::Arc};

use thiserror::Error;

/// A store that did not do what was asked. It names the store, without a password, and the cause.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the store {store} {kind}: {cause}")]
pub struct StoreError {
    /// The store, as it is named in the settings.
    pub store: Arc<str>,
    /// The kind of failure.
    pub kind: ErrorKind,
    /// The cause in words.
    pub cause: String,
}

impl StoreError {
    pub(crate) fn new(store: &Arc<str>, kind: ErrorKind, cause: impl fmt::Display) -> Self {
        Self { store: Arc::clone(store), kind, cause: cause.to_string() }
    }
}

/// The kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request is invalid. Nothing was done.
    Invalid,
    /// More requests wait than the store admits. Nothing was done.
    Busy,
    /// The store was closed, or its thread has ended. Nothing was done.
    Closed,
    /// The store cannot be reached or opened. Nothing was done.
    Unavailable,
    /// The request was sent, and no answer came in time, or none that can be read. An append may
    /// have happened: the same key tells.
    Unknown,
    /// No space is left for it. Nothing was done.
    Full,
    /// It cannot be written to. Nothing was done.
    ReadOnly,
    /// Its content is damaged. Nothing was done.
    Corrupt,
    /// It is of another release, or of another program. Nothing was done.
    Incompatible,
}

impl ErrorKind {
    /// Whether an append may have happened all the same.
    pub const fn is_unknown(self) -> bool {
        matches!(self, Self::Unknown)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "refuses the request",
            Self::Busy => "is overloaded",
            Self::Closed => "is closed",
            Self::Unavailable => "is unavailable",
            Self::Unknown => "gave no answer",
            Self::Full => "is full",
            Self::ReadOnly => "is read-only",
            Self::Corrupt => "is damaged",
            Self::Incompatible => "cannot be used by this release",
        })
    }
}
