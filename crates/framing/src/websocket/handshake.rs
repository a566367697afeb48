//! Evaluation of WebSocket handshake requests.

use bytes::Bytes;
use thiserror::Error;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::upgrade::Upgrade;
use crate::http::{Field, Request, Subprotocol, response_head};

/// Policy for WebSocket handshakes.
#[derive(Debug, Default)]
pub struct HandshakePolicy {
    /// Allowed origins; any if empty.
    pub origins: Vec<String>,
    /// Additional headers of the response.
    pub headers: Vec<Field>,
    /// Supported subprotocols.
    pub subprotocols: Vec<Subprotocol>,
    /// Whether permessage-deflate is accepted.
    pub deflate: bool,
    /// Whether requests are parsed and evaluated as Workerman does, which serves nothing but
    /// WebSockets.
    pub like_workerman: bool,
}

/// Result of evaluating a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// Opens a WebSocket: send the response of this upgrade. Frames follow.
    Accept(Upgrade),
    /// Refused handshake: send this response and close.
    Refuse(Bytes, Refusal),
    /// An ordinary HTTP request.
    Ordinary,
}

/// Reason for a refused handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Its origin is not allowed.
    #[error("origin not allowed")]
    Origin,
    /// The protocol version is missing or not supported.
    #[error("WebSocket version is not 13")]
    Version,
    /// The method is not GET.
    #[error("method is not GET")]
    Method,
    /// The key is missing.
    #[error("missing Sec-WebSocket-Key")]
    Malformed,
    /// It is an ordinary request, and no static files are served.
    #[error("not a WebSocket request")]
    NotWebSocket,
}

impl Refusal {
    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Version => "version",
            Self::Method => "method",
            Self::Malformed => "malformed",
            Self::NotWebSocket => "not_websocket",
        }
    }
}

/// Evaluates a request. Like Workerman, this requires GET, a key and version 13, but not the other
/// headers. A request without an origin is not from a browser, and passes the check of origins.
pub fn evaluate(request: &Request, policy: &HandshakePolicy) -> Reply {
    let upgrade = request.header("Upgrade").is_some_and(|to| to.eq_ignore_ascii_case("websocket"));
    if request.key.is_none() && !upgrade && !policy.like_workerman {
        return Reply::Ordinary;
    }
    let version = "Sec-WebSocket-Version: 13\r\n";
    if request.key.is_some() && request.method != "GET" && !policy.like_workerman {
        return refuse(Refusal::Method, "405 Method Not Allowed", "Allow: GET\r\n");
    }
    match request.version.as_deref() {
        Some(b"13") => {}
        Some(_) => return refuse(Refusal::Version, "426 Upgrade Required", version),
        None if request.key.is_none() && !upgrade => {
            return refuse(Refusal::NotWebSocket, "400 Bad Request", version);
        }
        None => return refuse(Refusal::Version, "400 Bad Request", version),
    }
    let Some(key) = &request.key else {
        return refuse(Refusal::Malformed, "400 Bad Request", version);
    };
    if !policy.allows_origin(request) {
        return refuse(Refusal::Origin, "403 Forbidden", "");
    }
    Reply::Accept(Upgrade::new(&derive_accept_key(key), request, policy))
}

impl HandshakePolicy {
    /// Whether a request has no origin, or only allowed ones.
    fn allows_origin(&self, request: &Request) -> bool {
        let known = |origin: &[u8]| {
            self.origins.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin))
        };
        let mut named = request.handshake.headers.iter();
        self.origins.is_empty()
            || named
                .all(|header| !header.name.eq_ignore_ascii_case("Origin") || known(&header.value))
    }
}

/// The response to an ordinary request if no static files are served.
pub fn not_a_websocket() -> Bytes {
    refusal("400 Bad Request", "Sec-WebSocket-Version: 13\r\n")
}

fn refuse(reason: Refusal, status: &str, fields: &str) -> Reply {
    Reply::Refuse(refusal(status, fields), reason)
}

