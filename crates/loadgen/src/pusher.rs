//! The Pusher protocol as a load generator needs it: what subscribers send and receive, and events
//! that are published with the signed HTTP API.

pub(crate) mod http;

use std::str::FromStr;

use clap::ValueEnum;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest as _, Md5};
use sha2::Sha256;

use crate::{
    protocol::ServerMessage,
    stamp::{self, Stamp},
    target::Target,
};

/// Settings of a run in addition to the URL of the WebSocket listener.
#[derive(Clone, Debug)]
pub(crate) struct Pusher {
    pub(crate) app: App,
    /// The HTTP API.
    pub(crate) http: Target,
    pub(crate) channels: ChannelType,
}

/// An app of the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct App {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) secret: String,
}

impl FromStr for App {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, ':').map(str::to_owned);
        let mut next = || parts.next().filter(|part| !part.is_empty()).ok_or("not ID:KEY:SECRET");
        Ok(Self { id: next()?, key: next()?, secret: next()? })
    }
}

/// The type of the channels of a run.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum ChannelType {
    #[default]
    Public,
    /// Each subscription is signed.
    Private,
    /// Each client is a member of its own.
    Presence,
}

/// The length of every channel name, so that the length of the data of an event follows from that
/// of the message.
const NAME: usize = 21;

/// The bytes of an event besides its data, in whatever order its keys are.
const AROUND: usize = r#"{"event":"m","channel":"","data":""}"#.len() + NAME;

/// The most bytes of a message that are before the stamp of an event, or after which a socket id
/// begins.
pub(crate) const FRONT: usize = 97;

impl ChannelType {
    /// The name of a channel of this type.
    pub(crate) fn name(self, number: usize) -> String {
        let prefix = match self {
            Self::Public => "bench-",
            Self::Private => "private-bench-",
            Self::Presence => "presence-bench-",
        };
        format!("{prefix}{number:0width$}", width = NAME - prefix.len())
    }
}

impl Pusher {
    /// The path of the WebSocket listener.
    pub(crate) fn path(app: &App) -> String {
        format!("/app/{}?protocol=7&client=bench&version=1", app.key)
    }

    /// The message with which a client subscribes to a channel.
    pub(crate) fn subscribe(&self, socket_id: &str, client: usize, channel: &str) -> Vec<u8> {
        let signed = |rest: &str| {
            let signature = sign(&self.app.secret, &format!("{socket_id}:{channel}{rest}"));
            format!("{}:{signature}", self.app.key)
        };
        let data = match self.channels {
            ChannelType::Public => serde_json::json!({ "channel": channel }),
            ChannelType::Private => serde_json::json!({ "channel": channel, "auth": signed("") }),
            ChannelType::Presence => {
                let member = format!(r#"{{"user_id":"{client}","user_info":{{"name":"bench"}}}}"#);
                let auth = signed(&format!(":{member}"));
                serde_json::json!({ "channel": channel, "auth": auth, "channel_data": member })
            }
        };
        serde_json::json!({ "event": "pusher:subscribe", "data": data }).to_string().into_bytes()
    }

    /// The request that publishes an event, whose data is a message with this stamp and size, at a
    /// time in Unix seconds. Replaces the content of `out`.
    pub(crate) fn publish(
        &self,
        channel: &str,
        stamp: &Stamp,
        size: usize,
        now: u64,
        out: &mut Vec<u8>,
    ) {
        let mut body = Vec::with_capacity(size + 64);
        body.extend_from_slice(br#"{"name":"m","data":"m"#);
        body.extend_from_slice(&stamp.text());
        body.resize(body.len() + size.saturating_sub(stamp::SIZE), b'x');
        body.extend_from_slice(br#"","channels":[""#);
        body.extend_from_slice(channel.as_bytes());
        body.extend_from_slice(br#""]}"#);
        let App { id, key, secret } = &self.app;
        let path = format!("/apps/{id}/events");
        let md5 = hex(&Md5::digest(&body));
        // In alphabetical order, as they are signed.
        let query = format!("auth_key={key}&auth_timestamp={now}&auth_version=1.0&body_md5={md5}");
        let signature = sign(secret, &format!("POST\n{path}\n{query}"));
        out.clear();
        out.extend_from_slice(
            format!(
                "POST {path}?{query}&auth_signature={signature} HTTP/1.1\r\nHost: {}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                self.http.host,
                body.len()
            )
            .as_bytes(),
        );
        out.extend_from_slice(&body);
    }
}

/// Decodes a message of the server, of which the front is known.
pub(crate) fn read(front: &[u8], size: u64) -> ServerMessage<'_> {
    let is = |event: &[u8]| after(front, event).is_some();
    // Most messages are these.
    if is(br#""event":"m""#)
        && let Some(data) = after(front, br#""data":""#)
    {
        let size = size.saturating_sub(AROUND as u64);
        let len = usize::try_from(size).unwrap_or(usize::MAX).min(data.len());
        return ServerMessage::Message(&data[..len], size);
    }
    if is(br#""event":"pusher:connection_established""#) {
        let rest = after(front, br#"socket_id\":\""#).unwrap_or_default();
        let end = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.');
        return ServerMessage::Welcome(&rest[..end.unwrap_or(0)]);
    }
    if is(br#""event":"pusher_internal:subscription_succeeded""#) {
        return ServerMessage::Subscribed;
    }
    if is(br#""event":"pusher:error""#) || is(br#""event":"pusher:subscription_error""#) {
        return ServerMessage::Refused(front);
    }
    if is(br#""event":"pusher:ping""#) {
        return ServerMessage::Request(br#"{"event":"pusher:pong","data":"{}"}"#);
    }
    ServerMessage::Other
}

/// The bytes behind the first occurrence of some others.
fn after<'a>(bytes: &'a [u8], what: &[u8]) -> Option<&'a [u8]> {
    let at = bytes.windows(what.len()).position(|window| window == what)?;
    Some(&bytes[at + what.len()..])
}

/// HMAC-SHA256 in hexadecimal.
fn sign(secret: &str, text: &str) -> String {
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes());
    let mut mac = mac.expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    hex(&mac.finalize().into_bytes())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = vec![0; bytes.len() * 2];
    for (digits, byte) in text.chunks_exact_mut(2).zip(bytes) {
        stamp::hex(digits, u64::from(*byte));
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests;
