//! Messages of clients: parsed once, into types; everything else is a fault.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;
use thiserror::Error;

/// The longest name of an event, in characters.
pub const MAX_EVENT_NAME: usize = 200;

/// The beginning of the names of client events.
const CLIENT: &str = "client-";

/// A message of a client.
#[derive(Debug)]
pub enum ClientMessage<'a> {
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
    /// Subscribes to a channel.
    Subscribe(Subscribe),
    /// Ends a subscription.
    Unsubscribe(Unsubscribe),
    /// Signs in as a user.
    SignIn(SignIn),
    /// An event for the other subscribers of a channel.
    ClientEvent(ClientEvent<'a>),
}

/// The data of `pusher:subscribe`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Subscribe {
    /// The channel, unchecked.
    pub channel: String,
    /// The signature.
    pub auth: Option<String>,
    /// On presence channels, the member as JSON, as the application has signed it.
    pub channel_data: Option<String>,
}

/// The data of `pusher:unsubscribe`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Unsubscribe {
    /// The channel, unchecked.
    pub channel: String,
}

/// The data of `pusher:signin`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct SignIn {
    /// The signature.
    pub auth: String,
    /// The user as JSON, as the application has signed it.
    pub user_data: String,
}

/// A client event.
#[derive(Debug)]
pub struct ClientEvent<'a> {
    /// Its name, which begins with `client-`.
    pub name: Cow<'a, str>,
    /// The channel, unchecked.
    pub channel: Cow<'a, str>,
    /// The data as JSON, as the client has written it.
    pub data: &'a str,
}

/// Not a message of this protocol.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Fault {
    /// Not a JSON object with a text as event.
    #[error("The message is not a JSON object with a text as \"event\": {}", short(.0))]
    Envelope(serde_json::Error),
    /// The data is missing or is not that of this event.
    #[error("The data of {event} is invalid: {}", short(fault))]
    Data {
        /// The event.
        event: &'static str,
        /// The fault.
        fault: serde_json::Error,
    },
    /// An event that clients do not send.
    #[error("Clients do not send events named {0:?}")]
    Unknown(String),
    /// A client event without a channel.
    #[error("A client event has a text as \"channel\"")]
    NoChannel,
    /// The name of a client event is too long.
    #[error("The name of an event has at most {MAX_EVENT_NAME} characters")]
    LongName,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "optional")]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// `Option` alone would own the text.
fn optional<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Ok(Option::<Text<'a>>::deserialize(deserializer)?.map(|text| text.0))
}

impl<'a> ClientMessage<'a> {
    /// Parses the bytes of a message.
    ///
    /// # Errors
    /// If it is not one that a client may send.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let Envelope { event, channel, data } =
            serde_json::from_slice(bytes).map_err(Fault::Envelope)?;
        match &*event {
            "pusher:ping" => Ok(Self::Ping),
            "pusher:pong" => Ok(Self::Pong),
            "pusher:subscribe" => payload("pusher:subscribe", data).map(Self::Subscribe),
            "pusher:unsubscribe" => payload("pusher:unsubscribe", data).map(Self::Unsubscribe),
            "pusher:signin" => payload("pusher:signin", data).map(Self::SignIn),
            name if !name.starts_with(CLIENT) => Err(Fault::Unknown(cut(name, 64).to_owned())),
            name if MAX_EVENT_NAME < name.chars().count() => Err(Fault::LongName),
            _ => {
                let channel = channel.ok_or(Fault::NoChannel)?;
                let data = data.map_or("null", RawValue::get);
                Ok(Self::ClientEvent(ClientEvent { name: event, channel, data }))
            }
        }
    }
}

/// Reads the data of an event: an object, or a text that contains one.
fn payload<T: DeserializeOwned>(event: &'static str, data: Option<&RawValue>) -> Result<T, Fault> {
    let text = data.map_or("null", RawValue::get);
    let parsed = match text.starts_with('"') {
        true => serde_json::from_str::<String>(text).and_then(|inner| serde_json::from_str(&inner)),
        false => serde_json::from_str(text),
    };
    parsed.map_err(|fault| Fault::Data { event, fault })
}

/// The beginning of an error of the parser, which may repeat any text of the message.
pub(crate) fn short(error: &serde_json::Error) -> String {
    cut(&error.to_string(), 200).to_owned()
}

/// The beginning of a text, for messages that repeat something of a client's.
pub fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests;
