//! Frames that end their link.

use bytes::Bytes;
use thiserror::Error;

use crate::php::{JsonDecodeError, Value, json_decode};

/// A frame that ends its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidRequest {
    /// A handshake without a secret, which is not the same as an empty one.
    #[error("a handshake without a secret")]
    Hello,
    /// The JSON of the body is longer than a message may be.
    #[error("a body of more than {limit} bytes of JSON")]
    Body { limit: usize },
    /// A query in JSON that PHP would read, and that exceeds our limits: the peer would read an
    /// empty reply as the answer.
    #[error("a query in JSON: {0}")]
    Query(JsonDecodeError),
}

/// A query in JSON; `None` if PHP cannot read it either.
pub(super) fn parse_query(text: &Bytes) -> Result<Option<Value>, InvalidRequest> {
    match json_decode(text) {
        Ok(value) => Ok(Some(value)),
        Err(JsonDecodeError::Syntax { .. }) => Ok(None),
        Err(limit @ (JsonDecodeError::TooDeep | JsonDecodeError::TooMany)) => {
            Err(InvalidRequest::Query(limit))
        }
    }
}
