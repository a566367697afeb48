//! Why a link ended, or never began.

use std::io;

use protocol::{
    codec::{gateway_worker, native},
    link::Refusal,
    name::MAX_NAME,
};
use service::tls;
use thiserror::Error;

use crate::exchange::LinkEnd;

/// Why a link ended, or never began.
#[derive(Debug, Error)]
pub(super) enum Ended {
    #[error("closed by the peer")]
    ByPeer,
    #[error("connection lost")]
    Lost(#[from] io::Error),
    #[error(transparent)]
    Gate(tls::Refused),
    #[error("did not prove itself in time")]
    Silent,
    #[error("did not answer for as long as --peer-timeout")]
    Unanswered,
    #[error("did not read its answers for as long as --peer-timeout")]
    Unread,
    #[error("too many have not proved themselves yet")]
    Crowded,
    #[error("does not know the secret")]
    Secret,
    #[error("asked before it had shown the secret")]
    Unauthorized,
    #[error("a worker key must have 1 to {MAX_NAME} bytes")]
    Key,
    #[error("the gateway is going down")]
    ShuttingDown,
    #[error("broke the protocol: {0}")]
    Native(#[from] native::DecodeError),
    #[error("broke the protocol: {0}")]
    Php(#[from] gateway_worker::DecodeError),
    #[error("said what cannot be taken: {0}")]
    Refused(gateway_worker::from_peer::Refused),
    #[error("said what it may not say")]
    OutOfTurn,
    #[error("replaced, or ended from our side")]
    Replaced,
}

impl Ended {
    /// Whether it was refused for what it said, or did not say.
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
            | Self::Crowded
            | Self::Secret
            | Self::Unauthorized
            | Self::Key
            | Self::Native(_)
            | Self::Php(_)
            | Self::Refused(_)
            | Self::OutOfTurn => true,
        }
    }

    /// What it says about the process at the other end.
    pub(super) fn link_end(&self) -> LinkEnd {
        match self {
            Self::ByPeer => LinkEnd::Closed,
            // Its host was not reached for long.
            Self::Lost(error) if error.kind() == io::ErrorKind::TimedOut => LinkEnd::Other,
            Self::Lost(_) => LinkEnd::Closed,
            _ => LinkEnd::Other,
        }
    }

    /// What a native peer is told, if it was not let in.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Secret => Some(Refusal::Secret),
            Self::Key => Some(Refusal::Key),
            Self::ShuttingDown => Some(Refusal::ShuttingDown),
            _ => None,
        }
    }
}

impl From<tls::Refused> for Ended {
    fn from(refused: tls::Refused) -> Self {
        match refused {
            tls::Refused::Closed => Self::ByPeer,
            tls::Refused::Lost(error) => Self::Lost(error),
            refused => Self::Gate(refused),
        }
    }
}
