//! The bodies with which servers publish, read and checked.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::attributes::{Attributes, UnknownAttribute};
use crate::{
    SocketId,
    channel::{Channel, InvalidChannel, Kind},
    socket_id::InvalidSocketId,
};

/// The most channels of one event.
pub(crate) const MAX_CHANNELS: usize = 100;

/// The most events of one batch.
pub(crate) const MAX_BATCH: usize = 10;

/// The longest name of an event, in characters.
pub(crate) const MAX_NAME: usize = 200;

/// Prefixes of the names of events that only the protocol itself sends.
const RESERVED: [&str; 2] = ["pusher:", "pusher_internal:"];

/// An event to publish, within all limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    pub(crate) name: String,
    /// As it goes out to clients.
    pub(crate) data: String,
    /// Each once; never empty.
    pub(crate) channels: Vec<Channel>,
    /// The client that does not receive it.
    pub(crate) exclude: Option<SocketId>,
    /// The attributes of each channel that the answer has.
    pub(crate) info: Attributes,
}

/// The reason for which a body is refused, as its sender reads it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidBody {
    #[error("The body is not the expected JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("Missing required parameter: {0}")]
    Missing(&'static str),
    #[error("The event name is empty")]
    NoName,
    #[error("The event name exceeds the allowed maximum ({MAX_NAME} characters): it has {0}")]
    LongName(usize),
    #[error("Event names that begin with pusher: or pusher_internal: are reserved")]
    ReservedName,
    /// The only fault of size: its status is 413.
    #[error(
        "The data content of this event exceeds the allowed maximum ({limit} bytes, \
         max_event_size of the app): it has {found}"
    )]
    LongData { limit: usize, found: usize },
    #[error("An event needs between 1 and {MAX_CHANNELS} channels: there are {0}")]
    Channels(usize),
    #[error("An event has either channel or channels, not both")]
    BothChannels,
    /// The answer has one element for each event, and limits count events.
    #[error("An event of a batch has one channel, not channels")]
    SeveralInBatch,
    #[error("Invalid channel {0:?}: {1}")]
    Channel(String, InvalidChannel),
    #[error("An event for an encrypted channel has no other channels")]
    SeveralEncrypted,
    #[error("Invalid socket_id: {0}")]
    SocketId(#[from] InvalidSocketId),
    #[error(transparent)]
    Info(#[from] UnknownAttribute),
    #[error("Batch too large: {0} events, the allowed maximum is {MAX_BATCH}")]
    LongBatch(usize),
    #[error("Event {0} of the batch: {1}")]
    InBatch(usize, Box<Self>),
}

impl InvalidBody {
    /// Whether a limit of bytes is exceeded.
    pub(crate) fn is_too_large(&self) -> bool {
        match self {
            Self::LongData { .. } => true,
            Self::InBatch(_, error) => error.is_too_large(),
            _ => false,
        }
    }
}

/// An event as servers send it. Further fields are ignored.
#[derive(Deserialize)]
struct Sent<'a> {
    name: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    channel: Option<String>,
    channels: Option<Vec<String>>,
    socket_id: Option<String>,
    info: Option<String>,
}

#[derive(Deserialize)]
struct SentBatch<'a> {
    #[serde(borrow)]
    batch: Vec<Sent<'a>>,
}

/// Reads the body of `events`. `data_limit` is in bytes.
///
/// # Errors
/// The first fault.
pub(crate) fn event(body: &[u8], data_limit: usize) -> Result<Publication, InvalidBody> {
    checked(serde_json::from_slice(body)?, data_limit)
}

/// Reads the body of `batch_events`.
///
/// # Errors
/// The first fault, with the index of its event.
pub(crate) fn batch(body: &[u8], data_limit: usize) -> Result<Vec<Publication>, InvalidBody> {
    let SentBatch { batch } = serde_json::from_slice(body)?;
    if MAX_BATCH < batch.len() {
        return Err(InvalidBody::LongBatch(batch.len()));
    }
    let events = batch.into_iter().enumerate();
    let checked = events.map(|(index, sent)| {
        let event = match sent.channels {
            Some(_) => Err(InvalidBody::SeveralInBatch),
            None => checked(sent, data_limit),
        };
        event.map_err(|error| InvalidBody::InBatch(index, Box::new(error)))
    });
    checked.collect()
}

/// The event of the deprecated way to publish: to the channel of the path, with the name in the
/// query, and the body as its data.
///
/// # Errors
/// The first fault.
pub(crate) fn in_channel(
    channel: Channel,
    name: Option<String>,
    socket_id: Option<String>,
    body: &[u8],
    data_limit: usize,
) -> Result<Publication, InvalidBody> {
    let data = String::from_utf8_lossy(body).into_owned();
    Ok(Publication {
        name: checked_name(name)?,
        data: checked_data(data, data_limit)?,
        channels: Vec::from([channel]),
        exclude: socket_id.map(|id| id.parse()).transpose()?,
        info: Attributes::default(),
    })
}

fn checked(sent: Sent<'_>, data_limit: usize) -> Result<Publication, InvalidBody> {
    let name = checked_name(sent.name)?;
    let data = match sent.data.ok_or(InvalidBody::Missing("data"))?.get() {
        string if string.starts_with('"') => serde_json::from_str(string)?,
        json => json.to_owned(),
    };
    let names = match (sent.channel, sent.channels) {
        (Some(_), Some(_)) => return Err(InvalidBody::BothChannels),
        (Some(channel), None) => Vec::from([channel]),
        (None, Some(channels)) => channels,
        (None, None) => return Err(InvalidBody::Missing("channels")),
    };
    Ok(Publication {
        name,
        data: checked_data(data, data_limit)?,
        channels: checked_channels(names)?,
        exclude: sent.socket_id.map(|id| id.parse()).transpose()?,
        info: sent.info.as_deref().map(Attributes::parse).transpose()?.unwrap_or_default(),
    })
}

fn checked_name(name: Option<String>) -> Result<String, InvalidBody> {
    let name = name.ok_or(InvalidBody::Missing("name"))?;
    let length = name.chars().count();
    match length {
        0 => Err(InvalidBody::NoName),
        _ if MAX_NAME < length => Err(InvalidBody::LongName(length)),
        _ if RESERVED.iter().any(|prefix| name.starts_with(prefix)) => {
            Err(InvalidBody::ReservedName)
        }
        _ => Ok(name),
    }
}

fn checked_data(data: String, limit: usize) -> Result<String, InvalidBody> {
    match data.len() <= limit {
        true => Ok(data),
        false => Err(InvalidBody::LongData { limit, found: data.len() }),
    }
}

fn checked_channels(names: Vec<String>) -> Result<Vec<Channel>, InvalidBody> {
    if names.is_empty() || MAX_CHANNELS < names.len() {
        return Err(InvalidBody::Channels(names.len()));
    }
    let mut channels: Vec<Channel> = Vec::with_capacity(names.len());
    for name in names {
        let parsed = Channel::parse(&name);
        let channel = parsed.map_err(|error| InvalidBody::Channel(shown(&name), error))?;
        // At most a hundred: a list is searched faster than a set is made.
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    let has_encrypted = channels.iter().any(|channel| channel.kind() == Kind::Encrypted);
    match has_encrypted && channels.len() != 1 {
        true => Err(InvalidBody::SeveralEncrypted),
        false => Ok(channels),
    }
}

/// The beginning of a name, for an error.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(50).collect()
}

#[cfg(test)]
mod tests;
