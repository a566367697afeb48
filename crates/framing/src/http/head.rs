//! Parsing of request heads.
//!
//! A proxy in front may have parsed the same bytes. To prevent request smuggling, everything that
//! the two could parse differently is refused.

use std::borrow::Cow;

use bytes::Bytes;
use protocol::{Handshake, event::Header, grant::is_token};
use thiserror::Error;

use super::response::response_head;

/// Maximum size of a request head in bytes.
pub(super) const MAX_HEAD: usize = 16 * 1024;

/// Maximum number of headers.
const MAX_HEADERS: usize = 100;

/// Headers that may occur at most once. Parsers disagree about which of two applies.
const SINGLE: [&str; 5] =
    ["Content-Length", "Host", "Origin", "Sec-WebSocket-Key", "Sec-WebSocket-Version"];

/// A request, without a body.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    /// The target and the headers, as sent to a worker.
    pub handshake: Handshake,
    /// Its `Sec-WebSocket-Key`.
    pub key: Option<Vec<u8>>,
    /// Its `Sec-WebSocket-Version`.
    pub version: Option<Vec<u8>>,
    /// Whether another request may follow on the same connection.
    pub keep_alive: bool,
}

impl Request {
    /// The first header of that name, ignoring case, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.handshake.header(name)
    }
}

/// Reason for refusing a request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadRequest {
    /// More than `MAX_HEAD` bytes.
    #[error("request head exceeds {MAX_HEAD} bytes")]
    TooLong,
    /// Not HTTP/1.
    #[error("not HTTP: {0}")]
    NotHttp(httparse::Error),
    /// Another parser could interpret the same bytes differently.
    #[error("ambiguous request: {0}")]
    Ambiguous(&'static str),
    /// It does not begin with `GET`; `--compat strict` only.
    #[error("request does not begin with GET")]
    NotGet,
    /// It has a body, which is not supported.
    #[error("request with a body")]
    Body,
}

impl BadRequest {
    /// The status line's code and reason.
    fn status(self) -> &'static str {
        match self {
            Self::TooLong | Self::NotHttp(httparse::Error::TooManyHeaders) => {
                "431 Request Header Fields Too Large"
            }
            Self::NotHttp(_) | Self::Ambiguous(_) | Self::NotGet => "400 Bad Request",
            Self::Body => "413 Content Too Large",
        }
    }

    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLong | Self::NotHttp(httparse::Error::TooManyHeaders) => "too_large",
            Self::NotHttp(_) | Self::Ambiguous(_) => "malformed",
            Self::NotGet => "method",
            Self::Body => "body",
        }
    }

    /// The response to the request.
    pub fn response(self) -> Bytes {
        response_head(self.status(), "", 0, false)
    }
}

/// Parses a request head. Returns the request and the length of the head in bytes, or `None` if it
/// is incomplete.
///
/// # Errors
/// When the request is malformed or refused. Nothing behind it can be parsed then.
pub fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, BadRequest> {
    match parse_text(bytes) {
        Err(BadRequest::NotHttp(httparse::Error::Token)) => {
            let Some((bytes, more)) = with_escaped_target(bytes) else {
                return Err(BadRequest::NotHttp(httparse::Error::Token));
            };
            Ok(parse_text(&bytes)?.map(|(request, length)| (request, length - more)))
        }
        parsed => parsed,
    }
}

/// Parses a head whose target is UTF-8.
fn parse_text(bytes: &[u8]) -> Result<Option<(Request, usize)>, BadRequest> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes).map_err(BadRequest::NotHttp)? {
        httparse::Status::Complete(length) if length <= MAX_HEAD => length,
        httparse::Status::Partial if bytes.len() < MAX_HEAD => return Ok(None),
        _ => return Err(BadRequest::TooLong),
    };
    let mut before = b' ';
    for byte in &bytes[..length] {
        if *byte == b'\n' && before != b'\r' {
            return Err(BadRequest::Ambiguous("line without a carriage return"));
        }
        before = *byte;
    }
    let keep_alive = examine(request.headers, request.version == Some(1))?;
    let headers = request.headers.iter();
    let headers =
        headers.map(|header| Header { name: header.name.into(), value: header.value.into() });
    let handshake =
        Handshake { target: request.path.unwrap_or_default().into(), headers: headers.collect() };
    let method = request.method.unwrap_or_default().into();
    let value = |name: &str| {
        let mut headers = handshake.headers.iter();
        let header = headers.find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| header.value.clone())
    };
    let (key, version) = (value("Sec-WebSocket-Key"), value("Sec-WebSocket-Version"));
    Ok(Some((Request { method, handshake, key, version, keep_alive }, length)))
}

