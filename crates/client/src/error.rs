//! Why a call on the cluster failed.

use std::convert::Infallible;

use protocol::{
    InvalidClientId, InvalidName, SessionError, bounded::MAX_TARGETS, codec::native::EncodeError,
};
use thiserror::Error;

/// Why a call on the cluster failed. Gateways are named by the address they announce.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No gateway is linked at all.
    #[error("no gateway is linked")]
    NoGateway,
    /// The gateway that the call is about is not linked.
    #[error("gateway {gateway} is not linked")]
    Unreachable {
        /// Which one.
        gateway: String,
    },
    /// No answer came in time.
    #[error("gateway {gateway} did not answer in time")]
    Timeout {
        /// Which one.
        gateway: String,
    },
    /// The gateway could not answer: it is going down, or the answer does not fit a frame.
    #[error("gateway {gateway} could not answer")]
    Unavailable {
        /// Which one.
        gateway: String,
    },
    /// The gateway answered another question.
    #[error("gateway {gateway} answered another question")]
    Mismatch {
        /// Which one.
        gateway: String,
    },
    /// Too many questions are unanswered.
    #[error("gateway {gateway} has too many questions to answer")]
    Busy {
        /// Which one.
        gateway: String,
    },
    /// Not a uid, or not a group.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Not a client id.
    #[error(transparent)]
    ClientId(#[from] InvalidClientId),
    /// Not a session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// More names or client ids than one call may have, where it cannot be split: to be excluded from a
    /// message, or selected.
    #[error("{count} names or ids for one gateway are more than {limit}")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Too large to be sent.
    #[error("larger than a frame may be")]
    TooLarge(#[source] EncodeError),
}

/// Refuses a list that cannot be split and is too long for one command or query.
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
