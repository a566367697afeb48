//! The JSON bodies of events.

use std::{collections::BTreeMap, net::SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use protocol::{CloseReason, Handshake, Message, MessageKind};
use serde::Serialize;
use serde_json::{Map, Value};

/// `gw.connect`.
#[derive(Debug, Serialize)]
pub struct Connect<'a> {
    /// The client's id.
    pub client: String,
    /// The client's address.
    pub remote: SocketAddr,
    /// The port of the listener.
    pub port: u16,
    /// The uid that the client has already, of a token.
    pub uid: Option<String>,
    /// The session that the client has already, of a token.
    pub session: Map<String, Value>,
    /// The request of a WebSocket; absent for other clients.
    #[serde(flatten)]
    pub request: Option<Request<'a>>,
}

/// The request of a WebSocket.
#[derive(Debug, Serialize)]
pub struct Request<'a> {
    path: &'a str,
    query: BTreeMap<String, Vec<String>>,
    /// Names in lower case.
    headers: BTreeMap<String, String>,
    subprotocols: Vec<&'a str>,
    origin: Option<&'a str>,
}

/// `gw.message` as an envelope.
#[derive(Debug, Serialize)]
pub struct Envelope {
    /// The client's id.
    pub client: String,
    /// The client's uid.
    pub uid: Option<String>,
    /// The client's session.
    pub session: Map<String, Value>,
    /// The message.
    #[serde(flatten)]
    pub message: Content,
}

/// A message in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Text.
    Text(String),
    /// Anything else.
    Base64(String),
}

/// `gw.refresh`.
#[derive(Debug, Serialize)]
pub struct Refresh {
    /// The client's id.
    pub client: String,
    /// The client's uid.
    pub uid: Option<String>,
    /// When its connection expires, in seconds since 1970.
    pub expires_at: u64,
    /// The client's session.
    pub session: Map<String, Value>,
}

/// `gw.close`.
#[derive(Debug, Serialize)]
pub struct Close {
    /// The client's id.
    pub client: String,
    /// The client's uid.
    pub uid: Option<String>,
    /// The cause.
    pub reason: &'static str,
    /// The kind of cause.
    pub by: &'static str,
    /// The code of its close frame.
    pub code: Option<u16>,
    /// The reason in that frame.
    pub text: String,
    /// For how long it was connected; `None` if its gateway is dead.
    pub connected_ms: Option<u64>,
    /// The client's session.
    pub session: Map<String, Value>,
}

/// `gw.group.occupied` and `gw.group.vacated`.
#[derive(Debug, Serialize)]
pub struct Occupancy {
    /// The group; what is not UTF-8 in it is replaced.
    pub group: String,
    /// The number of the notice: later ones of the group have higher numbers.
    pub number: u64,
}

/// `gw.uid.online` and `gw.uid.offline`.
#[derive(Debug, Serialize)]
pub struct UidOccupancy {
    /// The uid; what is not UTF-8 in it is replaced.
    pub uid: String,
    /// The number of the notice: later ones of the uid have higher numbers.
    pub number: u64,
}

impl<'a> Request<'a> {
    /// The request of a handshake, with the headers of these names, which are in lower case.
    pub fn of(handshake: &'a Handshake, allowed: &[String]) -> Self {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for header in &handshake.headers {
            let name = header.name.to_ascii_lowercase();
            if allowed.contains(&name) {
                let value = String::from_utf8_lossy(&header.value);
                headers
                    .entry(name)
                    .and_modify(|values| *values = format!("{values}, {value}"))
                    .or_insert_with(|| value.into_owned());
            }
        }
        let offered = handshake.headers.iter();
        let offered = offered.filter(|it| it.name.eq_ignore_ascii_case("sec-websocket-protocol"));
        let offered = offered.filter_map(|header| std::str::from_utf8(&header.value).ok());
        let subprotocols = offered.flat_map(|list| list.split(',')).map(str::trim);
        Self {
            path: handshake.path(),
            query: query(handshake.query()),
            headers,
            subprotocols: subprotocols.filter(|name| !name.is_empty()).collect(),
            origin: handshake.header("origin"),
        }
    }
}

impl Content {
    /// A message of a client.
    pub fn of(message: &Message) -> Self {
        match message.as_text().filter(|_| message.kind != MessageKind::Binary) {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Base64(STANDARD.encode(&message.body)),
        }
    }
}

/// The kind of cause of a close.
pub const fn by(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Client | CloseReason::Protocol => "client",
        CloseReason::Timeout | CloseReason::Slow | CloseReason::Unauthenticated => "timeout",
        CloseReason::GatewayLost => "lost",
        _ => "server",
    }
}

/// The values of a query by name, percent-decoded; what is not UTF-8 is replaced.
pub fn query(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        values.entry(decoded(name)).or_default().push(decoded(value));
    }
    values
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let digits = digits.filter(|pair| pair.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match (byte, digits.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
                continue;
            }
            (b'+', _) => decoded.push(b' '),
            (byte, _) => decoded.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use protocol::event::Header;
    use serde_json::json;

    use super::*;

    #[test]
    fn query_is_decoded() {
        let expected = json!({"a": ["1", "2 +"], "b": [""], "ä": ["%zz%4"], "": ["x"]});
        let decoded = query("a=1&a=2+%2B&b&%C3%A4=%zz%4&=x&&");
        assert_eq!(serde_json::to_value(decoded).unwrap(), expected);
        assert_eq!(query("a=%FF")["a"], ["\u{FFFD}"]);
        assert_eq!(query("a=%+1")["a"], ["% 1"]);
    }

    #[test]
    fn connect_has_the_request_and_allowed_headers_only() {
        let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
        let headers = vec![
            header("Cookie", "a=b"),
            header("COOKIE", "c=d"),
            header("Authorization", "secret"),
            header("Origin", "https://example.com"),
            header("Sec-WebSocket-Protocol", "v1, v2"),
        ];
        let handshake = Handshake { target: "/chat?room=1".to_owned(), headers };
        let request = Request::of(&handshake, &["cookie".to_owned()]);
        let body = Connect {
            client: "c".to_owned(),
            remote: ([127, 0, 0, 1], 7).into(),
            port: 7272,
            uid: None,
            session: Map::new(),
            request: Some(request),
        };
        let expected = json!({
            "client": "c", "remote": "127.0.0.1:7", "port": 7272, "uid": null, "session": {},
            "path": "/chat", "query": {"room": ["1"]}, "headers": {"cookie": "a=b, c=d"},
            "subprotocols": ["v1", "v2"], "origin": "https://example.com",
        });
        assert_eq!(serde_json::to_value(&body).unwrap(), expected);
        let raw = serde_json::to_value(Connect { request: None, ..body }).unwrap();
        assert_eq!(raw.get("path"), None);
    }

    #[test]
    fn envelope_has_text_or_base64() {
        let envelope = |message: Message| {
            let message = Content::of(&message);
            let (client, uid) = ("c".to_owned(), Some("u".to_owned()));
            serde_json::to_value(Envelope { client, uid, session: Map::new(), message }).unwrap()
        };
        let text = json!({"client": "c", "uid": "u", "session": {}, "text": "hi"});
        assert_eq!(envelope(Message::text("hi")), text);
        let binary = json!({"client": "c", "uid": "u", "session": {}, "base64": "AP8="});
        assert_eq!(envelope(Message::binary(vec![0, 255])), binary);
    }

    #[test]
    fn every_close_has_a_kind_of_cause() {
        for reason in CloseReason::ALL {
            assert!(["client", "server", "timeout", "lost"].contains(&by(*reason)), "{reason:?}");
        }
    }
}
