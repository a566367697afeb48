//! Reasons for the end of a link.

use std::io;

use protocol::{
    codec::{gateway_worker, native},
    link::Refusal,
    name::MAX_NAME,
};
use runtime::tls;
use thiserror::Error;

use crate::thread_messages::LinkEnd;

/// Reason for the end of a link, or for the refusal of a peer.
#[derive(Debug, Error)]
pub(super) enum LinkClosed {
    #[error("closed by the peer")]
    ByPeer,
    #[error("connection lost")]
    Lost(#[from] io::Error),
    #[error(transparent)]
    Gate(tls::Refused),
    #[error("authentication timeout")]
    Silent,
    #[error("no response to liveness probes within --peer-timeout")]
    Unanswered,
    #[error("answers not read within --peer-timeout")]
    Unread,
    #[error("too many unauthenticated peers")]
    TooManyUnauthenticated,
    #[error("invalid secret")]
    Secret,
    #[error("request before authentication")]
    Unauthenticated,
    #[error("worker key must be 1 to {MAX_NAME} bytes long")]
    Key,
    #[error("gateway is shutting down")]
    ShuttingDown,
    #[error("protocol violation: {0}")]
    Native(#[from] native::DecodeError),
    #[error("protocol violation: {0}")]
    Php(#[from] gateway_worker::DecodeError),
    #[error("invalid request: {0}")]
    Refused(gateway_worker::InvalidRequest),
    #[error("message not allowed in this state or role")]
    OutOfTurn,
    #[error("replaced by a newer link or closed by the gateway")]
    Replaced,
}

impl LinkClosed {
    /// Whether the peer was refused because of what it sent, or did not send.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::ByPeer
            | Self::Lost(_)
            | Self::Unanswered
            | Self::Unread
            | Self::Replaced
            | Self::ShuttingDown => false,
            Self::Silent
            | Self::Gate(_)
            | Self::TooManyUnauthenticated
            | Self::Secret
            | Self::Unauthenticated
            | Self::Key
            | Self::Native(_)
            | Self::Php(_)
            | Self::Refused(_)
            | Self::OutOfTurn => true,
        }
    }

    /// Its implication for the peer's process.
    pub(super) fn link_end(&self) -> LinkEnd {
        match self {
            Self::ByPeer => LinkEnd::Closed,
            // The peer's host was unreachable.
            Self::Lost(error) if error.kind() == io::ErrorKind::TimedOut => LinkEnd::Other,
            Self::Lost(_) => LinkEnd::Closed,
            _ => LinkEnd::Other,
        }
    }

    /// The refusal to send to a native peer, if it was refused in the handshake.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Secret => Some(Refusal::Secret),
            Self::Key => Some(Refusal::Key),
            Self::ShuttingDown => Some(Refusal::ShuttingDown),
            _ => None,
        }
    }
}

impl From<tls::Refused> for LinkClosed {
    fn from(refused: tls::Refused) -> Self {
        match refused {
            tls::Refused::Closed => Self::ByPeer,
            tls::Refused::Lost(error) => Self::Lost(error),
            refused => Self::Gate(refused),
        }
    }
}
