//! Whether a request opens a WebSocket, and what it is told.

use bytes::Bytes;
use thiserror::Error;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::http::{Field, Request, Subprotocol};

/// On what terms a WebSocket is opened.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// The origins that may connect, any if empty.
    pub(crate) origins: Vec<String>,
    /// What the answer says besides.
    pub(crate) headers: Vec<Field>,
    /// The subprotocols that are spoken here.
    pub(crate) subprotocols: Vec<Subprotocol>,
    /// Whether requests are read and judged as Workerman does, which answers none that opens no
    /// WebSocket.
    pub(crate) like_workerman: bool,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It opens a WebSocket: write this, and frames follow.
    Accept(Bytes),
    /// It would have liked to: write this and close.
    Refuse(Bytes, Refusal),
    /// It is an ordinary request.
    Ordinary,
}

/// Why a request opens no WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    /// It names an origin that may not connect.
    #[error("an origin that may not connect")]
    Origin,
    /// It is for another version of the protocol, or for none.
    #[error("not version 13")]
    Version,
    /// It is no GET.
    #[error("not a GET")]
    Method,
    /// It has no key.
    #[error("no key")]
    Malformed,
    /// It asks for something else, and there is nothing else.
    #[error("no request for a WebSocket")]
    NotWebSocket,
}

impl Refusal {
    /// As metrics and logs name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Version => "version",
            Self::Method => "method",
            Self::Malformed => "malformed",
            Self::NotWebSocket => "not_websocket",
        }
    }
}

/// Judges a request. Like Workerman, this asks for a GET, a key and version 13, and does not insist on the
/// other headers. Where origins are named, a client that is no browser names none and
/// is let in.
pub(crate) fn judge(request: &Request, terms: &Terms) -> Reply {
    let upgrade = request.header("Upgrade").is_some_and(|to| to.eq_ignore_ascii_case("websocket"));
    if request.key.is_none() && !upgrade && !terms.like_workerman {
        return Reply::Ordinary;
    }
    let version = "Sec-WebSocket-Version: 13\r\n";
    if request.key.is_some() && request.method != "GET" && !terms.like_workerman {
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
    if !terms.lets_in(request) {
        return refuse(Refusal::Origin, "403 Forbidden", "");
    }
    let accept = derive_accept_key(key);
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
    );
    if let Some(subprotocol) = terms.subprotocol(request) {
        answer.push_str(&format!("Sec-WebSocket-Protocol: {subprotocol}\r\n"));
    }
    for header in &terms.headers {
        answer.push_str(&format!("{header}\r\n"));
    }
    answer.push_str("\r\n");
    Reply::Accept(answer.into())
}

impl Terms {
    /// Whether a request names no origin, or only such as may connect.
    fn lets_in(&self, request: &Request) -> bool {
        let known = |origin: &[u8]| {
            self.origins.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin))
        };
        let mut named = request.handshake.headers.iter();
        self.origins.is_empty()
            || named
                .all(|header| !header.name.eq_ignore_ascii_case("Origin") || known(&header.value))
    }

    /// The first that the client would like of those that are spoken here; where any is, the first of all
    /// if it would like none of those that are named. A client that asked for none must not be told of
    /// one, and drops the connection if it is.
    fn subprotocol<'a>(&self, request: &'a Request) -> Option<&'a str> {
        let headers = request.handshake.headers.iter();
        let asked = headers
            .filter(|header| header.name.eq_ignore_ascii_case("Sec-WebSocket-Protocol"))
            .flat_map(|header| header.value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii);
        let mut asked = asked.filter_map(Subprotocol::token);
        let is_named = |asked: &&str| self.subprotocols.iter().any(|spoken| spoken.is(asked));
        let named = asked.clone().find(is_named);
        named.or_else(|| asked.next().filter(|_| self.subprotocols.iter().any(Subprotocol::is_any)))
    }
}

/// Answers a request for something else, where there is nothing else.
pub(crate) fn not_a_websocket() -> Bytes {
    refusal("400 Bad Request", "Sec-WebSocket-Version: 13\r\n")
}

fn refuse(why: Refusal, status: &str, fields: &str) -> Reply {
    Reply::Refuse(refusal(status, fields), why)
}

