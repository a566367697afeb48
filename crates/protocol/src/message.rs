//! Messages to and from a client.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// How a message is framed for its client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MessageKind {
    /// A text message. A text frame must be UTF-8; the gateway sends a text message that is not as
    /// a binary one, unless it is configured to send all messages as text.
    #[default]
    Text,
    /// A binary message.
    Binary,
    /// Bytes already framed for the client's protocol: written to the socket unchanged.
    Raw,
}

/// One message: its bytes, which clones share without a copy, and their framing.
///
/// In the native protocol the bytes follow the header (see
/// [`codec::native`](crate::codec::native)), which is why they are not part of the serialized form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// How it is framed.
    pub kind: MessageKind,
    /// The content.
    #[serde(skip)]
    pub body: Bytes,
}

impl Message {
    /// A text message.
    pub fn text(body: impl Into<String>) -> Self {
        Self { kind: MessageKind::Text, body: Bytes::from(body.into()) }
    }

    /// A binary message.
    pub fn binary(body: impl Into<Bytes>) -> Self {
        Self { kind: MessageKind::Binary, body: body.into() }
    }

    /// The body as text, if it is UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok()
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}
