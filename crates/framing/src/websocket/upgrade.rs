//! The responses that end a handshake: 101, and those of refusals.

use std::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};
use protocol::{Grant, InvalidAnswer, Refusal};

use super::{HandshakePolicy, PerMessageDeflate};
use crate::http::{Request, Subprotocol, response_head};

/// A handshake that can be accepted.
#[derive(Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// The head of the response, without subprotocol and final line end.
    head: String,
    /// The subprotocol that the policy selects.
    selected: Option<String>,
    /// The names that the client offers, each with a comma behind it. Empty without memory of its
    /// own if there are none, as from most clients.
    offered: String,
    /// The compression that is negotiated.
    deflate: Option<PerMessageDeflate>,
}

/// Bytes that most responses fit into.
const USUAL: usize = 160;

const BEFORE_ACCEPT: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";

impl Upgrade {
    pub(super) fn new(accept: &str, request: &Request, policy: &HandshakePolicy) -> Self {
        let mut head = String::with_capacity(USUAL);
        head.push_str(BEFORE_ACCEPT);
        head.push_str(accept);
        head.push_str("\r\n");
        let deflate = policy.deflate.then(|| PerMessageDeflate::negotiate(request)).flatten();
        if let Some(deflate) = deflate {
            let _ = write!(head, "Sec-WebSocket-Extensions: {deflate}\r\n");
        }
        for header in &policy.headers {
            append(&mut head, header);
        }
        let mut offered = String::new();
        for name in offers(request) {
            offered.push_str(name);
            offered.push(',');
        }
        let selected = policy.subprotocol(request).map(str::to_owned);
        Self { head, selected, offered, deflate }
    }

    /// The compression that is negotiated, if any.
    pub fn deflate(&self) -> Option<PerMessageDeflate> {
        self.deflate
    }

    /// The response, with the subprotocol that the policy selects.
    pub fn response(self) -> Bytes {
        finish(self.head, self.selected.as_deref())
    }

    /// The response with the subprotocol and the headers of `grant`.
    ///
    /// # Errors
    /// When the client does not offer that subprotocol.
    pub fn response_with(&self, grant: &Grant) -> Result<Bytes, InvalidAnswer> {
        let mut head = self.head.clone();
        let subprotocol = grant.subprotocol();
        if let Some(name) = subprotocol
            && !self.offered.split(',').any(|offered| offered == name)
        {
            return Err(InvalidAnswer::NotOffered(name.to_owned()));
        }
        for header in grant.headers().iter() {
            append(&mut head, header);
        }
        Ok(finish(head, subprotocol.or(self.selected.as_deref())))
    }

    /// Bytes of memory that it holds.
    pub fn held(&self) -> usize {
        let selected = self.selected.as_ref().map_or(0, String::capacity);
        self.head.capacity() + selected + self.offered.capacity()
    }
}

impl HandshakePolicy {
    /// The first subprotocol in the client's list that is supported by name; if any is supported,
    /// the first one in the list if none is supported by name. `None` if the client offers none: it
    /// would fail the connection if one were selected.
    pub(super) fn subprotocol<'a>(&self, request: &'a Request) -> Option<&'a str> {
        let is_named =
            |offered: &&str| self.subprotocols.iter().any(|supported| supported.is(offered));
        let named = offers(request).find(is_named);
        named.or_else(|| {
            offers(request).next().filter(|_| self.subprotocols.iter().any(Subprotocol::is_any))
        })
    }
}

/// The valid names of subprotocols that a client offers, in its order.
fn offers(request: &Request) -> impl Iterator<Item = &str> {
    let headers = request.handshake.headers.iter();
    headers
        .filter(|header| header.name.eq_ignore_ascii_case("Sec-WebSocket-Protocol"))
        .flat_map(|header| header.value.split(|byte| *byte == b','))
        .filter_map(|offered| Subprotocol::token(offered.trim_ascii()))
}

fn append(head: &mut String, field: &impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(head, "{field}\r\n");
}

fn finish(mut head: String, subprotocol: Option<&str>) -> Bytes {
    if let Some(subprotocol) = subprotocol {
        let _ = write!(head, "Sec-WebSocket-Protocol: {subprotocol}\r\n");
    }
    head.push_str("\r\n");
    head.into()
}

