//! Errors of the API: one shape for all, with a status, a code for programs and a message.

use axum::http::StatusCode;
use push_suite_cluster::Error;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// Why a request was not executed. Nothing of it has taken effect, unless `code` is `timeout`.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The HTTP status.
    pub status: StatusCode,
    /// The code, for programs.
    pub code: Code,
    /// The explanation, for people. It contains no secret.
    pub message: String,
    /// Facts, such as the limit that was exceeded.
    pub details: Map<String, Value>,
    /// Whether the same request may succeed later without a change.
    pub is_retryable: bool,
}

/// The code of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// 400: the path, the query or the body is invalid.
    BadRequest,
    /// 401: no key, or an unknown one.
    Unauthorized,
    /// 403: the key has not the scope, or not for this group.
    Forbidden,
    /// 404: no such path.
    NotFound,
    /// 404: the client is not connected.
    ClientNotFound,
    /// 405: the path has no such method.
    MethodNotAllowed,
    /// 408: the body did not arrive in time.
    RequestTimeout,
    /// 409: a request with this `Idempotency-Key` is being executed.
    IdempotencyInProgress,
    /// 409: the session is not the expected one.
    SessionChanged,
    /// 409: the session of a PHP worker cannot be read as JSON.
    SessionUnreadable,
    /// 409: the client has another uid.
    UidDiffers,
    /// 409: the client may join no more groups, or is closing.
    Refused,
    /// 409: the new token is not accepted.
    TokenRefused,
    /// 413: the body, or a list in it, is too long.
    TooLarge,
    /// 415: the body is not JSON.
    UnsupportedMediaType,
    /// 422: the `Idempotency-Key` was used for another request.
    IdempotencyMismatch,
    /// 500: a gateway has sent an answer that does not match.
    Internal,
    /// 503: no gateway is linked.
    NoGateway,
    /// 503: the gateway concerned is not linked, or does not answer.
    GatewayUnreachable,
    /// 503: too many requests are being executed.
    Overloaded,
    /// 503: it took too long; it may have taken effect on some gateways.
    Timeout,
    /// 503: a gateway keeps as many revocations as it can.
    RevocationsFull,
    /// 503: an earlier command of the batch has failed, or took too long.
    NotExecuted,
}

/// The body of every answer with a status of 400 or above.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetails,
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorDetails {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: String,
    /// Whether the same request may succeed later without a change.
    pub retryable: bool,
    /// Facts, such as `limit`.
    pub details: Map<String, Value>,
    /// The id of the request in the log; also in the header `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Failure {
    /// An error that another attempt does not mend.
    pub fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        let (message, details) = (message.into(), Map::new());
        Self { status, code, message, details, is_retryable: false }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::BadRequest, message)
    }

    /// 403.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, Code::Forbidden, message)
    }

    /// 413, with the limit.
    pub fn too_large(what: &str, limit: usize) -> Self {
        let message = format!("more than {limit} {what}");
        let failure = Self::new(StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge, message);
        failure.with("limit", limit)
    }

    /// 404 of a client.
    #[must_use]
    pub fn client_not_found() -> Self {
        let message = "the client is not connected";
        Self::new(StatusCode::NOT_FOUND, Code::ClientNotFound, message)
    }

    /// 503, which a later attempt may mend.
    pub fn unavailable(code: Code, message: impl Into<String>) -> Self {
        let failure = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        Self { is_retryable: true, ..failure }
    }

    /// 503: the command was not sent to the gateway.
    pub fn unreachable(gateway: impl ToString) -> Self {
        let message = "the client's gateway does not answer";
        Self::unavailable(Code::GatewayUnreachable, message).with("gateway", gateway.to_string())
    }

    /// The same with a fact.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// The body of the answer.
    #[must_use]
    pub fn body(&self, request_id: Option<&str>) -> Value {
        let error = ErrorDetails {
            code: self.code,
            message: self.message.clone(),
            retryable: self.is_retryable,
            details: self.details.clone(),
            request_id: request_id.map(str::to_owned),
        };
        serde_json::to_value(ErrorBody { error }).unwrap_or_else(|_| json!({}))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match &error {
            Error::NoGateway | Error::NoRegister { .. } | Error::Closed => {
                Self::unavailable(Code::NoGateway, message)
            }
            // The operator has to change the settings.
            Error::WrongSecret { .. } => {
                let message = "the secret key of the cluster is not accepted";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::NoGateway, message)
            }
            Error::Unreachable { gateway }
            | Error::Timeout { gateway }
            | Error::Unavailable { gateway } => {
                Self::unavailable(Code::GatewayUnreachable, &message).with("gateway", &**gateway)
            }
            Error::Busy { gateway } => {
                Self::unavailable(Code::Overloaded, &message).with("gateway", &**gateway)
            }
            Error::RevocationsFull { gateway } => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, Code::RevocationsFull, &message).with("gateway", &**gateway)
            }
            Error::Offline { .. } => Self::client_not_found(),
            Error::TooMany { limit, .. } => Self::too_large("names or ids", *limit),
            Error::TooLarge { limit } => Self::too_large("bytes", *limit),
            Error::Name(_)
            | Error::ClientId(_)
            | Error::Close(_)
            | Error::Token(_)
            | Error::Session(_) => Self::bad_request(message),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, message),
        }
    }
}
