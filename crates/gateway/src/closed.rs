//! Causes for the end of a connection. They determine the close code and the reason that the
//! worker receives.

use std::{io, time::Duration};

use bytes::Bytes;
use framing::{
    Violation,
    http::{BadRequest, response_head},
    proxy_protocol::InvalidHeader,
    websocket::{self, Refusal},
};
use protocol::{CloseCodes, CloseFrame, CloseKind, CloseReason, Keep};
use thiserror::Error;

use crate::{limits::AddressLimit, settings::CompatBehavior};

/// The cause for the end of a connection.
#[derive(Debug, Error)]
pub(crate) enum CloseCause {
    /// The client sent this close frame.
    #[error("closed by the client")]
    ByClient(ClientFrame),
    /// The client closed the TCP connection.
    #[error("connection closed without a close frame")]
    Ended,
    /// The socket failed.
    #[error("connection lost")]
    Lost(#[source] io::Error),
    /// A worker or back end closed it, with this close frame.
    #[error("closed by a worker")]
    ByWorker(CloseFrame),
    /// A worker disconnected it without a close frame.
    #[error("destroyed by a worker")]
    Destroyed,
    /// It did not respond to pings in time.
    #[error("ping timeout")]
    Silent,
    /// Its send queue is full.
    #[error("send queue full")]
    Slow,
    /// It violated its protocol.
    #[error("protocol violation: {0}")]
    Violation(#[from] Violation),
    /// It did not begin with a valid PROXY header.
    #[error("no valid PROXY header: {0}")]
    ProxyHeader(InvalidHeader),
    /// Its request was malformed.
    #[error("bad request: {0}")]
    BadRequest(BadRequest),
    /// Its handshake was refused with an HTTP response.
    #[error("handshake refused: {0}")]
    Refused(Refusal),
    /// Its handshake was refused by `--handshake-auth`, with this response.
    #[error("handshake refused by its answer: {}", .0.status())]
    HandshakeRefused(Box<protocol::Refusal>),
    /// Its handshake was accepted with a grant that does not fit it.
    #[error("handshake accepted with a subprotocol that is not offered")]
    InvalidGrant,
    /// No worker answered its handshake in time.
    #[error("no answer to the handshake")]
    Undecided { retry_after: Duration },
    /// Its address is over a limit.
    #[error("limit of its address exceeded: {}", .0.name())]
    AddressLimit(AddressLimit),
    /// Too many handshakes await an answer.
    #[error("too many handshakes without an answer")]
    TooManyUndecided { retry_after: Duration },
    /// It was not bound to a uid in time.
    #[error("not authenticated in time")]
    Unauthenticated,
    /// Its HTTP request was answered.
    #[error("HTTP request answered")]
    Answered,
    /// It did not complete its handshake in time.
    #[error("handshake timeout")]
    HandshakeTimeout,
    /// Its events were not assigned to a worker in time.
    #[error("no worker for its events")]
    NoWorker { retry_after: Duration },
    /// The memory budget was exceeded, and this client was selected to be closed.
    #[error("memory budget exceeded")]
    OverBudget { retry_after: Duration },
    /// It has sent faster than it may.
    #[error("rate limit")]
    RateLimit,
    /// One of its events was discarded because worker processes ended while handling it.
    #[error("worker processes ended while handling one of its events")]
    Undeliverable,
    /// Its token has expired, and was not renewed.
    #[error("token expired")]
    TokenExpired,
    /// Its token is revoked.
    #[error("token revoked")]
    TokenRevoked,
    /// Its new token is that of another user.
    #[error("token of another user")]
    TokenOfOtherUser,
    /// More clients than `--max-connections-per-uid` are bound to its uid.
    #[error("too many connections of its uid")]
    UidLimit(Keep),
    /// The gateway is shutting down.
    #[error("gateway is shutting down")]
    ShuttingDown { retry_after: Duration },
}

/// The close frame of a client.
#[derive(Debug, Default)]
pub(crate) struct ClientFrame {
    pub(crate) code: Option<u16>,
    /// Its reason.
    pub(crate) text: Box<str>,
}

/// Close code when the gateway shuts down, and for clients that time out.
pub(crate) const GOING_AWAY: u16 = 1001;

/// Close code of a client that comes back with a new token.
const TOKEN: u16 = 4401;

/// Close code of a client whose token is not accepted any more.
const FORBIDDEN: u16 = 4403;
/// Close code of a client that is over the limit of connections for its uid.
const CONFLICT: u16 = 4409;

/// Close code of a client that sends faster than it may, as the HTTP status of this number.
const TOO_MANY: u16 = 4429;

/// Reason for a handshake that takes longer than `--handshake-timeout`, as in metrics and logs.
pub(crate) const TIMEOUT: &str = "timeout";

/// Close code for clients without a uid at `--auth-timeout`: that of an HTTP request timeout, in the
/// range of applications.
const UNAUTHENTICATED: u16 = 4408;

/// Reason for a connection that is refused because of `--proxy-protocol`, as in metrics and logs.
pub(crate) const NO_PROXY: &str = "proxy";

/// How a connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CloseAction {
    /// Drop the write queue and close the socket.
    None,
    /// Flush the write queue and close the socket.
    Flush,
    /// Flush the write queue and send a close frame with this code or none.
    Code(Option<u16>),
    /// The same, with the close frame of an application.
    Frame(CloseFrame),
    /// The same, with a close frame whose reason is a retry-after time.
    RetryAfter { code: u16, after: Duration },
}

impl CloseAction {
    /// Whether a close frame is sent.
    pub(crate) const fn sends_frame(&self) -> bool {
        match self {
            Self::Code(_) | Self::Frame(_) | Self::RetryAfter { .. } => true,
            Self::None | Self::Flush => false,
        }
    }

