//! Parsing of request heads as in Workerman 5.2, for `--compat strict`.
//!
//! It is lenient: it accepts any target, any lines and any HTTP version. That suffices where only
//! handshakes are answered and every other connection is closed. Unlike Workerman, it limits the
//! length of a head.

use protocol::{Handshake, event::Header};

use super::{
    BadRequest, Request,
    head::{MAX_HEAD, target_text},
};

/// Minimum number of bytes before parsing starts.
const LEAST: usize = 6;

/// Parses a request head. Returns the request and the length of the head in bytes, or `None` if it
/// is incomplete.
///
/// # Errors
/// When it does not begin with `GET`, or is too long.
pub fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, BadRequest> {
    if bytes.len() < LEAST {
        return Ok(None);
    }
    if !bytes.starts_with(b"GET") {
        return Err(BadRequest::NotGet);
    }
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() < MAX_HEAD { Ok(None) } else { Err(BadRequest::TooLong) };
    };
    if MAX_HEAD < end + 4 {
        return Err(BadRequest::TooLong);
    }
    let mut lines = lines(&bytes[..end]);
    let mut words = lines.next().unwrap_or_default().splitn(3, |byte| *byte == b' ');
    let method = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
    let target = target_text(words.next().unwrap_or(b"/")).into_owned();
    let request = Request {
        method,
        key: value_of(b"Sec-WebSocket-Key:", &bytes[..end + 2]),
        version: value_of(b"Sec-WebSocket-Version:", &bytes[..end + 2]),
        handshake: Handshake { target, headers: lines.filter_map(header).collect() },
        keep_alive: false,
    };
    Ok(Some((request, end + 4)))
}

/// The lines of a head. A line feed alone does not end a line.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(head);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.windows(2).position(|two| two == b"\r\n");
        rest = end.map(|end| &text[end + 2..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

fn header(line: &[u8]) -> Option<Header> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let value = &line[colon + 1..];
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    let name = String::from_utf8_lossy(&line[..colon]).into_owned();
    Some(Header { name, value: value[start..end].to_vec() })
}

/// The value behind the first valid occurrence of a name and colon, at any position: up to the end
/// of the line, without leading but with trailing spaces.
fn value_of(name: &[u8], head: &[u8]) -> Option<Vec<u8>> {
    let found = head.windows(name.len()).enumerate();
    let mut found = found.filter(|(_, text)| text.eq_ignore_ascii_case(name));
    found.find_map(|(at, _)| {
        let rest = &head[at + name.len()..];
        let rest = &rest[rest.iter().position(|byte| *byte != b' ')?..];
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let value = &rest[..end];
        (!value.contains(&b'\n')).then(|| value.to_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: impl AsRef<[u8]>) -> Request {
        let (head, cut) = (head.as_ref(), LEAST.max(head.as_ref().len()));
        for end in 0..cut.min(head.len()) {
            assert!(parse(&head[..end]).unwrap().is_none(), "at {end}");
        }
        let (request, length) = parse(&[head, b"rest"].concat()).unwrap().unwrap();
        assert_eq!(length, head.len());
        request
    }

    #[test]
    fn lenient_head_is_accepted() {
        let fields =
            "host: a\r\nX: \t y \r\nno colon\r\n folded: z\r\nX: two\r\n\u{4f60}: b\0c\nd\r\n";
        let request = read(format!("GET /a?b=c d e\r\n{fields}\r\n"));
        assert_eq!((&*request.method, &*request.handshake.target), ("GET", "/a?b=c"));
        let headers = request.handshake.headers.iter();
        let headers: Vec<(&str, &[u8])> =
            headers.map(|header| (&*header.name, &*header.value)).collect();
        let expected: [(&str, &[u8]); 5] = [
            ("host", b"a"),
            ("X", b"y"),
            (" folded", b"z"),
            ("X", b"two"),
            ("\u{4f60}", b"b\0c\nd"),
        ];
        assert_eq!(headers, expected);
        assert_eq!(read("GET\r\n\r\n").handshake.target, "/");
        assert_eq!(read(b"GET /\xc4\xe3 HTTP/9\r\n\r\n").handshake.target, "/%C4%E3");
    }

    #[test]
    fn key_and_version_are_found_at_any_position() {
        let found = |fields: &str| {
            let request = read(format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n"));
            let text =
                |value: Option<Vec<u8>>| value.map(|value| String::from_utf8(value).unwrap());
            (text(request.key), text(request.version))
        };
        let some = |key: &str, version: &str| (Some(key.to_owned()), Some(version.to_owned()));
        let version = "Sec-WebSocket-Version: 13";
        assert_eq!(found(&format!("sec-websocket-KEY:   k \r\n{version}")), some("k ", "13"));
        assert_eq!(found(&format!("X-Sec-WebSocket-Key:k\r\nX-{version}")), some("k", "13"));
        assert_eq!(
            found(&format!("Sec-WebSocket-Key:\r\n{version}\r\n{version}9")),
            some("", "13")
        );
        assert_eq!(found(&format!("Sec-WebSocket-Key:\tk\r\n{version}")), some("\tk", "13"));
        assert_eq!(found("Sec-WebSocket-Key : k\r\nSec-WebSocket-Version"), (None, None));
        let split = format!("Sec-WebSocket-Key: a\nb\r\nSec-WebSocket-Key: c\r\n{version}");
        assert_eq!(found(&split), some("c", "13"));
    }

    #[test]
    fn request_that_does_not_begin_with_get_is_refused() {
        for bytes in ["POST / HTTP/1.1", "get / HTTP/1.1", "\r\nGET / HTTP/1.1", "PRI * "] {
            assert_eq!(parse(bytes.as_bytes()).unwrap_err(), BadRequest::NotGet, "{bytes:?}");
        }
    }

    #[test]
    fn head_over_limit_is_refused() {
        let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD));
        assert_eq!(parse(long.as_bytes()).unwrap_err(), BadRequest::TooLong);
        assert_eq!(parse(format!("{long}\r\n\r\n").as_bytes()).unwrap_err(), BadRequest::TooLong);
    }
}