/// Checks every header that affects message framing. Returns whether the connection is kept alive.
fn examine(headers: &[httparse::Header<'_>], stays: bool) -> Result<bool, BadRequest> {
    let (mut closes, mut keeps, mut has_body) = (false, false, false);
    for (at, header) in headers.iter().enumerate() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let is_single = SINGLE.iter().any(|name| is(name));
        if is_single
            && headers[..at].iter().any(|other| other.name.eq_ignore_ascii_case(header.name))
        {
            return Err(BadRequest::Ambiguous("repeated header"));
        }
        if is("Transfer-Encoding") {
            return Err(BadRequest::Ambiguous("Transfer-Encoding"));
        }
        if is("Content-Length") {
            match header.value {
                b"0" => {}
                [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => has_body = true,
                _ => return Err(BadRequest::Ambiguous("invalid Content-Length")),
            }
        }
        if is("Connection") {
            for option in header.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                if !option.is_empty() && !is_token(option) {
                    return Err(BadRequest::Ambiguous("invalid Connection header"));
                }
                closes |= option.eq_ignore_ascii_case(b"close");
                keeps |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
    }
    if has_body {
        return Err(BadRequest::Body);
    }
    Ok(!closes && (stays || keeps))
}

/// The request with the non-ASCII bytes of its target percent-encoded, and the number of bytes
/// added; `None` if the target is UTF-8 or missing. Clients other than browsers may send targets in
/// the encoding of their system.
fn with_escaped_target(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    // Empty lines may precede a request.
    let blank = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let line = bytes[blank..].split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, _) = (words.next()?, words.next()?, words.next()?);
    let (before, text) = (blank + method.len() + 1, target_text(target));
    let more = text.len() - target.len();
    let escaped = [&bytes[..before], text.as_bytes(), &bytes[before + target.len()..]].concat();
    (0 < more).then_some((escaped, more))
}

/// A target as text. If it is not UTF-8, its non-ASCII bytes are percent-encoded.
pub(super) fn target_text(target: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(target) {
        Ok(text) => text.into(),
        Err(_) => {
            let escaped = |byte: &u8| match byte.is_ascii() {
                true => char::from(*byte).to_string(),
                false => format!("%{byte:02X}"),
            };
            target.iter().map(escaped).collect::<String>().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(head: impl AsRef<[u8]>) -> Result<Request, BadRequest> {
        parse(head.as_ref()).map(|request| request.expect("the head is complete").0)
    }

    #[test]
    fn incomplete_head_is_not_parsed() {
        let head = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nX-Y:  z \r\n\r\nrest";
        for end in 0..head.len() - 4 {
            assert!(parse(&head[..end]).unwrap().is_none(), "at {end}");
        }
        let (request, length) = parse(head).unwrap().unwrap();
        assert_eq!(length, head.len() - 4);
        assert_eq!(request.handshake.path(), "/a");
        assert_eq!(request.handshake.query(), "b=c");
        assert_eq!(request.header("x-y"), Some("z"));
        assert!(request.keep_alive);
    }

    #[test]
    fn head_over_limit_is_refused_even_if_incomplete() {
        let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD));
        assert_eq!(parse(long.as_bytes()).unwrap_err(), BadRequest::TooLong);
        assert_eq!(parse(format!("{long}\r\n\r\n").as_bytes()).unwrap_err(), BadRequest::TooLong);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS + 1));
        assert!(parse(many.as_bytes()).unwrap_err().status().starts_with("431"));
    }

    #[test]
    fn request_with_body_is_refused() {
        let head = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(parse(head).unwrap_err(), BadRequest::Body);
    }

    #[test]
    fn ambiguous_request_is_refused() {
        for fields in [
            "Content-Length: 0\r\nContent-Length: 40",
            "Content-Length: 40\r\nContent-Length: 0",
            "Content-Length: 0\r\nContent-Length: 0",
            "Content-Length: 0\r\nX: y\r\ncontent-length: 40",
            "Content-Length: 0, 40",
            "Content-Length: 00",
            "Content-Length: +0",
            "Content-Length: -1",
            "Content-Length: 0x0",
            "Content-Length: 0 0",
            "Content-Length: 0;",
            "Content-Length: 05",
            "Content-Length:",
            "Content-Length : 0",
            "Content-Length\t: 0",
            " Content-Length: 40",
            "X: y\r\n Content-Length: 40",
            "X: y\r\n\tContent-Length: 40",
            "X: y\nContent-Length: 0",
            "X: y\rContent-Length: 40",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: \x0bchunked",
            "Transfer-Encoding:",
            "transfer-encoding: xchunked",
            "Transfer-Encoding : chunked",
            "Content-Length: 0\r\nTransfer-Encoding: chunked",
            "Connection: keep-alive, \u{e4}",
            "Connection: keep alive",
            "Connection: \"close\"",
            "Host: a\r\nHost: b",
            "Sec-WebSocket-Key: a\r\nSec-WebSocket-Key: b",
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8",
            "Origin: https://a.example\r\nOrigin: https://b.example",
        ] {
            for version in ["1.0", "1.1"] {
                let head = format!("GET / HTTP/{version}\r\n{fields}\r\n\r\n");
                let error = parsed(&head).expect_err(fields);
                assert!(error.status().starts_with("400"), "{fields:?}: {error}");
            }
        }
        for value in [&b"5\xff"[..], b"\xff", b"0\xa0", b"\xc2\xa00", b"\xef\xbc\x90"] {
            for name in ["Content-Length", "Transfer-Encoding", "Connection"] {
                let name = format!("GET / HTTP/1.1\r\n{name}: ");
                let head = [name.as_bytes(), value, b"\r\n\r\n"].concat();
                let error = parsed(&head).expect_err(&name);
                assert!(error.status().starts_with("400"), "{name} {value:?}: {error}");
            }
        }
        for line in [
            "GET / HTTP/1.1\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\n",
            "\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1 \r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET /a b HTTP/1.1\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET / HTTP/01.1\r\n\r\n",
            "GET /\r\n\r\n",
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.status().starts_with("400"), "{line:?}: {error}");
        }
    }

    #[test]
    fn connection_is_kept_alive_unless_a_header_closes_it() {
        let stays = |version, fields: &str| {
            parsed(format!("GET / HTTP/{version}\r\n{fields}\r\n")).unwrap().keep_alive
        };
        assert!(stays("1.1", "") && !stays("1.0", ""));
        assert!(stays("1.1", "Connection: Upgrade, foreclosed\r\n"));
        assert!(stays("1.0", "Connection: Keep-Alive\r\n"));
        for fields in [
            "Connection: close\r\n",
            "Connection: keep-alive\r\nConnection: close\r\n",
            "Connection: close\r\nConnection: keep-alive\r\n",
            "Connection: keep-alive, ,CLOSE\r\n",
        ] {
            assert!(!stays("1.1", fields) && !stays("1.0", fields), "{fields:?}");
        }
    }

    #[test]
    fn target_that_is_not_utf8_is_percent_encoded() {
        let target = |head: &[u8]| {
            for end in 0..head.len() {
                assert!(parse(&head[..end]).unwrap().is_none(), "at {end}");
            }
            let (request, length) = parse(&[head, b"rest"].concat()).unwrap().unwrap();
            assert_eq!(length, head.len());
            request.handshake.target
        };
        assert_eq!(target(b"GET /?n=\xc4\xe3&a=b HTTP/1.1\r\n\r\n"), "/?n=%C4%E3&a=b");
        assert_eq!(target(b"\r\n\r\nGET /\xff HTTP/1.1\r\n\r\n"), "/%FF");
        assert_eq!(target("GET /\u{4f60} HTTP/1.1\r\n\r\n".as_bytes()), "/\u{4f60}");
    }
}
