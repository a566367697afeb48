//! The content of a frame's body: bytes, or a PHP value.

use bytes::Bytes;

use super::{Frame, InvalidRequest, MAX_FRAME};
use crate::{
    Message,
    php::{JsonEncodeError, Value, float_to_text, json_encode, unserialize},
};

/// A frame's body.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    /// Raw bytes, or a string or other scalar.
    Text(Bytes),
    /// `null`.
    Null,
    /// An array or object, as the JSON that a WebSocket client receives.
    Json(Bytes),
}

impl Body {
    /// Reads a frame's body. PHP reads an invalid serialized value as `false`, which becomes an
    /// empty text.
    pub(super) fn of(frame: &Frame) -> Result<Self, InvalidRequest> {
        if frame.body_is_scalar() {
            return Ok(Self::Text(frame.body.clone()));
        }
        let Ok(document) = unserialize(&frame.body) else {
            return Ok(Self::Text(Bytes::new()));
        };
        Ok(match document.root {
            Value::Null => Self::Null,
            Value::Bool(bool) => Self::Text(Bytes::from_static(if bool { b"1" } else { b"" })),
            Value::Int(int) => Self::Text(int.to_string().into()),
            Value::Float(float) => Self::Text(float_to_text(float).into()),
            Value::Str(text) => Self::Text(text),
            Value::Array(_)
            | Value::Object(_)
            | Value::Custom(_)
            | Value::Case(_)
            | Value::Shared(_) => match json_encode(&document, MAX_FRAME) {
                Ok(text) => Self::Json(text.into()),
                Err(JsonEncodeError::Unwritable) => Self::Text(Bytes::new()),
                Err(JsonEncodeError::TooLong(limit)) => return Err(InvalidRequest::Body { limit }),
            },
        })
    }

    /// The message that a client receives.
    pub(super) fn into_message(self) -> Message {
        let body = match self {
            Self::Text(body) | Self::Json(body) => body,
            Self::Null => Bytes::from_static(b"null"),
        };
        Message { body, ..Message::default() }
    }
}
