//! A request for a receiver, and its outcomes.

use std::{fmt, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use thiserror::Error;

/// Requests with the same key are sent one at a time, in the order in which they were posted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OrderKey(Arc<[u8]>);

impl OrderKey {
    /// A key: the name of a client, group or channel.
    pub fn new(name: impl AsRef<[u8]>) -> Self {
        Self(name.as_ref().into())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// One of the attempts to send a request.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// The time of the host's clock, in seconds since 1970.
    pub unix_seconds: u64,
}

/// The headers of a request, which may differ from attempt to attempt: a signature has the time of
/// its request. A [`HeaderMap`] is the same headers each time.
pub trait Head: fmt::Debug + Send + Sync + 'static {
    /// The headers of an attempt. `Host` and `Content-Length` are added, and `User-Agent` if it is
    /// missing.
    fn headers(&self, attempt: &Attempt, body: &Bytes) -> HeaderMap;
}

impl Head for HeaderMap {
    fn headers(&self, _: &Attempt, _: &Bytes) -> HeaderMap {
        self.clone()
    }
}

/// A request for a receiver: a POST. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HookRequest {
    /// The headers.
    pub head: Arc<dyn Head>,
    /// The body.
    pub body: Bytes,
}

impl HookRequest {
    /// A request with these headers and this body.
    pub fn new(head: impl Head, body: impl Into<Bytes>) -> Self {
        Self { head: Arc::new(head), body: body.into() }
    }
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct HookResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, of at most [`MAX_RESPONSE`](super::MAX_RESPONSE) bytes.
    pub body: Bytes,
}

impl HookResponse {
    /// A header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The time of `Retry-After`, if it is in seconds.
    pub fn retry_after(&self) -> Option<Duration> {
        self.header("retry-after").and_then(crate::schedule::retry_after)
    }
}

/// Why a request has no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Failure {
    /// The receiver has answered 410 before: no request is sent until the settings are read again.
    #[error("the receiver has answered 410")]
    Off,
    /// The circuit is open: the next request is sent after this time.
    #[error("the circuit is open for another {0:?}")]
    Open(Duration),
    /// The receiver has too many requests at a time.
    #[error("the receiver has too many requests at a time")]
    Busy,
    /// It cannot be connected to.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// It has not answered in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection ended before the answer was complete, or the answer is no HTTP.
    #[error("no complete answer: {0}")]
    Broken(#[source] hyper::Error),
    /// It does not allow requests of the origin.
    #[error("the receiver does not allow the origin (WebHook-Allowed-Origin)")]
    Origin,
    /// The answer, with this status, has a body of more than
    /// [`MAX_RESPONSE`](super::MAX_RESPONSE) bytes.
    #[error("the body of the answer, with status {0}, is too long")]
    TooLong(StatusCode),
}

/// The end of a request that was sent until it was answered.
#[derive(Debug)]
#[non_exhaustive]
pub enum Delivered {
    /// Answered with 2xx.
    Accepted(HookResponse),
    /// Answered with 2xx, and with a body of more than [`MAX_RESPONSE`](super::MAX_RESPONSE)
    /// bytes.
    TooLong(StatusCode),
    /// Answered with a 4xx that is not sent again.
    Refused(HookResponse),
    /// The receiver is switched off: it has answered 410, to this request or to one before.
    Off,
    /// No attempt was left.
    GivenUp,
    /// The process stops.
    Stopped,
}

/// There is no room in the queue of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the queue of the receiver is full")]
pub struct QueueFull;
