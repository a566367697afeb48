//! Why a connection ended.

use std::{io, net::SocketAddr};

use bytes::Bytes;
use prometheus_client::encoding::EncodeLabelSet;
use protocol::discovery::RefusedKind;
use runtime::tls;

/// Why a connection ended. Determines the final response, the metric and the log line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Closed {
    /// The peer closed the connection.
    #[error("closed by peer")]
    ByPeer,
    /// The socket failed.
    #[error("connection lost")]
    Io(#[from] io::Error),
    /// The peer has pinged before, and then sent nothing within the timeout.
    #[error("peer timeout")]
    PeerTimeout,
    /// The peer does not read.
    #[error("slow consumer")]
    Slow,
    /// The peer was refused.
    #[error("refused: {0}")]
    Refused(#[from] Refused),
}

/// Why a peer was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The limit of unauthenticated connections is reached.
    #[error("too many unauthenticated connections")]
    TooManyUnauthenticated,
    /// No TLS, or a failed handshake, although TLS is required.
    #[error("{0}")]
    Gate(tls::Refused),
    /// No complete line in time.
    #[error("no complete line in time")]
    Timeout,
    /// The line exceeds the limit.
    #[error("line too long")]
    TooLong,
    /// A line that is no request; the line itself, which the response quotes.
    #[error("bad request")]
    BadRequest(Bytes),
    /// An unknown request.
    #[error("unknown event")]
    UnknownEvent,
    /// A gateway without an address.
    #[error("no address")]
    NoAddress,
    /// A wrong secret.
    #[error("wrong secret key")]
    WrongKey {
        /// The kind that the peer states, without proof.
        kind: RefusedKind,
        /// The inner address that a gateway announces.
        address: Option<String>,
    },
    /// A live gateway has announced the same inner address.
    #[error("a gateway at {holder} holds the inner address {address:?}")]
    AddressTaken {
        address: String,
        /// The address that that gateway connects from.
        holder: SocketAddr,
    },
}

/// The label of `pushsuite_register_refused_total`.
#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(crate) struct Reason {
    reason: &'static str,
}

impl Reason {
    /// Each reason.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [
            "crowded",
            "plain",
            "tls",
            "timeout",
            "too_long",
            "bad_request",
            "unknown_event",
            "no_address",
            "wrong_key",
            "address_taken",
        ]
        .into_iter()
        .map(|reason| Self { reason })
    }

    /// Its name as a label.
    pub(crate) const fn name(&self) -> &'static str {
        self.reason
    }
}

impl From<tls::Refused> for Closed {
    fn from(refused: tls::Refused) -> Self {
        match refused {
            tls::Refused::Closed => Self::ByPeer,
            tls::Refused::Lost(error) => error.into(),
            refused => Refused::Gate(refused).into(),
        }
    }
}

impl From<&Refused> for Reason {
    fn from(refused: &Refused) -> Self {
        Self {
            reason: match refused {
                Refused::TooManyUnauthenticated => "crowded",
                Refused::Gate(tls::Refused::Plain) => "plain",
                Refused::Gate(_) => "tls",
                Refused::Timeout => "timeout",
                Refused::TooLong => "too_long",
                Refused::BadRequest(_) => "bad_request",
                Refused::UnknownEvent => "unknown_event",
                Refused::NoAddress => "no_address",
                Refused::WrongKey { .. } => "wrong_key",
                Refused::AddressTaken { .. } => "address_taken",
            },
        }
    }
}
