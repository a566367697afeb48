//! Messages to and from a client.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::Value;

use crate::Close;

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// How it is framed.
    pub kind: MessageKind,
    /// The content.
    pub body: Bytes,
    /// Whether the gateway must not compress it; see [`uncompressed`](Self::uncompressed). Without
    /// meaning for a raw message, which never is.
    pub uncompressed: bool,
}

/// The serialized form of a message. Variants are numbered by position on the wire.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Encoded {
    Text,
    Binary,
    Raw,
    UncompressedText,
    UncompressedBinary,
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let encoded = match (self.kind, self.uncompressed) {
            (MessageKind::Text, false) => Encoded::Text,
            (MessageKind::Binary, false) => Encoded::Binary,
            (MessageKind::Raw, _) => Encoded::Raw,
            (MessageKind::Text, true) => Encoded::UncompressedText,
            (MessageKind::Binary, true) => Encoded::UncompressedBinary,
        };
        encoded.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (kind, uncompressed) = match Encoded::deserialize(deserializer)? {
            Encoded::Text => (MessageKind::Text, false),
            Encoded::Binary => (MessageKind::Binary, false),
            Encoded::Raw => (MessageKind::Raw, false),
            Encoded::UncompressedText => (MessageKind::Text, true),
            Encoded::UncompressedBinary => (MessageKind::Binary, true),
        };
        Ok(Self { kind, body: Bytes::new(), uncompressed })
    }
}

impl Message {
    /// A text message.
    pub fn text(body: impl Into<String>) -> Self {
        Self { kind: MessageKind::Text, body: Bytes::from(body.into()), uncompressed: false }
    }

    /// A binary message.
    pub fn binary(body: impl Into<Bytes>) -> Self {
        Self { kind: MessageKind::Binary, body: body.into(), uncompressed: false }
    }

    /// Bytes that are already framed for the client's protocol, see [`MessageKind::Raw`].
    pub fn raw(body: impl Into<Bytes>) -> Self {
        Self { kind: MessageKind::Raw, body: body.into(), uncompressed: false }
    }

    /// The same message, never compressed on the way to a client. For a message that contains both a
    /// secret and text of another origin, such as a client: the size of the compressed message
    /// would tell an observer of the connection whether the text resembles the secret.
    #[must_use]
    pub fn uncompressed(self) -> Self {
        Self { uncompressed: true, ..self }
    }

    /// A text message: a value as JSON.
    ///
    /// # Errors
    /// When the value cannot be written as JSON: a map whose keys are not strings, or a failure of
    /// its own `Serialize`.
    pub fn json(value: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(Self::text)
    }

    /// Reads the body, text or binary, as JSON.
    ///
    /// # Errors
    /// When it is not JSON, or not that of a `T`.
    pub fn parse_json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// The body as text, if it is UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok()
    }
}

/// Conversions into a [`Message`], and so into a [`Close`] with that as its last message.
macro_rules! from {
    ($(#[$doc:meta] $from:ty, $value:ident => $message:expr;)*) => {$(
        #[$doc]
        impl From<$from> for Message {
            fn from($value: $from) -> Self {
                $message
            }
        }

        #[$doc]
        impl From<$from> for Close {
            fn from($value: $from) -> Self {
                $message.into()
            }
        }
    )*};
}

from! {
    /// A text message.
    &str, text => Message::text(text);
    /// A text message.
    String, text => Message::text(text);
    /// A text message.
    &String, text => Message::text(text);
    /// A text message: the value as JSON.
    Value, value => Message::text(value.to_string());
    /// A text message: the value as JSON.
    &Value, value => Message::text(value.to_string());
    /// A binary message.
    Bytes, bytes => Message::binary(bytes);
    /// A binary message.
    Vec<u8>, bytes => Message::binary(bytes);
    /// A binary message.
    &[u8], bytes => Message::binary(Bytes::copy_from_slice(bytes));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_json_and_bytes_are_messages() {
        assert_eq!(Message::from("a"), Message::text("a"));
        assert_eq!(Message::from(json!({"a": 1})), Message::text(r#"{"a":1}"#));
        assert_eq!(Message::from(vec![1, 2]), Message::binary(vec![1, 2]));
    }

    #[test]
    fn json_is_written_and_read_as_a_type() {
        let message = Message::json(&("a", 1)).unwrap();
        assert_eq!(message, Message::text(r#"["a",1]"#));
        assert_eq!(message.parse_json::<(String, u8)>().unwrap(), ("a".to_owned(), 1));
        assert!(message.parse_json::<u8>().is_err());
    }
}
