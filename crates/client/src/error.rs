//! Why a call on the cluster failed.

use std::convert::Infallible;

use protocol::{InvalidClientId, InvalidName, SessionError, codec::native::EncodeError};
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
    /// Too large to be sent.
    #[error("larger than a frame may be")]
    TooLarge(#[source] EncodeError),
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