fn refusal(status: &str, fields: &str) -> Bytes {
    response_head(status, fields, 0, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;

    fn evaluated(fields: &str, origins: &[&str]) -> String {
        let origins = origins.iter().map(ToString::to_string).collect();
        evaluated_with(fields, &HandshakePolicy { origins, ..HandshakePolicy::default() })
    }

    fn evaluated_with(fields: &str, policy: &HandshakePolicy) -> String {
        let head = format!("GET /chat HTTP/1.1\r\n{fields}\r\n");
        let (request, _) = http::parse(head.as_bytes()).unwrap().unwrap();
        match evaluate(&request, policy) {
            Reply::Accept(upgrade) => String::from_utf8(upgrade.response().to_vec()).unwrap(),
            Reply::Refuse(head, _) => String::from_utf8(head.to_vec()).unwrap(),
            Reply::Ordinary => "ordinary".into(),
        }
    }

    #[test]
    fn sample_key_of_rfc_gets_its_accept_value() {
        let head = evaluated(
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
            &[],
        );
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    }

    #[test]
    fn unsupported_version_gets_supported_version() {
        let head = evaluated("Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 8\r\n", &[]);
        assert!(head.starts_with("HTTP/1.1 426 ") && head.contains("Version: 13"), "{head}");
        assert!(evaluated("Sec-WebSocket-Key: k\r\n", &[]).starts_with("HTTP/1.1 400 "));
        assert!(evaluated("Upgrade: WebSocket\r\n", &[]).starts_with("HTTP/1.1 400 "));
        assert_eq!(evaluated("Accept: text/html\r\n", &[]), "ordinary");
    }

    #[test]
    fn browser_from_other_origin_is_refused() {
        let from = |origin: &str| {
            let fields = format!("Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n{origin}");
            evaluated(&fields, &["https://ours.example"])[9..12].to_owned()
        };
        assert_eq!(from("Origin: https://ours.example\r\n"), "101");
        assert_eq!(from("Origin: https://theirs.example\r\n"), "403");
        assert_eq!(from(""), "101");
        for odd in ["Origin:\r\n", "Origin: null\r\n", "Origin: https://ours.example/\r\n"] {
            assert_eq!(from(odd), "403", "{odd:?}");
        }
    }

    #[test]
    fn origin_that_is_not_utf8_is_refused() {
        let head = b"GET / HTTP/1.1\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\
            Origin: https://theirs.example\xff\r\n\r\n";
        let (request, _) = http::parse(head).unwrap().unwrap();
        let policy = HandshakePolicy {
            origins: vec!["https://ours.example".into()],
            ..HandshakePolicy::default()
        };
        assert!(matches!(evaluate(&request, &policy), Reply::Refuse(_, Refusal::Origin)));
    }

    #[test]
    fn additional_headers_are_sent_only_with_accepted_handshake() {
        let headers =
            ["X-Served-By: a", "Set-Cookie: s=1; Secure"].map(|text| text.parse().unwrap());
        let policy = HandshakePolicy { headers: headers.into(), ..HandshakePolicy::default() };
        let head = evaluated_with("Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n", &policy);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.ends_with("\r\nX-Served-By: a\r\nSet-Cookie: s=1; Secure\r\n\r\n"), "{head}");
        let head = evaluated_with("Sec-WebSocket-Key: k\r\n", &policy);
        assert!(head.starts_with("HTTP/1.1 400 ") && !head.contains("X-Served-By"), "{head}");
    }

    #[test]
    fn subprotocol_is_selected_if_offered_and_supported() {
        let subprotocols = ["chat", "mqtt"].map(|text| text.parse().unwrap()).into();
        let policy = HandshakePolicy { subprotocols, ..HandshakePolicy::default() };
        let answered = |offered: &[&str]| {
            let offered =
                offered.iter().map(|offered| format!("Sec-WebSocket-Protocol: {offered}\r\n"));
            let fields = "Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n".to_owned();
            let head = evaluated_with(&(fields + &offered.collect::<String>()), &policy);
            let answered =
                head.lines().filter_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
            answered.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(answered(&["mqtt, chat"]), ["mqtt"], "the client's order decides");
        assert_eq!(answered(&["soap,chat ,mqtt"]), ["chat"]);
        assert_eq!(answered(&["soap", "mqtt"]), ["mqtt"], "several headers are one list");
        assert!(answered(&["soap, CHAT"]).is_empty(), "names are case-sensitive");
        assert!(answered(&[]).is_empty());
    }

    #[test]
    fn wildcard_selects_any_offered_token() {
        let answered = |supported: &[&str], offered: &[u8]| {
            let subprotocols = supported.iter().map(|name| name.parse().unwrap()).collect();
            let policy = HandshakePolicy { subprotocols, ..HandshakePolicy::default() };
            let head = b"GET / HTTP/1.1\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Protocol: ";
            let head = [&head[..], offered, b"\r\n\r\n"].concat();
            let (request, _) = http::parse(&head).unwrap().unwrap();
            policy.subprotocol(&request).map(str::to_owned)
        };
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(answered(&["*"], b"eyJh.b_c-d, chat"), some("eyJh.b_c-d"));
        assert_eq!(
            answered(&["*", "chat"], b"eyJh, chat"),
            some("chat"),
            "a named subprotocol is preferred"
        );
        assert_eq!(answered(&["*", "chat"], b"eyJh"), some("eyJh"));
        assert_eq!(answered(&["*"], b"a b, \xff, \"q\", , c/d, e"), some("e"));
        assert_eq!(answered(&["*"], b"a b"), None);
        assert_eq!(answered(&["*"], b""), None);
        assert_eq!(answered(&["chat"], b"*"), None);
    }

    #[test]
    fn strict_mode_checks_in_order_of_workerman() {
        let status = |fields: &str| {
            let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
            let (request, _) = http::workerman::parse(head.as_bytes()).unwrap().unwrap();
            match evaluate(
                &request,
                &HandshakePolicy { like_workerman: true, ..HandshakePolicy::default() },
            ) {
                Reply::Accept(..) => "101".to_owned(),
                Reply::Refuse(head, _) => String::from_utf8(head[9..12].to_vec()).unwrap(),
                Reply::Ordinary => "ordinary".to_owned(),
            }
        };
        let (key, version) = ("Sec-WebSocket-Key: k\r\n", "Sec-WebSocket-Version: 13\r\n");
        for (fields, expected) in [
            (format!("{key}{version}"), "101"),
            (format!("{key}{version}Content-Length: 5\r\nTransfer-Encoding: x\r\n"), "101"),
            (format!("Sec-WebSocket-Key:\r\n{version}"), "101"),
            (format!("{key}{version}{}", version.replace("13", "8")), "101"),
            (format!("{key}{}{version}", version.replace("13", "8")), "426"),
            (version.replace("13", "8"), "426"),
            (format!("{key}{}", version.replace("13", "13 ")), "426"),
            (format!("{key}{}", version.replace(" 13", "\t13")), "426"),
            (version.to_owned(), "400"),
            (key.to_owned(), "400"),
            ("Upgrade: websocket\r\n".to_owned(), "400"),
            (String::new(), "400"),
        ] {
            assert_eq!(status(&fields), expected, "{fields:?}");
        }
    }
}
