//! Errors of calls on the cluster.

use std::convert::Infallible;

use protocol::{
    ClientId, InvalidAnswer, InvalidClientId, InvalidClose, InvalidName, InvalidPresence,
    InvalidToken, SessionError, bounded::MAX_TARGETS, codec::native::MAX_FRAME,
};
use store::ErrorKind;
use thiserror::Error;

/// Why a call on the cluster failed. Gateways are named by the address they announce.
///
/// # Commands
///
/// A command fails at once if its arguments are invalid ([`Name`](Self::Name),
/// [`Close`](Self::Close), [`Session`](Self::Session), [`TooMany`](Self::TooMany), [`TooLarge`](Self::TooLarge)). One for a
/// single client fails with [`Unreachable`](Self::Unreachable) if the client's gateway was never
/// linked, or is dead; one for many clients only if no gateway is known at all
/// ([`NoGateway`](Self::NoGateway), [`NoRegister`](Self::NoRegister),
/// [`WrongSecret`](Self::WrongSecret)). That a client has disconnected is no error. After the
/// cluster was closed, every call fails with [`Closed`](Self::Closed).
///
/// # Queries
///
/// A query fails in addition if a gateway concerned is disconnected, or does not answer within five
/// seconds: a result is complete or an error.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No gateway is linked, although a register has sent its list: it lists none, or none of them
    /// can be reached.
    #[error("no gateway is linked")]
    NoGateway,
    /// No register has sent its list of gateways since the start.
    #[error("no register is reachable: {reason}")]
    NoRegister {
        /// The address of a register, and why the last attempt has failed.
        reason: String,
    },
    /// The secret key is not that of the cluster. A register only closes the connection then, as it
    /// also does to a peer without TLS if it requires TLS.
    #[error("{peer} does not accept the secret key: {reason}")]
    WrongSecret {
        /// The register or gateway, with its address.
        peer: String,
        /// How it was noticed.
        reason: String,
    },
    /// The cluster was closed, or its [`ClusterGuard`](crate::ClusterGuard) dropped.
    #[error("the cluster is closed")]
    Closed,
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
    /// The client is not connected, of a call that concerns this client alone and has no result
    /// without it.
    #[error("client {client} is not connected")]
    Offline {
        /// The client.
        client: ClientId,
    },
    /// Invalid uid or group.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Invalid client id.
    #[error(transparent)]
    ClientId(#[from] InvalidClientId),
    /// Invalid close code or reason.
    #[error(transparent)]
    Close(#[from] InvalidClose),
    /// Empty or longer than a token may be.
    #[error(transparent)]
    Token(#[from] InvalidToken),
    /// A gateway keeps as many revocations as it can: the new ones are not in effect there.
    #[error("gateway {gateway} keeps as many revocations as it can")]
    RevocationsFull {
        /// Address of the gateway.
        gateway: String,
    },
    /// The gateway does not accept a new log filter.
    #[error("gateway {gateway} does not accept the log filter: {reason}")]
    LogFilter {
        /// Address of the gateway.
        gateway: String,
        /// Why it is invalid.
        reason: String,
    },
    /// Invalid member or snapshot of a group.
    #[error(transparent)]
    Presence(#[from] InvalidPresence),
    /// Invalid session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Invalid answer to a handshake.
    #[error(transparent)]
    Answer(#[from] InvalidAnswer),
    /// The event is not a handshake that awaits an answer: its gateway does not run with
    /// `--handshake-auth worker`, or it is another event.
    #[error("no handshake of this event awaits an answer")]
    NoHandshake,
    /// More names or client ids than one call may have where it cannot be split: exclusions of a
    /// message, or a selection.
    #[error("{count} names or ids for one gateway are more than {limit}")]
    TooMany {
        /// Actual number.
        count: usize,
        /// Maximum number.
        limit: usize,
    },
    /// The store of streams does not do what was asked.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The cluster was started without a store of streams.
    #[error("there is no store of streams")]
    NoStore,
    /// A message, with its recipients, does not fit in a frame.
    #[error("larger than a frame of {limit} bytes")]
    TooLarge {
        /// Maximum size in bytes.
        limit: usize,
    },
}

impl Error {
    /// Whether the same call may succeed later without a change by the caller or an operator. A
    /// command that has failed was not sent to the gateway that the error is about; a failed call
    /// for many clients may have reached those of other gateways.
    ///
    /// [`Unavailable`](Self::Unavailable) counts as retryable, since gateways that shut down answer
    /// so; an answer that exceeds a frame stays so until there are fewer clients.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::NoGateway
            | Self::NoRegister { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Unavailable { .. }
            | Self::Busy { .. } => true,
            Self::Store(error) => {
                matches!(error.kind, ErrorKind::Busy | ErrorKind::Unavailable | ErrorKind::Unknown)
            }
            Self::WrongSecret { .. }
            | Self::Closed
            | Self::Mismatch { .. }
            | Self::Offline { .. }
            | Self::Name(_)
            | Self::ClientId(_)
            | Self::Close(_)
            | Self::Session(_)
            | Self::Presence(_)
            | Self::Token(_)
            | Self::RevocationsFull { .. }
            | Self::LogFilter { .. }
            | Self::Answer(_)
            | Self::NoHandshake
            | Self::NoStore
            | Self::TooMany { .. }
            | Self::TooLarge { .. } => false,
        }
    }

    pub(crate) const fn too_large() -> Self {
        Self::TooLarge { limit: MAX_FRAME }
    }
}

/// Rejects a list that cannot be split and is too long for one command or query.
///
/// # Errors
/// [`Error::TooMany`].
pub fn at_most_targets(count: usize) -> Result<(), Error> {
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
