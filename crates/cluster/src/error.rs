//! Errors of calls on the cluster.

use std::convert::Infallible;

use protocol::{
    InvalidClientId, InvalidName, SessionError, bounded::MAX_TARGETS, codec::native::EncodeError,
};
use thiserror::Error;

/// Why a call on the cluster failed. Gateways are named by the address they announce.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No gateway is linked.
    #[error("no gateway is linked")]
    NoGateway,
    /// The gateway concerned is not linked.
    #[error("gateway {gateway} is not linked")]
    Unreachable {
        /// Address of the gateway.
        gateway: String,
    },
    /// No answer arrived in time.
    #[error("gateway {gateway} did not answer in time")]
    Timeout {
        /// Address of the gateway.
        gateway: String,
    },
    /// The gateway could not answer: it is shutting down, or the answer exceeds a frame.
    #[error("gateway {gateway} could not answer")]
    Unavailable {
        /// Address of the gateway.
        gateway: String,
    },
    /// The answer does not match the query.
    #[error("gateway {gateway} sent an answer that does not match the query")]
    Mismatch {
        /// Address of the gateway.
        gateway: String,
    },
    /// Too many queries are unanswered.
    #[error("gateway {gateway} has too many unanswered queries")]
    Busy {
        /// Address of the gateway.
        gateway: String,
    },
    /// Invalid uid or group.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Invalid client id.
    #[error(transparent)]
    ClientId(#[from] InvalidClientId),
    /// Invalid session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// More names or client ids than one call may have where it cannot be split: exclusions of a
    /// message, or a selection.
    #[error("{count} names or ids for one gateway are more than {limit}")]
    TooMany {
        /// Actual number.
        count: usize,
        /// Maximum number.
        limit: usize,
    },
    /// Too large for a frame.
    #[error("larger than the maximum frame")]
    TooLarge(#[source] EncodeError),
}

/// Rejects a list that cannot be split and is too long for one command or query.
pub(crate) fn at_most_targets(count: usize) -> Result<(), Error> {
    match count {
        ..=MAX_TARGETS => Ok(()),
        count => Err(Error::TooMany { count, limit: MAX_TARGETS }),
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
