//! Failures of the server and of the connection to it.

use std::{io, sync::Arc};

use super::resp::Garbage;
use crate::{ErrorKind, StoreError};

/// Why a call or a connection failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: ErrorKind,
    pub(super) cause: String,
    /// The server has answered that it does not do this.
    pub(super) is_refusal: bool,
    /// Another connection may lead to a server that does it.
    pub(super) ends_session: bool,
}

impl Failure {
    fn new(kind: ErrorKind, cause: impl Into<String>) -> Self {
        Self { kind, cause: cause.into(), is_refusal: false, ends_session: true }
    }

    pub(super) fn with_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    pub(super) fn error(&self, store: &Arc<str>) -> StoreError {
        StoreError::new(store, self.kind, &self.cause)
    }
}

pub(super) fn unreachable(error: io::Error) -> Failure {
    Failure::new(ErrorKind::Unavailable, format!("it cannot be connected to: {error}"))
}

pub(super) fn lost(error: io::Error) -> Failure {
    Failure::new(ErrorKind::Unavailable, format!("the connection is lost: {error}"))
}

pub(super) fn overdue() -> Failure {
    Failure::new(ErrorKind::Unavailable, "no answer came in time")
}

pub(super) fn garbage(garbage: Garbage) -> Failure {
    Failure::new(ErrorKind::Unavailable, garbage.to_string())
}

pub(super) fn unreadable(request: &str) -> Failure {
    Failure::new(ErrorKind::Unavailable, format!("an unexpected answer to {request}"))
}

pub(super) fn replica() -> Failure {
    let cause = "it is a replica, which cannot be written to: name the primary";
    Failure::new(ErrorKind::ReadOnly, cause)
}

pub(super) fn other_server() -> Failure {
    Failure::new(ErrorKind::Unavailable, "another server has taken over")
}

/// An error that the server answers with.
pub(super) fn refused(error: &str) -> Failure {
    // An answer of a server may be long, and is logged.
    let text: String = error.chars().take(200).filter(|it| !it.is_control()).collect();
    let (kind, advice, ends_session) = match text.split([' ', ':']).next().unwrap_or_default() {
        "LATE" => (ErrorKind::Unavailable, "", false),
        "OOM" => (ErrorKind::Full, "; raise its maxmemory, or lower the limits of streams", false),
        "MISCONF" => (ErrorKind::Full, "; it cannot write to its disk", false),
        "READONLY" | "MASTERDOWN" | "LOADING" => (ErrorKind::Unavailable, "", true),
        "NOAUTH" | "WRONGPASS" => {
            (ErrorKind::Unavailable, "; check user and password of its address", true)
        }
        "NOPERM" => (
            ErrorKind::Unavailable,
            "; allow EVAL, EVALSHA, SCRIPT, TIME, INFO, and the keys gw:*",
            false,
        ),
        "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" => (
            ErrorKind::Incompatible,
            "; Redis Cluster is not supported: name a single server",
            false,
        ),
        "WRONGTYPE" => (ErrorKind::Corrupt, "; another program uses keys of the form gw:*", false),
        // A script may have done a part.
        _ => (ErrorKind::Unknown, "", false),
    };
    let cause = format!("it refuses: {text}{advice}");
    Failure { kind, cause, is_refusal: true, ends_session }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_kinds_and_the_next_step() {
        for (error, kind, advice) in [
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                ErrorKind::Full,
                "maxmemory",
            ),
            ("WRONGPASS invalid username-password pair", ErrorKind::Unavailable, "password"),
            ("NOAUTH Authentication required.", ErrorKind::Unavailable, "password"),
            ("READONLY You can't write against a read only replica.", ErrorKind::Unavailable, ""),
            ("MOVED 3999 127.0.0.1:6381", ErrorKind::Incompatible, "single server"),
            ("WRONGTYPE Operation against a key", ErrorKind::Corrupt, "another program"),
            ("ERR unknown command", ErrorKind::Unknown, "unknown command"),
            ("", ErrorKind::Unknown, ""),
        ] {
            let failure = refused(error);
            assert_eq!(failure.kind, kind, "{error}");
            assert!(failure.is_refusal && failure.cause.contains(advice), "{failure:?}");
        }
        let long = refused(&"x\r\n".repeat(10_000));
        assert!(long.cause.len() < 300 && !long.cause.contains('\n'));
    }
}
