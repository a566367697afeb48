//! A register's text protocol: one JSON value per line.
//!
//! ```text
//! {"event":"ping"}\n
//! ```
//!
//! Lines end with a line feed; carriage returns before it are not part of the line. For the content
//! of lines see [`discovery`](crate::discovery).

use bytes::{BufMut, Bytes, BytesMut};

/// Splits a buffer into lines, independently of how the bytes are fragmented.
#[derive(Clone, Debug)]
pub struct Lines {
    limit: usize,
    /// Length of the buffer's prefix that was searched and holds no line feed.
    searched: usize,
}

/// A line is longer than the limit, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line of more than {limit} bytes")]
pub struct LineTooLong {
    /// The limit in bytes, without the line feed.
    pub limit: usize,
}

impl Lines {
    /// Lines of at most `limit` bytes before the line feed.
    pub const fn new(limit: usize) -> Self {
        Self { limit, searched: 0 }
    }

    /// Takes the next line off the front of `buffer`, without its ending. `None` if the line is
    /// incomplete; `buffer` is unchanged then. Always pass the same buffer, and stop after an
    /// error.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, LineTooLong> {
        let fresh = buffer.get(self.searched..).unwrap_or_default();
        let Some(found) = fresh.iter().position(|byte| *byte == b'\n') else {
            self.searched = buffer.len();
            return if self.limit < buffer.len() { Err(self.too_long()) } else { Ok(None) };
        };
        let end = self.searched + found;
        if self.limit < end {
            return Err(self.too_long());
        }
        self.searched = 0;
        let mut line = buffer.split_to(end + 1).freeze();
        line.truncate(end);
        while line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Ok(Some(line))
    }

    const fn too_long(&self) -> LineTooLong {
        LineTooLong { limit: self.limit }
    }
}

/// Writes `value` as one line. JSON escapes control characters, so it holds no other line feed.
pub fn encode(value: &serde_json::Value, out: &mut BytesMut) {
    serde_json::to_writer(out.writer(), value).expect("a JSON value can be written to memory");
    out.put_u8(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(lines: &mut Lines, buffer: &mut BytesMut) -> Vec<Bytes> {
        std::iter::from_fn(|| lines.next(buffer).unwrap()).collect()
    }

    #[test]
    fn line_ends_at_its_line_feed() {
        let mut buffer = BytesMut::from(&b"one\ntwo\r\n\n\r\r\na\rb\nrest"[..]);
        let found = all(&mut Lines::new(10), &mut buffer);
        assert_eq!(found, [&b"one"[..], b"two", b"", b"", b"a\rb"]);
        assert_eq!(buffer, b"rest"[..]);
    }

    #[test]
    fn incomplete_line_waits_for_more_bytes() {
        let whole = b"{\"event\":\"ping\"}\r\n";
        for end in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..end]);
            let mut lines = Lines::new(100);
            assert_eq!(lines.next(&mut part), Ok(None), "at {end}");
            assert_eq!(part, whole[..end], "waiting consumes nothing");
            part.extend_from_slice(&whole[end..]);
            assert_eq!(
                lines.next(&mut part).unwrap().unwrap(),
                whole[..whole.len() - 2],
                "at {end}"
            );
        }
    }

    #[test]
    fn limit_excludes_the_line_feed() {
        let next = |text: &[u8]| Lines::new(4).next(&mut BytesMut::from(text));
        assert_eq!(next(b"1234"), Ok(None));
        assert!(next(b"1234\n").unwrap().is_some());
        assert_eq!(next(b"12345"), Err(LineTooLong { limit: 4 }));
        assert_eq!(next(b"12345\n"), Err(LineTooLong { limit: 4 }));
    }

    #[test]
    fn line_feed_inside_a_value_is_escaped() {
        let mut out = BytesMut::new();
        encode(&"a\nb".into(), &mut out);
        assert_eq!(out, b"\"a\\nb\"\n"[..]);
    }

    proptest! {
        #[test]
        fn lines_are_independent_of_fragmentation(
            sent in prop::collection::vec("[^\r\n]{0,20}", 0..8),
            cuts in prop::collection::vec(1_usize..7, 1..40),
        ) {
            let whole: String = sent.iter().map(|line| format!("{line}\n")).collect();
            let (mut lines, mut buffer, mut found) = (Lines::new(100), BytesMut::new(), Vec::new());
            let mut rest = whole.as_bytes();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at(rest.len().min(*cut));
                buffer.extend_from_slice(piece);
                found.extend(all(&mut lines, &mut buffer));
                rest = after;
            }
            prop_assert_eq!(found, sent);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (mut lines, mut buffer) = (Lines::new(50), BytesMut::from(&bytes[..]));
            while let Ok(Some(line)) = lines.next(&mut buffer) {
                prop_assert!(line.len() <= 50);
            }
        }
    }
}
