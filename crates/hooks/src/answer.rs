//! The answers of receivers. Unknown keys are errors, so that a misspelt one is noticed.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::StatusCode;
use http_api::{Operation, limits::MAX_COMMANDS};
use protocol::{Close, Grant, Group, InvalidAnswer, InvalidClose, InvalidName, Message, Uid};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};
use thiserror::Error;

/// Not an answer to an event.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// Not JSON of this form.
    #[error("not the JSON of an answer: {0}")]
    Json(#[from] serde_json::Error),
    /// A close that an application may not send.
    #[error(transparent)]
    Close(#[from] InvalidClose),
    /// An invalid uid or group.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A grant that a handshake cannot have.
    #[error(transparent)]
    Grant(#[from] InvalidAnswer),
    /// More commands than a batch may have.
    #[error("more than {MAX_COMMANDS} commands")]
    TooManyCommands,
    /// The body is longer than the limit.
    #[error("the body is longer than 1 MiB")]
    TooLong,
}

/// The answer to `gw.connect` that accepts a client.
#[derive(Debug, Default)]
pub struct Accepted {
    /// The uid to bind.
    pub uid: Option<Uid>,
    /// The groups to join.
    pub groups: Vec<Group>,
    /// The client's session.
    pub session: Map<String, Value>,
    /// The subprotocol to select.
    pub subprotocol: Option<String>,
    /// The first messages.
    pub send: Vec<Message>,
    /// Headers of the response to the handshake.
    pub headers: Vec<(String, String)>,
    /// When the connection expires, in seconds since 1970.
    pub expires_at: Option<u64>,
}

/// The answer to `gw.message`.
#[derive(Debug, Default)]
pub struct Answered {
    /// The client's session from now on.
    pub session: Option<Map<String, Value>>,
    /// Messages for the client.
    pub reply: Vec<Message>,
    /// Operations of the push API, in order.
    pub commands: Vec<Operation>,
    /// Closes the client.
    pub close: Option<Close>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConnectJson {
    uid: Option<Name>,
    #[serde(default)]
    groups: Vec<Name>,
    session: Option<Map<String, Value>>,
    subprotocol: Option<String>,
    #[serde(default)]
    send: Vec<Outgoing>,
    #[serde(default)]
    headers: BTreeMap<String, Values>,
    expires_at: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageJson {
    #[serde(default)]
    reply: Vec<Outgoing>,
    #[serde(default)]
    commands: Vec<Operation>,
    session: Option<Map<String, Value>>,
    close: Option<CloseJson>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseJson {
    #[serde(default = "normal")]
    code: u16,
    #[serde(default)]
    reason: String,
}

const fn normal() -> u16 {
    1000
}

/// A uid or group: text, or a number.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            Value::Number(number) if !number.is_f64() => Ok(Self(number.to_string())),
            _ => Err(D::Error::custom("a name is text or a whole number")),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Many(Vec<String>),
}

/// A message: text, or an object with one of `text`, `base64` and `data`.
struct Outgoing(Message);

impl<'de> Deserialize<'de> for Outgoing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "lowercase")]
        enum Kind {
            Text(String),
            Base64(String),
            Data(Value),
        }
        let kind = match Value::deserialize(deserializer)? {
            Value::String(text) => Kind::Text(text),
            value => Kind::deserialize(value).map_err(D::Error::custom)?,
        };
        match kind {
            Kind::Text(text) => Ok(Message::text(text)),
            Kind::Base64(text) => match STANDARD.decode(text) {
                Ok(bytes) => Ok(Message::binary(bytes)),
                Err(_) => Err(D::Error::custom("not base64")),
            },
            Kind::Data(value) => Message::json(&value).map_err(D::Error::custom),
        }
        .map(Self)
    }
}

