//! Events as CloudEvents 1.0 over HTTP, in binary mode: attributes are headers, the data is the
//! body.

use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use serde::Serialize;

use crate::{
    engine::{Attempt, Head},
    signature::{self, Secret},
};

/// The longest session that is sent in a header, in bytes of its JSON.
pub const MAX_SESSION_HEADER: usize = 4 * 1024;

/// The header with the origin of the requests, for the abuse protection of webhooks.
pub const REQUEST_ORIGIN: &str = "webhook-request-origin";

/// The attributes of an event. All but the signature and the number of the attempt are the same
/// whenever it is sent.
#[derive(Clone, Debug)]
pub struct CloudEvent {
    /// `id`: the same for each attempt and each redelivery.
    pub id: String,
    /// `type`, such as `gw.message`.
    pub kind: &'static str,
    /// `source`: a path.
    pub source: String,
    /// `subject`: a client or a group.
    pub subject: Vec<u8>,
    /// `time`, in seconds since 1970.
    pub unix_seconds: u64,
    /// `gwseq`: the number of the event among those of its subject.
    pub number: u64,
    /// `gwuid`.
    pub uid: Option<Vec<u8>>,
    /// `gwsession`: JSON. Left out if it is longer than [`MAX_SESSION_HEADER`].
    pub session: Option<Vec<u8>>,
    /// The type of the data.
    pub content_type: &'static str,
}

/// The head of the request of an event, signed with each of the secrets.
#[derive(Debug)]
pub struct SignedHead {
    /// The event.
    pub event: CloudEvent,
    /// The secrets of the receiver.
    pub secrets: Arc<[Secret]>,
    /// The origin that the receiver is to allow, if it is to be named.
    pub origin: Option<String>,
}

impl CloudEvent {
    /// The event with its data, which is JSON, as an object of the JSON format of CloudEvents.
    pub fn structured(&self, data: &[u8]) -> Bytes {
        let attributes = Attributes {
            specversion: "1.0",
            id: &self.id,
            kind: self.kind,
            source: &self.source,
            subject: String::from_utf8_lossy(&self.subject),
            time: time(self.unix_seconds),
            gwseq: self.number.to_string(),
            gwuid: self.uid.as_ref().map(|uid| String::from_utf8_lossy(uid)),
            datacontenttype: self.content_type,
        };
        let mut json = serde_json::to_vec(&attributes).unwrap_or_default();
        json.pop();
        Bytes::from([&json, &br#","data":"#[..], data, b"}"].concat())
    }
}

/// The attributes of an event in JSON. Its session is left out, since bodies have it.
#[derive(Serialize)]
struct Attributes<'a> {
    specversion: &'static str,
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    source: &'a str,
    subject: Cow<'a, str>,
    time: String,
    /// Text, since an integer of CloudEvents has 32 bits.
    gwseq: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gwuid: Option<Cow<'a, str>>,
    datacontenttype: &'static str,
}

/// The head of the request of a batch, signed with each of the secrets.
#[derive(Debug)]
pub struct BatchHead {
    /// The same for each attempt, and of no other batch.
    pub id: String,
    /// The secrets of the receiver.
    pub secrets: Arc<[Secret]>,
    /// The origin that the receiver is to allow, if it is to be named.
    pub origin: Option<String>,
}

impl Head for BatchHead {
    fn headers(&self, attempt: &Attempt, body: &Bytes) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/cloudevents-batch+json; charset=utf-8");
        headers.insert(CONTENT_TYPE, kind);
        let signed = signature::sign(&self.secrets, &self.id, attempt.unix_seconds, body);
        for (name, value) in [
            ("ce-gwattempt", &attempt.number.to_string()),
            (signature::ID, &self.id),
            (signature::TIMESTAMP, &attempt.unix_seconds.to_string()),
            (signature::SIGNATURE, &signed),
        ] {
            // Digits and base64: always valid.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        if let Some(origin) = self.origin.as_ref().and_then(|it| HeaderValue::from_str(it).ok()) {
            headers.insert(REQUEST_ORIGIN, origin);
        }
        headers
    }
}

impl Head for SignedHead {
    fn headers(&self, attempt: &Attempt, body: &Bytes) -> HeaderMap {
        let event = &self.event;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(event.content_type));
        let mut set = |name: &'static str, value: &str| {
            // Values are percent-encoded, base64 or numbers: always valid.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        set("ce-specversion", "1.0");
        set("ce-id", &encode(event.id.as_bytes()));
        set("ce-type", event.kind);
        set("ce-source", &encode(event.source.as_bytes()));
        set("ce-subject", &encode(&event.subject));
        set("ce-time", &time(event.unix_seconds));
        set("ce-gwseq", &event.number.to_string());
        set("ce-gwattempt", &attempt.number.to_string());
        if let Some(uid) = &event.uid {
            set("ce-gwuid", &encode(uid));
        }
        if let Some(session) = &event.session
            && session.len() <= MAX_SESSION_HEADER
        {
            set("ce-gwsession", &STANDARD.encode(session));
        }
        if let Some(origin) = &self.origin {
            set(REQUEST_ORIGIN, origin);
        }
        let id = encode(event.id.as_bytes());
        set(signature::ID, &id);
        set(signature::TIMESTAMP, &attempt.unix_seconds.to_string());
        let signed = signature::sign(&self.secrets, &id, attempt.unix_seconds, body);
        set(signature::SIGNATURE, &signed);
        headers
    }
}