fn refusal(status: &str, fields: &str) -> Bytes {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n{fields}\r\n");
    Bytes::from(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;

    fn judged(fields: &str, origins: &[&str]) -> String {
        let origins = origins.iter().map(ToString::to_string).collect();
        judged_on(fields, &Terms { origins, ..Terms::default() })
    }

    fn judged_on(fields: &str, terms: &Terms) -> String {
        let head = format!("GET /chat HTTP/1.1\r\n{fields}\r\n");
        let (request, _) = http::parse(head.as_bytes()).unwrap().unwrap();
        match judge(&request, terms) {
            Reply::Accept(head) | Reply::Refuse(head, _) => {
                String::from_utf8(head.to_vec()).unwrap()
            }
            Reply::Ordinary => "ordinary".into(),
        }
    }

    #[test]
    fn the_key_of_the_rfc_gets_the_answer_of_the_rfc() {
        let head = judged(
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
            &[],
        );
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    }

    #[test]
    fn other_versions_learn_which_one_is_spoken() {
        let head = judged("Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 8\r\n", &[]);
        assert!(head.starts_with("HTTP/1.1 426 ") && head.contains("Version: 13"), "{head}");
        assert!(judged("Sec-WebSocket-Key: k\r\n", &[]).starts_with("HTTP/1.1 400 "));
        assert!(judged("Upgrade: WebSocket\r\n", &[]).starts_with("HTTP/1.1 400 "));
        assert_eq!(judged("Accept: text/html\r\n", &[]), "ordinary");
    }

    #[test]
    fn a_browser_from_elsewhere_is_refused_where_origins_are_named() {
        let from = |origin: &str| {
            let fields = format!("Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n{origin}");
            judged(&fields, &["https://ours.example"])[9..12].to_owned()
        };
        assert_eq!(from("Origin: https://ours.example\r\n"), "101");
        assert_eq!(from("Origin: https://theirs.example\r\n"), "403");
        assert_eq!(from(""), "101");
        for odd in ["Origin:\r\n", "Origin: null\r\n", "Origin: https://ours.example/\r\n"] {
            assert_eq!(from(odd), "403", "{odd:?}");
        }
    }

    #[test]
    fn origin_that_is_no_text_is_an_origin_from_elsewhere() {
        let head = b"GET / HTTP/1.1\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\
            Origin: https://theirs.example\xff\r\n\r\n";
        let (request, _) = http::parse(head).unwrap().unwrap();
        let terms = Terms { origins: vec!["https://ours.example".into()], ..Terms::default() };
        assert!(matches!(judge(&request, &terms), Reply::Refuse(_, Refusal::Origin)));
    }

    #[test]
    fn headers_of_ones_own_go_with_the_answer_to_a_handshake_only() {
        let headers =
            ["X-Served-By: a", "Set-Cookie: s=1; Secure"].map(|text| text.parse().unwrap());
        let terms = Terms { headers: headers.into(), ..Terms::default() };
        let head = judged_on("Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n", &terms);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.ends_with("\r\nX-Served-By: a\r\nSet-Cookie: s=1; Secure\r\n\r\n"), "{head}");
        let head = judged_on("Sec-WebSocket-Key: k\r\n", &terms);
        assert!(head.starts_with("HTTP/1.1 400 ") && !head.contains("X-Served-By"), "{head}");
    }

    #[test]
    fn a_subprotocol_is_answered_if_it_was_asked_for_and_is_spoken() {
        let subprotocols = ["chat", "mqtt"].map(|text| text.parse().unwrap()).into();
        let terms = Terms { subprotocols, ..Terms::default() };
        let answered = |asked: &[&str]| {
            let asked = asked.iter().map(|asked| format!("Sec-WebSocket-Protocol: {asked}\r\n"));
            let fields = "Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n".to_owned();
            let head = judged_on(&(fields + &asked.collect::<String>()), &terms);
            let answered =
                head.lines().filter_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
            answered.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(answered(&["mqtt, chat"]), ["mqtt"], "the client's order counts");
        assert_eq!(answered(&["soap,chat ,mqtt"]), ["chat"]);
        assert_eq!(answered(&["soap", "mqtt"]), ["mqtt"], "it may ask in several lines");
        assert!(answered(&["soap, CHAT"]).is_empty(), "names have their case");
        assert!(answered(&[]).is_empty());
    }

    #[test]
    fn any_subprotocol_that_is_a_token_is_answered_where_any_is_spoken() {
        let answered = |spoken: &[&str], asked: &[u8]| {
            let subprotocols = spoken.iter().map(|name| name.parse().unwrap()).collect();
            let terms = Terms { subprotocols, ..Terms::default() };
            let head = b"GET / HTTP/1.1\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Protocol: ";
            let head = [&head[..], asked, b"\r\n\r\n"].concat();
            let (request, _) = http::parse(&head).unwrap().unwrap();
            terms.subprotocol(&request).map(str::to_owned)
        };
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(answered(&["*"], b"eyJh.b_c-d, chat"), some("eyJh.b_c-d"));
        assert_eq!(answered(&["*", "chat"], b"eyJh, chat"), some("chat"), "what is named is known");
        assert_eq!(answered(&["*", "chat"], b"eyJh"), some("eyJh"));
        assert_eq!(answered(&["*"], b"a b, \xff, \"q\", , c/d, e"), some("e"));
        assert_eq!(answered(&["*"], b"a b"), None);
        assert_eq!(answered(&["*"], b""), None);
        assert_eq!(answered(&["chat"], b"*"), None);
    }

    #[test]
    fn requests_are_judged_in_workermans_order_where_that_is_asked_for() {
        let status = |fields: &str| {
            let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
            let (request, _) = http::workerman::parse(head.as_bytes()).unwrap().unwrap();
            match judge(&request, &Terms { like_workerman: true, ..Terms::default() }) {
                Reply::Accept(_) => "101".to_owned(),
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
