//! One message per line.

use super::{Partial, Received, Violation};

/// Decoder of lines. The line feed, and any carriage returns before it, are not part of the
/// message. An empty line is an empty message.
#[derive(Debug, Default)]
pub struct LineDecoder {
    partial: Partial,
    /// Number of buffered bytes already searched for a line feed.
    searched: usize,
}

impl LineDecoder {
    /// Bytes of memory held for an incomplete line.
    pub(super) fn held(&self) -> usize {
        self.partial.held()
    }

    pub(super) fn partial(&mut self) -> &mut Partial {
        &mut self.partial
    }

    /// Buffered bytes.
    pub(super) fn len(&self) -> usize {
        self.partial.len()
    }

    pub(super) fn feed(
        &mut self,
        bytes: &mut [u8],
        limit: usize,
        mut on: impl FnMut(Received<'_>) -> bool,
    ) -> Result<(), Violation> {
        let mut searched = std::mem::take(&mut self.searched);
        self.partial.feed(bytes, |all| {
            let mut consumed = 0;
            while let Some(length) = all[searched..].iter().position(|byte| *byte == b'\n') {
                let line = &all[consumed..searched + length];
                searched += length + 1;
                consumed = searched;
                check(line.len(), limit)?;
                if !on(Received::Text(trimmed(line))) {
                    return Ok(consumed);
                }
            }
            check(all.len() - consumed, limit)?;
            self.searched = all.len() - consumed;
            Ok(consumed)
        })
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
        let (mut decoder, mut lines) = (LineDecoder::default(), Vec::new());
        for chunk in chunks {
            decoder.feed(&mut chunk.as_bytes().to_vec(), 8, |received| {
                let Received::Text(text) = received else { panic!("{received:?}") };
                lines.push(String::from_utf8(text.to_vec()).unwrap());
                true
            })?;
        }
        Ok(lines)
    }

    #[test]
    fn lines_are_reassembled_from_any_chunks() {
        let text = "one\ntwo\r\n\n\rx\n";
        let expected = ["one", "two", "", "\rx"];
        assert_eq!(feed(&[text]).unwrap(), expected);
        for at in 0..text.len() {
            assert_eq!(feed(&[&text[..at], &text[at..]]).unwrap(), expected, "cut at {at}");
        }
    }

    #[test]
    fn line_over_limit_is_refused_even_if_incomplete() {
        assert!(feed(&["12345678\n", "12345678"]).is_ok());
        assert_eq!(feed(&["1234", "56789"]), Err(Violation::TooLong { size: 9, limit: 8 }));
        assert_eq!(feed(&["123456789\n"]), Err(Violation::TooLong { size: 9, limit: 8 }));
    }
}