/// Percent-encodes a value of an attribute (CloudEvents, HTTP binding, 3.1.3.2): space, double
/// quote, percent sign, and everything that is not printable ASCII.
pub fn encode(value: &[u8]) -> String {
    percent_encode(value, RESERVED).to_string()
}

const RESERVED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// A time in seconds since 1970 in the form of RFC 3339.
fn time(unix_seconds: u64) -> String {
    let seconds = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> CloudEvent {
        CloudEvent {
            id: "7f0000010b54000000a1-3".to_owned(),
            kind: "gw.message",
            source: "/gateways/127.0.0.1:2900".to_owned(),
            subject: b"7f0000010b54000000a1".to_vec(),
            unix_seconds: 1_700_000_000,
            number: 3,
            uid: Some("møller 1%".as_bytes().to_vec()),
            session: Some(br#"{"a":1}"#.to_vec()),
            content_type: "text/plain; charset=utf-8",
        }
    }

    fn head(event: CloudEvent) -> SignedHead {
        let secret = Secret::parse("whsec_BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF").unwrap();
        SignedHead { event, secrets: [secret].into(), origin: None }
    }

    #[test]
    fn attributes_are_headers_and_the_body_is_signed_at_each_attempt() {
        let head = head(event());
        let attempt = Attempt { number: 2, unix_seconds: 1_700_000_009 };
        let body = Bytes::from_static(b"hello");
        let headers = head.headers(&attempt, &body);
        let get = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        for (name, value) in [
            ("content-type", "text/plain; charset=utf-8"),
            ("ce-specversion", "1.0"),
            ("ce-id", "7f0000010b54000000a1-3"),
            ("ce-type", "gw.message"),
            ("ce-source", "/gateways/127.0.0.1:2900"),
            ("ce-subject", "7f0000010b54000000a1"),
            ("ce-time", "2023-11-14T22:13:20Z"),
            ("ce-gwseq", "3"),
            ("ce-gwattempt", "2"),
            ("ce-gwuid", "m%C3%B8ller%201%25"),
            ("ce-gwsession", "eyJhIjoxfQ=="),
            ("webhook-id", "7f0000010b54000000a1-3"),
            ("webhook-timestamp", "1700000009"),
        ] {
            assert_eq!(get(name), Some(value), "{name}");
        }
        let signed = signature::sign(&head.secrets, &head.event.id, 1_700_000_009, b"hello");
        assert_eq!((get("webhook-signature"), get(REQUEST_ORIGIN)), (Some(&*signed), None));
        let later = head.headers(&Attempt { unix_seconds: 1_700_000_010, ..attempt }, &body);
        assert_ne!(headers["webhook-signature"], later["webhook-signature"]);
        assert_eq!(headers["ce-id"], later["ce-id"]);
    }

    #[test]
    fn event_is_an_object_and_a_batch_is_signed() {
        let event = CloudEvent { content_type: "application/json", ..event() };
        let json: serde_json::Value =
            serde_json::from_slice(&event.structured(br#"{"n":[1]}"#)).unwrap();
        let expected = serde_json::json!({
            "specversion": "1.0", "id": "7f0000010b54000000a1-3", "type": "gw.message",
            "source": "/gateways/127.0.0.1:2900", "subject": "7f0000010b54000000a1",
            "time": "2023-11-14T22:13:20Z", "gwseq": "3", "gwuid": "møller 1%",
            "datacontenttype": "application/json", "data": {"n": [1]},
        });
        assert_eq!(json, expected);
        let SignedHead { secrets, .. } = head(event);
        let origin = Some("https://example.com".to_owned());
        let batch = BatchHead { id: "b7".to_owned(), secrets, origin };
        let attempt = Attempt { number: 2, unix_seconds: 1_700_000_009 };
        let headers = batch.headers(&attempt, &Bytes::from_static(b"[]"));
        let get = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        let signed = signature::sign(&batch.secrets, "b7", 1_700_000_009, b"[]");
        assert_eq!((get("webhook-id"), get("webhook-signature")), (Some("b7"), Some(&*signed)));
        assert_eq!((get("ce-gwattempt"), get("ce-type")), (Some("2"), None));
        assert_eq!(get(REQUEST_ORIGIN), Some("https://example.com"));
        assert!(get("content-type").unwrap().starts_with("application/cloudevents-batch+json"));
    }

    #[test]
    fn long_session_is_left_out() {
        let session = Some(vec![b'x'; MAX_SESSION_HEADER + 1]);
        let head = head(CloudEvent { session, uid: None, ..event() });
        let headers = head.headers(&Attempt { number: 1, unix_seconds: 7 }, &Bytes::new());
        assert!(!headers.contains_key("ce-gwsession") && !headers.contains_key("ce-gwuid"));
    }

    #[test]
    fn name_of_any_bytes_is_a_header() {
        assert_eq!(encode(b"\0a b\"\xFF\r\n%~"), "%00a%20b%22%FF%0D%0A%25~");
        let all: Vec<u8> = (0..=255).collect();
        HeaderValue::from_str(&encode(&all)).unwrap();
    }
}