    /// The same with another code, if a close frame is sent.
    fn with_code(self, code: u16) -> Self {
        match self {
            Self::Code(_) => Self::Code(Some(code)),
            Self::Frame(frame) => {
                Self::Frame(CloseFrame::new(code, frame.reason()).unwrap_or_default())
            }
            Self::RetryAfter { after, .. } => Self::RetryAfter { code, after },
            Self::None | Self::Flush => self,
        }
    }
}

impl CloseCause {
    /// How the connection is closed, with the code of the client's protocol if that is among
    /// `codes`.
    pub(crate) fn close_action(
        &self,
        compat_behavior: &CompatBehavior,
        codes: Option<&CloseCodes>,
    ) -> CloseAction {
        let action = self.own_action(compat_behavior);
        match codes.and_then(|codes| codes.of(self.kind()?)) {
            Some(code) => action.with_code(code),
            None => action,
        }
    }

    /// The same with the gateway's own codes.
    fn own_action(&self, compat_behavior: &CompatBehavior) -> CloseAction {
        match (self, self.compat_default_action()) {
            (_, action) if compat_behavior.send_close_frames => action,
            // Whatever code the client sent.
            (Self::ByClient(_), _) => CloseAction::Code(Some(1000)),
            (Self::NoWorker { .. } | Self::Slow | Self::OverBudget { .. } | Self::Silent, _) => {
                CloseAction::None
            }
            (_, action) if action.sends_frame() => CloseAction::Flush,
            (_, action) => action,
        }
    }

