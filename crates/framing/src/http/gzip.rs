//! The content coding gzip, for files that are compressed once and sent often.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

/// Below this size in bytes a file fits into one packet anyway.
const MIN_SIZE: usize = 1024;

/// The file compressed, if that makes it smaller.
pub fn compressed(body: &[u8]) -> Option<Bytes> {
    if body.len() < MIN_SIZE {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).ok()?;
    let compressed = encoder.finish().ok()?;
    (compressed.len() < body.len()).then(|| compressed.into())
}

/// Whether a client accepts gzip, by its `Accept-Encoding` (RFC 9110, 12.5.3).
pub fn is_accepted(field: Option<&str>) -> bool {
    let Some(field) = field else { return false };
    let mut any = false;
    for coding in field.split(',') {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let quality = parameters.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        let is_wanted = quality.is_ok_and(|quality| quality > 0.0);
        match name.trim() {
            "gzip" | "x-gzip" => return is_wanted,
            "*" => any = is_wanted,
            _ => {}
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn gzip_is_accepted_unless_its_quality_is_zero() {
        for field in ["gzip", "br, gzip;q=0.5", "deflate,gzip", "*", "br;q=1, *;q=0.1", "x-gzip"] {
            assert!(is_accepted(Some(field)), "{field}");
        }
        for field in ["", "br", "gzip;q=0", "gzip;q=0.000, *", "*;q=0", "identity", "gzip;q=x"] {
            assert!(!is_accepted(Some(field)), "{field}");
        }
        assert!(!is_accepted(None));
    }

    #[test]
    fn file_is_compressed_if_that_makes_it_smaller() {
        let text = b"line of text\n".repeat(1000);
        let smaller = compressed(&text).unwrap();
        assert!(smaller.len() < text.len() / 10);
        let mut again = Vec::new();
        flate2::read::GzDecoder::new(&smaller[..]).read_to_end(&mut again).unwrap();
        assert_eq!(again, text);
        assert_eq!(compressed(&text[..MIN_SIZE - 1]), None);
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .take(4 * MIN_SIZE)
        .collect();
        assert_eq!(compressed(&noise), None);
    }
}
