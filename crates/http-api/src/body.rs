//! The body of a request: bounded in size and time, and read as JSON.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::failure::{Code, Failure};

/// Reads a body of at most `most` bytes within `time`.
///
/// # Errors
/// 413, 408, or 400 for a body that breaks off.
pub async fn read_body(body: Body, most: usize, time: Duration) -> Result<Bytes, Failure> {
    let whole = Limited::new(body, most).collect();
    match timeout(time, whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Failure::too_large("bytes in the body", most))
        }
        Ok(Err(_)) => Err(Failure::bad_request("the body is incomplete")),
        Err(_) => {
            let message = format!("the body did not arrive within {} s", time.as_secs());
            let failure = Failure::new(StatusCode::REQUEST_TIMEOUT, Code::RequestTimeout, message);
            Err(failure.with("limit", time.as_secs()))
        }
    }
}

/// Checks that a body, if there is one, is JSON as its head says.
///
/// # Errors
/// 415.
pub(crate) fn check_type(headers: &HeaderMap) -> Result<(), Failure> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match kind.eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => {
            let message = "the body must be application/json";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            Err(Failure::new(status, Code::UnsupportedMediaType, message))
        }
    }
}

/// Reads a body as JSON.
///
/// # Errors
/// 400, with the place and the problem.
pub(crate) fn json<T: DeserializeOwned>(body: &Bytes) -> Result<T, Failure> {
    if body.is_empty() {
        return Err(Failure::bad_request("the body is empty; it must be JSON"));
    }
    serde_json::from_slice(body).map_err(|error| Failure::bad_request(format!("body: {error}")))
}