    /// How the connection is closed if close frames are sent. Codes are those of RFC 6455, 7.4, and
    /// its registry.
    fn compat_default_action(&self) -> CloseAction {
        match self {
            Self::ByClient(frame) => CloseAction::Code(frame.code),
            Self::ByWorker(frame) => CloseAction::Frame(frame.clone()),
            Self::TokenExpired => CloseAction::Frame(frame(TOKEN, self)),
            Self::TokenRevoked | Self::TokenOfOtherUser => {
                CloseAction::Frame(frame(FORBIDDEN, self))
            }
            Self::UidLimit(keep) => CloseAction::Frame(uid_limit_frame(*keep)),
            Self::Undeliverable => CloseAction::Code(Some(1011)),
            Self::Silent => CloseAction::Code(Some(GOING_AWAY)),
            Self::ShuttingDown { retry_after } => {
                CloseAction::RetryAfter { code: GOING_AWAY, after: *retry_after }
            }
            Self::NoWorker { retry_after } | Self::OverBudget { retry_after } => {
                CloseAction::RetryAfter { code: 1013, after: *retry_after }
            }
            Self::Violation(violation) => CloseAction::Code(Some(violation.code())),
            Self::BadRequest(_)
            | Self::Refused(_)
            | Self::HandshakeRefused(_)
            | Self::InvalidGrant
            | Self::Undecided { .. }
            | Self::AddressLimit(_)
            | Self::TooManyUndecided { .. }
            | Self::Answered => CloseAction::Flush,
            Self::RateLimit => CloseAction::Frame(frame(TOO_MANY, self)),
            Self::Unauthenticated => CloseAction::Frame(frame(UNAUTHENTICATED, self)),
            // A slow client may not read the close frame either, but trying costs nothing.
            Self::Slow => CloseAction::Code(Some(1013)),
            Self::Ended
            | Self::Lost(_)
            | Self::Destroyed
            | Self::HandshakeTimeout
            | Self::ProxyHeader(_) => CloseAction::None,
        }
    }

    /// The response to the request of a connection that closes before its handshake was accepted;
    /// `None` if it gets none for this cause. `is_undecided` if it awaits the answer of a worker.
    pub(crate) fn handshake_response(&self, is_undecided: bool) -> Option<Bytes> {
        let unavailable = |after: Duration| {
            let seconds = after.as_secs().max(1);
            let fields = format!("Retry-After: {seconds}\r\n");
            response_head("503 Service Unavailable", &fields, 0, false)
        };
        match self {
            Self::HandshakeRefused(refusal) => Some(websocket::refused(refusal)),
            Self::InvalidGrant => Some(internal_error()),
            Self::TooManyUndecided { retry_after } => Some(unavailable(*retry_after)),
            _ if !is_undecided => None,
            Self::ByWorker(_) => Some(response_head("403 Forbidden", "", 0, false)),
            Self::UidLimit(_) => Some(response_head("409 Conflict", "", 0, false)),
            Self::Undeliverable => Some(internal_error()),
            Self::Undecided { retry_after }
            | Self::NoWorker { retry_after }
            | Self::OverBudget { retry_after }
            | Self::ShuttingDown { retry_after } => Some(unavailable(*retry_after)),
            Self::Slow => Some(unavailable(Duration::ZERO)),
            Self::ByClient(_)
            | Self::Ended
            | Self::Lost(_)
            | Self::Destroyed
            | Self::Silent
            | Self::Violation(_)
            | Self::TokenExpired
            | Self::TokenRevoked
            | Self::TokenOfOtherUser
            | Self::ProxyHeader(_)
            | Self::BadRequest(_)
            | Self::Refused(_)
            | Self::AddressLimit(_)
            | Self::RateLimit
            | Self::Unauthenticated
            | Self::Answered
            | Self::HandshakeTimeout => None,
        }
    }

    /// The kind for which a worker may declare another code; `None` if the cause has no close frame,
    /// or one of the client or of a worker.
    const fn kind(&self) -> Option<CloseKind> {
        match self {
            Self::ShuttingDown { .. } => Some(CloseKind::Shutdown),
            Self::Silent => Some(CloseKind::PingTimeout),
            Self::Slow => Some(CloseKind::SlowClient),
            Self::NoWorker { .. } => Some(CloseKind::NoWorker),
            Self::OverBudget { .. } => Some(CloseKind::Overload),
            Self::RateLimit => Some(CloseKind::RateLimit),
            Self::Violation(Violation::TooLong { .. }) => Some(CloseKind::MessageTooLarge),
            Self::Violation(_) => Some(CloseKind::Protocol),
            Self::Undeliverable => Some(CloseKind::Undeliverable),
            Self::Unauthenticated => Some(CloseKind::NotAuthenticated),
            Self::TokenExpired => Some(CloseKind::TokenExpired),
            Self::TokenRevoked | Self::TokenOfOtherUser => Some(CloseKind::TokenRefused),
            Self::UidLimit(_) => Some(CloseKind::UidLimit),
            Self::ByClient(_)
            | Self::Ended
            | Self::Lost(_)
            | Self::ByWorker(_)
            | Self::Destroyed
            | Self::ProxyHeader(_)
            | Self::BadRequest(_)
            | Self::Refused(_)
            | Self::HandshakeRefused(_)
            | Self::InvalidGrant
            | Self::Undecided { .. }
            | Self::AddressLimit(_)
            | Self::TooManyUndecided { .. }
            | Self::Answered
            | Self::HandshakeTimeout => None,
        }
    }