/// Reads the answer to `gw.connect`. An empty body accepts the client, and so does one that is not
/// JSON, which is ignored.
///
/// # Errors
/// When it is JSON of another form, or contains something invalid.
pub fn connect(content_type: &str, body: &[u8]) -> Result<Accepted, Unreadable> {
    if body.is_empty() || !is_json(content_type) {
        return Ok(Accepted::default());
    }
    let ConnectJson { uid, groups, session, subprotocol, send, headers, expires_at } =
        serde_json::from_slice(body)?;
    let accepted = Accepted {
        uid: uid.map(|Name(uid)| Uid::new(uid)).transpose()?,
        groups: groups
            .into_iter()
            .map(|Name(group)| Group::new(group))
            .collect::<Result<_, _>>()?,
        session: session.unwrap_or_default(),
        subprotocol,
        send: send.into_iter().map(|Outgoing(message)| message).collect(),
        headers: headers
            .into_iter()
            .flat_map(|(name, values)| match values {
                Values::One(value) => Vec::from([(name, value)]),
                Values::Many(values) => {
                    values.into_iter().map(|value| (name.clone(), value)).collect()
                }
            })
            .collect(),
        expires_at,
    };
    accepted.grant()?;
    Ok(accepted)
}

impl Accepted {
    /// All that is granted with the handshake, without the session.
    ///
    /// # Errors
    /// When there is too much of something, or a header is not allowed.
    pub fn grant(&self) -> Result<Grant, InvalidAnswer> {
        let mut grant = Grant::new();
        if let Some(uid) = &self.uid {
            grant = grant.with_uid(uid.clone())?;
        }
        for group in &self.groups {
            grant = grant.with_group(group.clone())?;
        }
        if let Some(name) = &self.subprotocol {
            grant = grant.with_subprotocol(name)?;
        }
        for (name, value) in &self.headers {
            grant = grant.with_header(name, value)?;
        }
        Ok(grant)
    }
}

/// Reads the answer to `gw.message`. An empty one, or one with 204, does nothing; one that is not
/// JSON is the reply as it is.
///
/// # Errors
/// When it is JSON of another form, or its close is not one of an application.
pub fn message(
    status: StatusCode,
    content_type: &str,
    body: &Bytes,
) -> Result<Answered, Unreadable> {
    if body.is_empty() || status == StatusCode::NO_CONTENT {
        return Ok(Answered::default());
    }
    if !is_json(content_type) {
        let text = essence(content_type).starts_with("text/");
        let reply = match std::str::from_utf8(body) {
            Ok(body) if text => Message::text(body),
            _ => Message::binary(body.clone()),
        };
        return Ok(Answered { reply: Vec::from([reply]), ..Answered::default() });
    }
    let MessageJson { reply, commands, session, close } = serde_json::from_slice(body)?;
    if MAX_COMMANDS < commands.len() {
        return Err(Unreadable::TooManyCommands);
    }
    Ok(Answered {
        session,
        reply: reply.into_iter().map(|Outgoing(message)| message).collect(),
        commands,
        close: close.map(|close| Close::new(close.code, close.reason)).transpose()?,
    })
}

/// Reads the answer to `gw.close`: its commands. One that is not JSON is ignored.
///
/// # Errors
/// When it is JSON of another form.
pub fn close(content_type: &str, body: &[u8]) -> Result<Vec<Operation>, Unreadable> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct CloseAnswer {
        #[serde(default)]
        commands: Vec<Operation>,
    }
    if body.is_empty() || !is_json(content_type) {
        return Ok(Vec::new());
    }
    let CloseAnswer { commands } = serde_json::from_slice(body)?;
    match commands.len() {
        ..=MAX_COMMANDS => Ok(commands),
        _ => Err(Unreadable::TooManyCommands),
    }
}

/// Reads the answer to `gw.refresh`: when the connection expires from now on, in seconds since 1970;
/// `None` if that does not change. One that is not JSON is ignored.
///
/// # Errors
/// When it is JSON of another form.
pub fn refresh(content_type: &str, body: &[u8]) -> Result<Option<u64>, Unreadable> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct RefreshAnswer {
        expires_at: Option<u64>,
    }
    if body.is_empty() || !is_json(content_type) {
        return Ok(None);
    }
    let RefreshAnswer { expires_at } = serde_json::from_slice(body)?;
    Ok(expires_at)
}

/// The text of a refusal: `error.message` of a JSON body; empty if there is none.
pub fn refusal(content_type: &str, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refused {
        error: Message,
    }
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    let read = || serde_json::from_slice(body).ok().map(|refused: Refused| refused.error.message);
    match is_json(content_type) {
        true => read().unwrap_or_default(),
        false => String::new(),
    }
}

fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a content type is JSON.
fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    essence == "application/json" || essence.ends_with("+json")
}

#[cfg(test)]
mod tests;
