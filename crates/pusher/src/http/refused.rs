//! Requests that are refused: status, and the line of text that SDKs show.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use push_suite_cluster::Error;

use super::{
    attributes::UnknownAttribute, body::BODY_TIME, endpoint::NoEndpoint, publication::InvalidBody,
    query::TooManyParameters, rate, request_signature::Unauthenticated,
};
use crate::{channel::InvalidChannel, user::InvalidUserId};

/// The reason for which a request is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    NoEndpoint(#[from] NoEndpoint),
    #[error(transparent)]
    Parameters(#[from] TooManyParameters),
    #[error("There is no app with this id")]
    NoApp,
    #[error(transparent)]
    Unauthenticated(#[from] Unauthenticated),
    #[error("The app is disabled")]
    Disabled,
    #[error("The app has made more than {rate} requests in a second (http_requests_per_second)")]
    TooMany { rate: u32, wait: Duration },
    #[error("The body exceeds the allowed maximum ({limit} bytes)")]
    TooLarge { limit: usize },
    #[error("The body did not arrive within {BODY_TIME:?}")]
    Late,
    #[error("Idempotency-Key has no 1 to 255 printable ASCII characters")]
    InvalidIdempotencyKey,
    #[error("A request with this Idempotency-Key is being executed")]
    InProgress,
    #[error("This Idempotency-Key is that of another request")]
    OtherRequest,
    #[error("Too many requests are being executed")]
    Overloaded,
    /// Gateways that take no commands may block a request.
    #[error("The request took too long, and may have taken effect on some gateways")]
    TooSlow,
    #[error("The body ended early")]
    Incomplete,
    #[error(transparent)]
    Body(#[from] InvalidBody),
    #[error(transparent)]
    Attribute(#[from] UnknownAttribute),
    #[error("Invalid channel: {0}")]
    Channel(#[from] InvalidChannel),
    #[error("Invalid user: {0}")]
    User(#[from] InvalidUserId),
    /// An attribute that channels of this kind do not have.
    #[error("{0}")]
    NotOfThisChannel(&'static str),
    #[error("{introduction}{0}", introduction = introduction(.0))]
    Cluster(#[from] Error),
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoEndpoint(NoEndpoint::Path) | Self::NoApp => StatusCode::NOT_FOUND,
            Self::NoEndpoint(NoEndpoint::Method(_)) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Disabled => StatusCode::FORBIDDEN,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(body) if body.is_too_large() => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::InProgress => StatusCode::CONFLICT,
            Self::OtherRequest => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Overloaded | Self::TooSlow => StatusCode::SERVICE_UNAVAILABLE,
            Self::Parameters(_)
            | Self::InvalidIdempotencyKey
            | Self::Incomplete
            | Self::Body(_)
            | Self::Attribute(_)
            | Self::Channel(_)
            | Self::User(_)
            | Self::NotOfThisChannel(_) => StatusCode::BAD_REQUEST,
            Self::Cluster(error) if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
            // Of this process, not of the request: another process may execute it.
            Self::Cluster(Error::WrongSecret { .. } | Error::Closed) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Cluster(Error::Mismatch { .. }) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Cluster(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// The beginning of the text of an error that gateways out of reach have caused; empty for others.
const fn introduction(error: &Error) -> &'static str {
    if error.is_retryable() { "Not all gateways can be reached: " } else { "" }
}

/// The longest text of an error, in characters: some repeat a part of the request.
const LONGEST: usize = 1500;

/// A text on one line, cut to a bounded length.
pub(super) fn one_line(text: &str) -> String {
    let is_space = |character: char| if character.is_control() { ' ' } else { character };
    text.chars().map(is_space).take(LONGEST).collect()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = self.status();
        let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        let mut response = (status, plain, one_line(&self.to_string())).into_response();
        let headers = response.headers_mut();
        match self {
            Self::TooMany { wait, .. } => {
                headers.insert(header::RETRY_AFTER, rate::retry_after(wait).into());
            }
            Self::NoEndpoint(NoEndpoint::Method(method)) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(method));
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_of_the_cluster_is_no_fault_of_the_request_unless_its_arguments_are() {
        let gateway = || "g:1".to_owned();
        for (error, status, text) in [
            (Error::Closed, 503, "the cluster is closed"),
            (Error::NoGateway, 503, "Not all gateways can be reached: no gateway is linked"),
            (
                Error::Unreachable { gateway: gateway() },
                503,
                "Not all gateways can be reached: gateway g:1 is not linked",
            ),
            (
                Error::WrongSecret { peer: gateway(), reason: "x".to_owned() },
                503,
                "g:1 does not accept the secret key: x",
            ),
            (
                Error::Mismatch { gateway: gateway() },
                500,
                "gateway g:1 sent an answer that does not match the query",
            ),
            (Error::TooLarge { limit: 9 }, 400, "larger than a frame of 9 bytes"),
        ] {
            let refused = Refused::from(error);
            assert_eq!((refused.status().as_u16(), &refused.to_string()[..]), (status, text));
            let headers = refused.into_response().headers().clone();
            assert_eq!(headers.contains_key(header::RETRY_AFTER), status == 503, "{text}");
        }
    }
}
