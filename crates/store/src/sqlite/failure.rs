//! Failures of `SQLite`, as errors that name the file.

use std::{io, sync::Arc};

use rusqlite::ErrorCode;

use crate::{ErrorKind, StoreError, plan::Hole};

/// A failure below the store that names itself.
#[derive(Debug)]
pub(super) enum Failure {
    Sqlite(rusqlite::Error),
    /// The file could not be created or looked at.
    File(io::Error),
    /// A row that no release writes.
    Damaged(String),
    /// A file of another program or release.
    Incompatible(String),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Hole> for Failure {
    fn from(Hole { expected, found }: Hole) -> Self {
        let found = found.map_or("nothing".into(), |offset| format!("message {offset}"));
        Self::Damaged(format!("{found} where message {expected} of a stream is expected"))
    }
}

impl Failure {
    pub(super) fn error(&self, store: &Arc<str>) -> StoreError {
        match self {
            Self::Sqlite(error) => of_sqlite(error, store),
            Self::File(error) => {
                let kind = match error.kind() {
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                        ErrorKind::ReadOnly
                    }
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
                    _ => ErrorKind::Unavailable,
                };
                let advice = match error.kind() {
                    io::ErrorKind::NotFound => "; create its folder",
                    _ => advice(kind),
                };
                StoreError::new(store, kind, format_args!("{error}{advice}"))
            }
            Self::Damaged(cause) => {
                let advice = advice(ErrorKind::Corrupt);
                StoreError::new(store, ErrorKind::Corrupt, format_args!("{cause}{advice}"))
            }
            Self::Incompatible(cause) => StoreError::new(store, ErrorKind::Incompatible, cause),
        }
    }

    /// Whether another process holds a lock.
    pub(super) fn is_of_lock(&self) -> bool {
        let Self::Sqlite(error) = self else { return false };
        let code = error.sqlite_error_code();
        matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }

    /// Whether the connection may be the cause, so that a new one is worth a try.
    pub(super) fn is_of_connection(&self) -> bool {
        match self {
            Self::Sqlite(error) => {
                !self.is_of_lock() && error.sqlite_error_code() != Some(ErrorCode::DiskFull)
            }
            Self::File(_) | Self::Incompatible(_) => true,
            Self::Damaged(_) => false,
        }
    }
}

fn of_sqlite(error: &rusqlite::Error, store: &Arc<str>) -> StoreError {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
        Some(ErrorCode::DiskFull) => ErrorKind::Full,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => ErrorKind::ReadOnly,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::Corrupt,
        // Columns that were changed by another program have other types, and break constraints.
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => ErrorKind::Corrupt,
        Some(_) => ErrorKind::Unavailable,
        None => ErrorKind::Corrupt,
    };
    StoreError::new(store, kind, format_args!("{error}{}", advice(kind)))
}

/// The next step of an operator.
const fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Busy => "; another process holds its lock",
        ErrorKind::Full => "; free space on its disk, or lower the limits of streams",
        ErrorKind::ReadOnly => "; the process needs to write to the file and to its folder",
        ErrorKind::Corrupt => {
            "; stop the workers that share it and remove the file with its -wal and -shm: clients \
             then load anew what it kept"
        }
        _ => "",
    }
}