/// The response to a handshake that is refused, after which the connection closes.
pub fn refused(refusal: &Refusal) -> Bytes {
    let mut fields = String::new();
    for header in refusal.headers().iter() {
        append(&mut fields, header);
    }
    if !refusal.body().is_empty() && !refusal.headers().contains("Content-Type") {
        fields.push_str("Content-Type: text/plain; charset=utf-8\r\n");
    }
    let status = format!("{} {}", refusal.status(), reason(refusal.status()));
    let head = response_head(&status, &fields, refusal.body().len(), false);
    let mut whole = BytesMut::with_capacity(head.len() + refusal.body().len());
    whole.put(head);
    whole.put_slice(refusal.body());
    whole.freeze()
}

/// The reason phrase of a status, which may be empty (RFC 9112, 4).
const fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        410 => "Gone",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        http,
        websocket::{Reply, evaluate},
    };

    fn upgrade(fields: &str, policy: &HandshakePolicy) -> Upgrade {
        let head = format!(
            "GET / HTTP/1.1\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
        );
        let (request, _) = http::parse(head.as_bytes()).unwrap().unwrap();
        match evaluate(&request, policy) {
            Reply::Accept(upgrade) => upgrade,
            other => panic!("{other:?}"),
        }
    }

    fn text(response: Bytes) -> String {
        String::from_utf8(response.to_vec()).unwrap()
    }

    #[test]
    fn granted_headers_and_subprotocol_are_in_the_response() {
        let policy = HandshakePolicy {
            headers: vec!["X-Served-By: one".parse().unwrap()],
            subprotocols: vec!["chat".parse().unwrap()],
            ..HandshakePolicy::default()
        };
        let offers = "Sec-WebSocket-Protocol: chat, v2\r\nSec-WebSocket-Protocol: auth.x\r\n";
        let plain = text(upgrade(offers, &policy).response());
        assert!(plain.contains("\r\nSec-WebSocket-Protocol: chat\r\n"), "{plain}");
        let grant = Grant::new().with_subprotocol("v2").unwrap().with_header("X-A", "b").unwrap();
        let head = text(upgrade(offers, &policy).response_with(&grant).unwrap());
        assert!(head.starts_with("HTTP/1.1 101 ") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(head.contains("\r\nSec-WebSocket-Protocol: v2\r\n"), "{head}");
        assert!(head.contains("\r\nX-A: b\r\n") && head.contains("\r\nX-Served-By: one\r\n"));
        assert!(!head.contains("chat"), "{head}");
        let none = text(upgrade(offers, &policy).response_with(&Grant::new()).unwrap());
        assert_eq!(none, plain);
    }

    #[test]
    fn subprotocol_that_is_not_offered_is_an_error() {
        let policy = HandshakePolicy::default();
        let grant = |name: &str| Grant::new().with_subprotocol(name).unwrap();
        for offers in ["", "Sec-WebSocket-Protocol: v2\r\n"] {
            let error = upgrade(offers, &policy).response_with(&grant("v1")).unwrap_err();
            assert!(matches!(error, InvalidAnswer::NotOffered(name) if name == "v1"));
        }
        let offers = "Sec-WebSocket-Protocol: V1\r\n";
        assert!(upgrade(offers, &policy).response_with(&grant("v1")).is_err());
    }

    #[test]
    fn refusal_is_a_whole_response() {
        let refusal = Refusal::new(401, "sign in").unwrap();
        let refusal = refusal.with_header("WWW-Authenticate", "Bearer").unwrap();
        let expected = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 7\r\nConnection: close\r\n\
            WWW-Authenticate: Bearer\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nsign in";
        assert_eq!(text(refused(&refusal)), expected);
        let json = Refusal::new(418, "{}").unwrap();
        let json = json.with_header("content-type", "application/json").unwrap();
        let response = text(refused(&json));
        assert!(response.starts_with("HTTP/1.1 418 \r\n") && !response.contains("text/plain"));
        assert!(!text(refused(&Refusal::new(403, "").unwrap())).contains("Content-Type"));
    }
}
