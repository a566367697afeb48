//! The content of a message in JSON, and its recipients.

use push_suite_cluster::{ClientId, Exclude, Message};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    bytes_text::from_base64, failure::Failure, limits::MAX_TARGETS, name::Name,
    schema::ClientIdText,
};

/// The recipients of a message: one of the four.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum To {
    /// Every client.
    All(Yes),
    /// These clients.
    Clients(Vec<ClientId>),
    /// Every client of these uids; twice where a uid is listed twice.
    Uids(Vec<Name>),
    /// The members of these groups; a client in two of them receives the message twice.
    Groups(Vec<Name>),
}

/// `true`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "bool")]
pub struct Yes;

impl TryFrom<bool> for Yes {
    type Error = &'static str;

    fn try_from(yes: bool) -> Result<Self, Self::Error> {
        if yes { Ok(Self) } else { Err("must be true") }
    }
}

/// Clients that do not receive the message.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Exclusion {
    /// These clients.
    #[serde(default)]
    #[schema(value_type = Vec<ClientIdText>, max_items = 1000)]
    pub clients: Vec<ClientId>,
    /// Every client of these uids.
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub uids: Vec<Name>,
}

impl Exclusion {
    pub(super) fn check(&self) -> Result<(), Failure> {
        at_most(self.clients.len(), "clients in `exclude`")?;
        at_most(self.uids.len(), "uids in `exclude`")
    }

    pub(super) fn to_exclude(&self) -> Result<Exclude, Failure> {
        let uids = self.uids.iter().map(Name::uid).collect::<Result<Vec<_>, _>>()?;
        Ok(Exclude::uids(uids)?.and_clients(&self.clients))
    }
}

impl To {
    pub(super) fn check(&self) -> Result<(), Failure> {
        let (count, what) = match self {
            Self::All(_) => return Ok(()),
            Self::Clients(clients) => (clients.len(), "clients in `to`"),
            Self::Uids(uids) => (uids.len(), "uids in `to`"),
            Self::Groups(groups) => (groups.len(), "groups in `to`"),
        };
        at_most(count, what)
    }
}

/// # Errors
/// 413 for more than [`MAX_TARGETS`].
pub(crate) fn at_most(count: usize, what: &str) -> Result<(), Failure> {
    match count {
        ..=MAX_TARGETS => Ok(()),
        _ => Err(Failure::too_large(what, MAX_TARGETS)),
    }
}

/// The content of a message: one of `data`, `text` and `base64`.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Any value; the message is its JSON.
    #[serde(default, deserialize_with = "present")]
    pub data: Option<Value>,
    /// The message as text.
    #[serde(default)]
    pub text: Option<String>,
    /// The message in Base64. It is binary unless `binary` is false.
    #[serde(default)]
    pub base64: Option<String>,
    /// Whether it is sent as a binary message.
    #[serde(default)]
    pub binary: Option<bool>,
    /// Whether it is never compressed: for a message with both a secret and text of another origin.
    #[serde(default)]
    pub uncompressed: bool,
}

impl Content {
    /// The message; `None` without any content.
    ///
    /// # Errors
    /// 400 for more than one of `data`, `text` and `base64`, or invalid Base64.
    pub fn message(self) -> Result<Option<Message>, Failure> {
        let message = match (self.data, self.text, self.base64) {
            (None, None, None) => return Ok(None),
            (Some(data), None, None) => Message::json(&data)
                .map_err(|error| Failure::bad_request(format!("`data`: {error}")))?,
            (None, Some(text), None) => Message::text(text),
            (None, None, Some(base64)) => match (from_base64(&base64), self.binary) {
                (None, _) => return Err(Failure::bad_request("`base64` is not Base64")),
                (Some(bytes), Some(false)) => {
                    Message::text(String::from_utf8(bytes).map_err(|_| {
                        Failure::bad_request("`binary` is false, but `base64` is not UTF-8")
                    })?)
                }
                (Some(bytes), _) => Message::binary(bytes),
            },
            _ => return Err(Failure::bad_request("set one of `data`, `text` and `base64`")),
        };
        let message = match self.binary {
            Some(true) => Message::binary(message.body),
            _ => message,
        };
        Ok(Some(if self.uncompressed { message.uncompressed() } else { message }))
    }
}

/// For `#[serde(deserialize_with)]`: a field that is present, also if it is null.
pub(super) fn present<'de, D: Deserializer<'de>>(de: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(de).map(Some)
}
