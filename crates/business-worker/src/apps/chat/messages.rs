//! The messages between the chat's page and the chat server.

use push_suite_worker::{ClientId, Group};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use super::text::escape;

/// Maximum length of a name, in characters.
pub(super) const MAX_NAME: usize = 32;

/// Maximum length of a message's content, in characters.
pub(super) const MAX_CONTENT: usize = 4_000;

/// Maximum length of a room id, in characters.
pub(super) const MAX_ROOM: usize = 64;

/// Messages from the page. Unknown fields are ignored.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum FromPage {
    /// Sets a name and enters a room.
    Login { client_name: Text, room_id: RoomId },
    /// Sends to the room, or to one client, by id or by name.
    Say {
        #[serde(default)]
        to_client_id: Text,
        #[serde(default)]
        to_client_name: Text,
        content: Text,
    },
    /// Changes the name.
    Nick { client_name: Text },
    /// Removes a member from the room, and closes it.
    Kick { client_id: Text },
    /// Lists the members of the room.
    Who,
    /// The response to a `ping`.
    Pong,
}

/// A parsed message.
#[derive(Debug, PartialEq)]
pub(super) enum Read {
    /// A message of the page.
    Message(FromPage),
    /// A message of the page, with something missing or of the wrong kind.
    Malformed,
    /// Anything else, which is ignored.
    Unknown,
}

/// Parses a message. If that fails, a second pass distinguishes a malformed message from an unknown
/// one.
pub(super) fn read(body: &[u8]) -> Read {
    if let Ok(message) = serde_json::from_slice(body) {
        return Read::Message(message);
    }
    let object: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    match object.get("type").and_then(Value::as_str) {
        Some("login" | "say" | "nick" | "kick" | "who" | "pong") => Read::Malformed,
        _ => Read::Unknown,
    }
}

/// Text; a number is converted.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            Value::Number(number) => Ok(Self(number.to_string())),
            Value::Null => Ok(Self::default()),
            _ => Err(serde::de::Error::custom("not text")),
        }
    }
}

/// A room id: text or a number, returned in the form given; `1` and `"1"` are the same room.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct RoomId(Value);

impl TryFrom<Value> for RoomId {
    type Error = &'static str;

    fn try_from(room: Value) -> Result<Self, Self::Error> {
        match room {
            Value::String(_) | Value::Number(_) => Ok(Self(room)),
            _ => Err("a room is text or a number"),
        }
    }
}

impl RoomId {
    /// The group of the room's members; `None` for an empty id.
    pub(super) fn group(&self) -> Option<Group> {
        Group::new(self.text()).ok()
    }

    /// The id as text.
    pub(super) fn text(&self) -> String {
        match &self.0 {
            Value::String(text) => text.clone(),
            number => number.to_string(),
        }
    }

    /// The id in the form given.
    pub(super) fn as_given(&self) -> Value {
        self.0.clone()
    }
}

impl Serialize for RoomId {
    /// Text is escaped like a name.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Value::String(text) => serializer.serialize_str(&escape(text)),
            number => number.serialize(serializer),
        }
    }
}

/// Messages to the page. Names and contents are already escaped.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ToPage<'a> {
    /// A client has entered; the client itself also receives the room and its members.
    Login {
        #[serde(serialize_with = "id")]
        client_id: ClientId,
        client_name: &'a str,
        time: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        room_id: Option<&'a RoomId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_list: Option<&'a Members>,
    },
    /// A chat message.
    Say {
        #[serde(serialize_with = "id")]
        from_client_id: ClientId,
        from_client_name: &'a str,
        to_client_id: &'a str,
        content: &'a str,
        time: &'a str,
    },
    /// A client has left.
    Logout {
        #[serde(serialize_with = "id")]
        from_client_id: ClientId,
        from_client_name: &'a str,
        time: &'a str,
    },
    /// A client has changed its name.
    Nick {
        #[serde(serialize_with = "id")]
        client_id: ClientId,
        client_name: &'a str,
        old_name: &'a str,
        time: &'a str,
    },
    /// The members of the room.
    Who { room_id: &'a RoomId, client_list: &'a Members },
    /// The request was refused.
    Error {
        code: &'static str,
        message: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
    },
}

impl ToPage<'_> {
    /// The message as JSON text.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("text, numbers and lists of text are always JSON")
    }
}

/// Clients and their names, serialized as an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members(pub(super) Vec<(ClientId, String)>);

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(Some(self.0.len()))?;
        for (client, name) in &self.0 {
            members.serialize_entry(&format_args!("{client}"), name)?;
        }
        members.end()
    }
}

fn id<S: Serializer>(client: &ClientId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(client)
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NameTooLong,
    ContentTooLong,
    NotLoggedIn,
    NoSuchClient,
    NotAllowed,
    BadRequest,
}

impl Refusal {
    /// The error message for the page.
    pub(super) const fn message(self) -> ToPage<'static> {
        let (code, message, limit) = match self {
            Self::NameTooLong => ("name_too_long", "the name is too long", Some(MAX_NAME)),
            Self::ContentTooLong => {
                ("content_too_long", "the message is too long", Some(MAX_CONTENT))
            }
            Self::NotLoggedIn => ("not_logged_in", "log in first", None),
            Self::NoSuchClient => ("no_such_client", "no such client", None),
            Self::NotAllowed => ("not_allowed", "only the member who came first may do that", None),
            Self::BadRequest => ("bad_request", "a field is missing or invalid", None),
        };
        ToPage::Error { code, message, limit }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_of_the_original_page_are_parsed() {
        let login = br#"{"type":"login","client_name":"bob","room_id":1}"#;
        let Read::Message(FromPage::Login { client_name, room_id }) = read(login) else { panic!() };
        assert_eq!((client_name.0.as_str(), room_id.text().as_str()), ("bob", "1"));
        let say = r#"{"type":"say","to_client_id":"all","to_client_name":"所有人","content":"x"}"#;
        assert!(matches!(read(say.as_bytes()), Read::Message(FromPage::Say { .. })));
        assert_eq!(read(br#"{"type":"pong"}"#), Read::Message(FromPage::Pong));
        let more = br#"{"type":"who","more":[1]}"#;
        assert_eq!(read(more), Read::Message(FromPage::Who), "unknown fields are ignored");
    }

    #[test]
    fn malformed_message_is_distinguished_from_unknown() {
        for text in ["", "hello", "[]", "{}", "1", r#"{"type":"x"}"#, r#"{"type":1}"#, "\u{0}"] {
            assert_eq!(read(text.as_bytes()), Read::Unknown, "{text}");
        }
        for text in [
            r#"{"type":"login"}"#,
            r#"{"type":"login","client_name":"a","room_id":null}"#,
            r#"{"type":"login","client_name":{},"room_id":1}"#,
            r#"{"type":"say","to_client_id":"all"}"#,
            r#"{"type":"say","to_client_id":[],"content":"x"}"#,
            r#"{"type":"nick"}"#,
        ] {
            assert_eq!(read(text.as_bytes()), Read::Malformed, "{text}");
        }
    }

    #[test]
    fn room_id_keeps_its_type_and_names_the_same_group() {
        let (text, number) = (RoomId(json!("1")), RoomId(json!(1)));
        assert_eq!(text.group(), number.group());
        assert_eq!(serde_json::to_value(&text).unwrap(), json!("1"));
        assert_eq!(serde_json::to_value(&number).unwrap(), json!(1));
        assert_eq!(serde_json::to_value(RoomId(json!("<x>"))).unwrap(), json!("&lt;x&gt;"));
        assert_eq!(RoomId(json!("")).group(), None);
    }
}
