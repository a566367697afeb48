//! Why a connection ended.

use std::{fmt, io, net::SocketAddr};

use bytes::Bytes;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use service::tls;

/// Why a connection ended. Decides what is said before it closes, counted and logged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Closed {
    /// The peer hung up.
    #[error("closed by peer")]
    ByPeer,
    /// The socket failed.
    #[error("connection lost")]
    Io(#[from] io::Error),
    /// It pinged once, and then nothing was heard for too long.
    #[error("silent for too long")]
    Silent,
    /// It does not read what we send.
    #[error("does not read")]
    Slow,
    /// It did what it may not.
    #[error("refused: {0}")]
    Refused(#[from] Refused),
}

/// What a peer was turned away for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// Too many others have not said who they are yet.
    #[error("too many strangers")]
    Crowded,
    /// No TLS, where there must be.
    #[error("{0}")]
    Gate(tls::Refused),
    /// No complete line in time.
    #[error("said nothing in time")]
    Timeout,
    /// More than a line may have.
    #[error("line too long")]
    TooLong,
    /// A line that is no request. The only one that gets an answer: the line itself.
    #[error("bad request")]
    BadRequest(Bytes),
    /// A request we do not know.
    #[error("unknown event")]
    UnknownEvent,
    /// A gateway that does not say where it is.
    #[error("no address")]
    NoAddress,
    /// A wrong secret.
    #[error("wrong secret key")]
    WrongKey,
    /// Another gateway has announced the same inner address, and lives.
    #[error("a gateway at {holder} holds the inner address {address:?}")]
    AddressTaken {
        address: String,
        /// Where that gateway connects from.
        holder: SocketAddr,
    },
}

/// The label of `refused_total`.
#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(crate) struct Reason {
    reason: Word,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Word(&'static str);

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
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
            reason: Word(match refused {
                Refused::Crowded => "crowded",
                Refused::Gate(tls::Refused::Plain) => "plain",
                Refused::Gate(_) => "tls",
                Refused::Timeout => "timeout",
                Refused::TooLong => "too_long",
                Refused::BadRequest(_) => "bad_request",
                Refused::UnknownEvent => "unknown_event",
                Refused::NoAddress => "no_address",
                Refused::WrongKey => "wrong_key",
                Refused::AddressTaken { .. } => "address_taken",
            }),
        }
    }
}
