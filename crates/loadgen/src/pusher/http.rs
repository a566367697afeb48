//! The answer to an HTTP request, read from bytes as they come.

/// A complete answer.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Whether the connection takes another request.
    pub(crate) keeps_open: bool,
    /// The first line of the body, of an answer other than 200.
    pub(crate) reason: String,
}

/// The server sent something other than an answer, or one that is larger than any that is expected.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Malformed;

/// Answers to published events are short.
const MOST: usize = 64 * 1024;

/// The bytes of an answer so far.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    bytes: Vec<u8>,
}

impl Reader {
    /// Adds received bytes; returns the answer once it is complete. No bytes are the end of the
    /// connection.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<Answer>, Malformed> {
        self.bytes.extend_from_slice(bytes);
        if MOST < self.bytes.len() {
            return Err(Malformed);
        }
        let ended = bytes.is_empty();
        let end = self.bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let Some(end) = end else { return if ended { Err(Malformed) } else { Ok(None) } };
        let head = std::str::from_utf8(&self.bytes[..end]).map_err(|_| Malformed)?;
        let body = &self.bytes[end + 4..];
        let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let status = status.ok_or(Malformed)?;
        let header = |name: &str| {
            head.lines().skip(1).find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let chunked = header("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        let length = match header("content-length") {
            Some(length) => Some(length.parse::<usize>().map_err(|_| Malformed)?),
            None => None,
        };
        let complete = match length {
            Some(length) => length <= body.len(),
            None if chunked => body.ends_with(b"0\r\n\r\n"),
            // The body lasts until the connection ends.
            None => ended,
        };
        if !complete {
            return if ended { Err(Malformed) } else { Ok(None) };
        }
        let closes = head.starts_with("HTTP/1.0")
            || header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let reason = match status {
            200 => String::new(),
            _ => String::from_utf8_lossy(body).lines().next().unwrap_or_default().to_owned(),
        };
        self.bytes.clear();
        Ok(Some(Answer { status, keeps_open: !closes && !ended, reason }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds an answer in pieces; `ended` is whether the connection ends behind it.
    fn read(text: &str, piece: usize, ended: bool) -> Result<Option<Answer>, Malformed> {
        let mut reader = Reader::default();
        for bytes in text.as_bytes().chunks(piece) {
            if let Some(answer) = reader.feed(bytes)? {
                return Ok(Some(answer));
            }
        }
        if ended { reader.feed(b"") } else { Ok(None) }
    }

    fn accepted(keeps_open: bool) -> Result<Option<Answer>, Malformed> {
        Ok(Some(Answer { status: 200, keeps_open, reason: String::new() }))
    }

    #[test]
    fn answer_ends_where_its_headers_say() {
        for piece in [1, 3, 500] {
            let length = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
            assert_eq!(read(length, piece, false), accepted(true));
            let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
            assert_eq!(read(closing, piece, false), accepted(false));
            let chunked =
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
            assert_eq!(read(chunked, piece, false), accepted(true));
            let until_the_end = "HTTP/1.1 200 OK\r\n\r\n{}";
            assert_eq!(read(until_the_end, piece, false), Ok(None));
            assert_eq!(read(until_the_end, piece, true), accepted(false));
            let old = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}";
            assert_eq!(read(old, piece, false), accepted(false));
        }
    }

    #[test]
    fn refusal_has_a_reason() {
        let text = "HTTP/1.1 413 Too Large\r\nContent-Length: 13\r\n\r\ntoo much\nmore";
        let reason = "too much".to_owned();
        let answer = Answer { status: 413, keeps_open: true, reason };
        assert_eq!(read(text, 500, false), Ok(Some(answer)));
    }

    #[test]
    fn other_bytes_than_an_answer_are_malformed() {
        for text in ["hello\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1\r\n\r\n"] {
            assert_eq!(read(text, 500, false), Err(Malformed), "{text}");
        }
        let cut_off = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}";
        assert_eq!(read(cut_off, 500, true), Err(Malformed));
        assert_eq!(read("", 500, true), Err(Malformed));
        let no_length = "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n";
        assert_eq!(read(no_length, 500, false), Err(Malformed));
        let endless = "HTTP/1.1 200 OK\r\n\r\n".to_owned() + &"x".repeat(MOST);
        assert_eq!(read(&endless, 4096, false), Err(Malformed));
    }
}
