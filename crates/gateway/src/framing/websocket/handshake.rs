//! Whether a request opens a WebSocket, and what it is told.

use bytes::Bytes;
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
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It opens a WebSocket: write this, and frames follow.
    Accept(Bytes),
    /// It would have liked to: write this and close.
    Refuse(Bytes),
    /// It is an ordinary request.
    Ordinary,
}

/// Judges a request. Like the reference, this asks for a GET, a key and version 13, and does not
/// insist on the other headers. Where origins are named, a client that is no browser names none and
/// is let in.
pub(crate) fn judge(request: &Request, terms: &Terms) -> Reply {
    let version = request.header("Sec-WebSocket-Version");
    let upgrade = request.header("Upgrade").is_some_and(|to| to.eq_ignore_ascii_case("websocket"));
    let Some(key) = request.header("Sec-WebSocket-Key") else {
        return match upgrade {
            true => refuse("400 Bad Request", "Sec-WebSocket-Version: 13\r\n"),
            false => Reply::Ordinary,
        };
    };
    if request.method != "GET" {
        return refuse("405 Method Not Allowed", "Allow: GET\r\n");
    }
    match version {
        Some("13") => {}
        Some(_) => return refuse("426 Upgrade Required", "Sec-WebSocket-Version: 13\r\n"),
        None => return refuse("400 Bad Request", "Sec-WebSocket-Version: 13\r\n"),
    }
    let Terms { origins, headers, .. } = terms;
    let known = |origin: &str| origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin));
    if !origins.is_empty() && request.header("Origin").is_some_and(|origin| !known(origin)) {
        return refuse("403 Forbidden", "");
    }
    let accept = derive_accept_key(key.as_bytes());
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
    );
    if let Some(subprotocol) = terms.subprotocol(request) {
        answer.push_str(&format!("Sec-WebSocket-Protocol: {subprotocol}\r\n"));
    }
    for header in headers {
        answer.push_str(&format!("{header}\r\n"));
    }
    answer.push_str("\r\n");
    Reply::Accept(answer.into())
}

impl Terms {
    /// The first that the client would like of those that are spoken here. A client that asked for
    /// none must not be told of one, and drops the connection if it is.
    fn subprotocol(&self, request: &Request) -> Option<&str> {
        let headers = request.handshake.headers.iter();
        let asked = headers
            .filter(|header| header.name.eq_ignore_ascii_case("Sec-WebSocket-Protocol"))
            .flat_map(|header| header.value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii);
        asked.into_iter().find_map(|asked| {
            let spoken = self.subprotocols.iter().map(Subprotocol::as_str);
            spoken.into_iter().find(|spoken| spoken.as_bytes() == asked)
        })
    }
}

/// Answers a request for something else, where there is nothing else.
pub(crate) fn not_a_websocket() -> Bytes {
    refusal("400 Bad Request", "Sec-WebSocket-Version: 13\r\n")
}

fn refuse(status: &str, fields: &str) -> Reply {
    Reply::Refuse(refusal(status, fields))
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
            Reply::Accept(head) | Reply::Refuse(head) => String::from_utf8(head.to_vec()).unwrap(),
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
}
