//! Why a connection ended. The close code and what the worker is told follow from it.

use std::{io, time::Duration};

use protocol::CloseReason;
use thiserror::Error;

use crate::{
    framing::{Violation, websocket::Refusal},
    http::BadRequest,
    settings::Ways,
};

/// Why a connection ended.
#[derive(Debug, Error)]
pub(crate) enum Closed {
    /// The client said goodbye, with this code or none.
    #[error("closed by the client")]
    ByClient(Option<u16>),
    /// The client's end of the connection is closed.
    #[error("connection ended")]
    Ended,
    /// The socket failed.
    #[error("connection lost")]
    Lost(#[source] io::Error),
    /// A worker closed it.
    #[error("closed by a worker")]
    ByWorker,
    /// A worker cut it off.
    #[error("cut off by a worker")]
    Destroyed,
    /// Nothing was heard for too long.
    #[error("silent for too long")]
    Silent,
    /// It let its queue fill up.
    #[error("does not read what it is sent")]
    Slow,
    /// It broke the rules of its protocol.
    #[error("broke the protocol: {0}")]
    Violation(#[from] Violation),
    /// Its request was no request.
    #[error("bad request: {0}")]
    BadRequest(BadRequest),
    /// It was told that its handshake is refused.
    #[error("handshake refused: {0}")]
    Refused(Refusal),
    /// It has been served what it asked for.
    #[error("answered over HTTP")]
    Answered,
    /// It did not finish its handshake in time.
    #[error("did not finish its handshake in time")]
    HandshakeTimeout,
    /// No worker took its events in time.
    #[error("no worker took its events in time")]
    NoWorker { retry_after: Duration },
    /// Clients made the gateway hold too much, and this one the most.
    #[error("held too much memory")]
    OverBudget { retry_after: Duration },
    /// One of its events was given up, since worker processes ended while they handled it.
    #[error("worker processes ended while they handled one of its events")]
    Undeliverable,
    /// The gateway is going down.
    #[error("the gateway is going down")]
    ShuttingDown { retry_after: Duration },
}

/// The code for clients of a gateway that goes down, and for those that are taken for gone themselves.
pub(crate) const GOING_AWAY: u16 = 1001;

/// What is owed to a connection that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// Nothing: it is cut off, and what was queued for it is lost.
    None,
    /// What was queued for it, then the end.
    Flush,
    /// What was queued for it, then a close frame with this code or none.
    Code(Option<u16>),
    /// The same, and the reason says when to come back.
    ComeBack { code: u16, after: Duration },
}

impl Closed {
    /// What the connection still gets.
    pub(crate) fn goodbye(&self, ways: &Ways) -> Goodbye {
        match (self, self.reasoned_goodbye()) {
            (_, goodbye) if ways.say_why => goodbye,
            // Whatever the client's code was.
            (Self::ByClient(_), _) => Goodbye::Code(Some(1000)),
            (Self::NoWorker { .. } | Self::Slow | Self::OverBudget { .. } | Self::Silent, _) => {
                Goodbye::None
            }
            (_, Goodbye::Code(_) | Goodbye::ComeBack { .. }) => Goodbye::Flush,
            (_, goodbye) => goodbye,
        }
    }

    /// What it gets where it is told why. Codes are those of RFC 6455, 7.4, and its registry.
    fn reasoned_goodbye(&self) -> Goodbye {
        match self {
            Self::ByClient(code) => Goodbye::Code(*code),
            Self::ByWorker => Goodbye::Code(Some(1000)),
            Self::Undeliverable => Goodbye::Code(Some(1011)),
            Self::ShuttingDown { .. } | Self::Silent => Goodbye::Code(Some(GOING_AWAY)),
            Self::NoWorker { retry_after } | Self::OverBudget { retry_after } => {
                Goodbye::ComeBack { code: 1013, after: *retry_after }
            }
            Self::Violation(violation) => Goodbye::Code(Some(violation.code())),
            Self::BadRequest(_) | Self::Refused(_) | Self::Answered => Goodbye::Flush,
            // A slow client does not read a goodbye either, but it costs nothing to try.
            Self::Slow => Goodbye::Code(Some(1013)),
            Self::Ended | Self::Lost(_) | Self::Destroyed | Self::HandshakeTimeout => Goodbye::None,
        }
    }

    /// Why a connection got no WebSocket, as metrics and logs name it; `None` if that was not refused.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::BadRequest(error) => Some(error.name()),
            Self::Refused(refusal) => Some(refusal.name()),
            Self::HandshakeTimeout => Some("timeout"),
            Self::ByClient(_)
            | Self::Ended
            | Self::Lost(_)
            | Self::ByWorker
            | Self::Destroyed
            | Self::Silent
            | Self::Slow
            | Self::Violation(_)
            | Self::Answered
            | Self::NoWorker { .. }
            | Self::OverBudget { .. }
            | Self::Undeliverable
            | Self::ShuttingDown { .. } => None,
        }
    }

    /// What the worker is told.
    pub(crate) fn reason(&self) -> CloseReason {
        match self {
            Self::ByClient(_) | Self::Ended | Self::Lost(_) => CloseReason::Client,
            Self::ByWorker | Self::Destroyed => CloseReason::Worker,
            Self::Silent => CloseReason::Timeout,
            Self::Slow | Self::OverBudget { .. } => CloseReason::Slow,
            Self::Violation(_) => CloseReason::Protocol,
            Self::BadRequest(_) | Self::Refused(_) | Self::Answered | Self::HandshakeTimeout => {
                CloseReason::Handshake
            }
            Self::NoWorker { .. } => CloseReason::NoWorker,
            Self::Undeliverable => CloseReason::Undeliverable,
            Self::ShuttingDown { .. } => CloseReason::Shutdown,
        }
    }
}

#[cfg(test)]
mod tests {
    use service::settings::Compat;

    use super::*;

    #[test]
    fn to_the_letter_the_only_close_frame_is_an_answer() {
        let strict = Ways::from(Compat::Strict);
        let down = Closed::ShuttingDown { retry_after: Duration::ZERO };
        for closed in [Closed::ByWorker, down, Closed::Violation(Violation::Utf8)] {
            assert_eq!(closed.goodbye(&strict), Goodbye::Flush, "{closed}");
        }
        let alone = Closed::NoWorker { retry_after: Duration::ZERO };
        for closed in [alone, Closed::Slow, Closed::Silent, Closed::Destroyed] {
            assert_eq!(closed.goodbye(&strict), Goodbye::None, "{closed}");
        }
        for code in [None, Some(1001), Some(3000)] {
            assert_eq!(Closed::ByClient(code).goodbye(&strict), Goodbye::Code(Some(1000)));
            assert_eq!(Closed::ByClient(code).goodbye(&Compat::Better.into()), Goodbye::Code(code));
        }
    }
}