    /// Whether `--handshake-auth` is the cause.
    pub(crate) const fn is_auth(&self) -> bool {
        matches!(
            self,
            Self::HandshakeRefused(_)
                | Self::InvalidGrant
                | Self::Undecided { .. }
                | Self::TooManyUndecided { .. }
        )
    }

    /// The reason for a refused handshake, as in metrics and logs; `None` if none was refused.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::BadRequest(error) => Some(error.name()),
            Self::Refused(refusal) => Some(refusal.name()),
            Self::HandshakeRefused(refusal) => Some(match refusal.status() {
                401 => "unauthorized",
                403 => "forbidden",
                _ => "auth",
            }),
            Self::InvalidGrant => Some("auth"),
            Self::Undecided { .. } => Some("auth_timeout"),
            Self::TooManyUndecided { .. } => Some("auth_busy"),
            Self::AddressLimit(limit) => Some(limit.name()),
            Self::HandshakeTimeout => Some(TIMEOUT),
            Self::ProxyHeader(_) => Some(NO_PROXY),
            Self::ByClient(_)
            | Self::Ended
            | Self::Lost(_)
            | Self::ByWorker(_)
            | Self::Destroyed
            | Self::Silent
            | Self::Slow
            | Self::Violation(_)
            | Self::Answered
            | Self::NoWorker { .. }
            | Self::OverBudget { .. }
            | Self::RateLimit
            | Self::Unauthenticated
            | Self::Undeliverable
            | Self::TokenExpired
            | Self::TokenRevoked
            | Self::TokenOfOtherUser
            | Self::UidLimit(_)
            | Self::ShuttingDown { .. } => None,
        }
    }

    /// The reason that the worker receives.
    pub(crate) fn reason(&self) -> CloseReason {
        match self {
            Self::ByClient(_) | Self::Ended | Self::Lost(_) => CloseReason::Client,
            Self::ByWorker(_) | Self::Destroyed => CloseReason::Worker,
            Self::Silent => CloseReason::Timeout,
            Self::Slow | Self::OverBudget { .. } => CloseReason::Slow,
            Self::Violation(_) => CloseReason::Protocol,
            Self::RateLimit => CloseReason::RateLimit,
            Self::BadRequest(_)
            | Self::Refused(_)
            | Self::HandshakeRefused(_)
            | Self::InvalidGrant
            | Self::Undecided { .. }
            | Self::AddressLimit(_)
            | Self::TooManyUndecided { .. }
            | Self::Answered
            | Self::HandshakeTimeout
            | Self::ProxyHeader(_) => CloseReason::Handshake,
            Self::Unauthenticated => CloseReason::Unauthenticated,
            Self::NoWorker { .. } => CloseReason::NoWorker,
            Self::Undeliverable => CloseReason::Undeliverable,
            Self::TokenExpired | Self::TokenRevoked | Self::TokenOfOtherUser => CloseReason::Token,
            Self::UidLimit(_) => CloseReason::UidLimit,
            Self::ShuttingDown { .. } => CloseReason::Shutdown,
        }
    }
}

/// A close frame with a code, and the text of the cause as its reason.
fn frame(code: u16, cause: &CloseCause) -> CloseFrame {
    CloseFrame::new(code, cause.to_string()).unwrap_or_default()
}

fn uid_limit_frame(keep: Keep) -> CloseFrame {
    let reason = match keep {
        Keep::Oldest => "too many connections",
        Keep::Newest => "replaced by a newer connection",
    };
    CloseFrame::new(CONFLICT, reason).unwrap_or_default()
}

fn internal_error() -> Bytes {
    response_head("500 Internal Server Error", "", 0, false)
}

#[cfg(test)]
mod tests;
