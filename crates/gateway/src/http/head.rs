//! The head of a request: bytes in, values out.

use protocol::{Handshake, event::Header};
use thiserror::Error;

/// The longest head of a request, in bytes.
pub(crate) const MAX_HEAD: usize = 16 * 1024;

/// The most headers a request may have.
const MAX_HEADERS: usize = 100;

/// A request, without a body.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The target and the headers, as a worker is told of them.
    pub(crate) handshake: Handshake,
    /// Whether another request may follow on the same connection.
    pub(crate) keep_alive: bool,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.handshake.header(name)
    }
}

/// Not the head of a request that is taken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum BadRequest {
    /// More than [`MAX_HEAD`] bytes.
    #[error("a head of more than {MAX_HEAD} bytes")]
    TooLong,
    /// Not HTTP/1.
    #[error("not HTTP: {0}")]
    NotHttp(httparse::Error),
    /// It brings a body, which nothing here would read.
    #[error("a request with a body")]
    Body,
}

impl BadRequest {
    /// The status line's code and reason.
    pub(crate) fn status(self) -> &'static str {
        match self {
            Self::TooLong | Self::NotHttp(httparse::Error::TooManyHeaders) => {
                "431 Request Header Fields Too Large"
            }
            Self::NotHttp(_) => "400 Bad Request",
            Self::Body => "413 Content Too Large",
        }
    }
}

/// Reads a request's head and says how many bytes it had, or `None` until more come.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, BadRequest> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes).map_err(BadRequest::NotHttp)? {
        httparse::Status::Complete(length) if length <= MAX_HEAD => length,
        httparse::Status::Partial if bytes.len() < MAX_HEAD => return Ok(None),
        _ => return Err(BadRequest::TooLong),
    };
    let headers = request.headers.iter();
    let headers =
        headers.map(|header| Header { name: header.name.into(), value: header.value.into() });
    let handshake =
        Handshake { target: request.path.unwrap_or_default().into(), headers: headers.collect() };
    let connection = handshake.header("Connection").unwrap_or_default().to_ascii_lowercase();
    let keep_alive = match request.version {
        Some(1) => !connection.contains("close"),
        _ => connection.contains("keep-alive"),
    };
    let method = request.method.unwrap_or_default().into();
    let request = Request { method, handshake, keep_alive };
    let no_body = request.header("Content-Length").is_none_or(|length| length == "0");
    match no_body && request.header("Transfer-Encoding").is_none() {
        true => Ok(Some((request, length))),
        false => Err(BadRequest::Body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_waits_until_it_is_whole() {
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
    fn what_is_too_long_is_refused_whether_whole_or_not() {
        let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD));
        assert_eq!(parse(long.as_bytes()).unwrap_err(), BadRequest::TooLong);
        assert_eq!(parse(format!("{long}\r\n\r\n").as_bytes()).unwrap_err(), BadRequest::TooLong);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS + 1));
        assert!(parse(many.as_bytes()).unwrap_err().status().starts_with("431"));
    }

    #[test]
    fn a_body_is_refused() {
        let head = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(parse(head).unwrap_err(), BadRequest::Body);
    }
}
