//! A line each.

use bytes::{Buf, BytesMut};

use super::{Received, Violation};

/// Takes lines out of bytes. The line feed, and any carriage returns and line feeds before it, are
/// not part of the message; an empty line is an empty message.
#[derive(Debug, Default)]
pub(crate) struct LineDecoder {
    /// The beginning of a line, known to hold no line feed.
    partial: BytesMut,
}

impl LineDecoder {
    /// Bytes of memory held for a line that has not come whole.
    pub(super) fn held(&self) -> usize {
        self.partial.capacity()
    }

    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        limit: usize,
        mut on: impl FnMut(Received<'_>) -> bool,
    ) -> Result<(), Violation> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            check(self.partial.len() + line.len(), limit)?;
            let go_on = if self.partial.is_empty() {
                on(Received::Text(trimmed(line)))
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                on(Received::Text(trimmed(whole.chunk())))
            };
            if !go_on {
                return Ok(());
            }
        }
        check(self.partial.len() + bytes.len(), limit)?;
        self.partial.extend_from_slice(bytes);
        Ok(())
    }
}

fn check(size: usize, limit: usize) -> Result<(), Violation> {
    match size {
        long if limit < long => Err(Violation::TooLong { size: size as u64, limit }),
        _ => Ok(()),
    }
}

fn trimmed(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., b'\r'] = line {
        line = rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(chunks: &[&str]) -> Result<Vec<String>, Violation> {
        let (mut decoder, mut heard) = (LineDecoder::default(), Vec::new());
        for chunk in chunks {
            decoder.feed(chunk.as_bytes(), 8, |received| {
                let Received::Text(text) = received else { panic!("{received:?}") };
                heard.push(String::from_utf8(text.to_vec()).unwrap());
                true
            })?;
        }
        Ok(heard)
    }

    #[test]
    fn lines_come_whole_whatever_the_pieces() {
        let text = "one\ntwo\r\n\n\rx\n";
        let expected = ["one", "two", "", "\rx"];
        assert_eq!(feed(&[text]).unwrap(), expected);
        for at in 0..text.len() {
            assert_eq!(feed(&[&text[..at], &text[at..]]).unwrap(), expected, "cut at {at}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_too_long_at_the_limit() {
        assert!(feed(&["12345678\n", "12345678"]).is_ok());
        assert_eq!(feed(&["1234", "56789"]), Err(Violation::TooLong { size: 9, limit: 8 }));
        assert_eq!(feed(&["123456789\n"]), Err(Violation::TooLong { size: 9, limit: 8 }));
    }
}
