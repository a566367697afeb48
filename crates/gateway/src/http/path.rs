//! Decoding of request paths into file names.

use std::borrow::Cow;

/// Percent-decodes a path; `None` if no file can have that path.
///
/// An encoded slash is refused: it would be part of a name, and a proxy that restricts access by
/// folder may interpret it that way. Backslashes, NUL, and the names `.` and `..` are refused,
/// encoded or not. Decoding is applied only once.
pub(super) fn decoded(path: &str) -> Option<Cow<'_, [u8]>> {
    let decoded = match path.contains('%') {
        true => Cow::Owned(percent_decoded(path.as_bytes())?),
        false => Cow::Borrowed(path.as_bytes()),
    };
    let is_safe = |name: &[u8]| {
        name != b"." && name != b".." && !name.iter().any(|byte| matches!(byte, 0 | b'\\'))
    };
    decoded.split(|byte| *byte == b'/').all(is_safe).then_some(decoded)
}

fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let mut digit = || char::from(*rest.next()?).to_digit(16);
        match (digit()? * 16 + digit()?) as u8 {
            b'/' => return None,
            byte => bytes.push(byte),
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_decoded_once() {
        for (path, expected) in [
            ("/a/b.js", &b"/a/b.js"[..]),
            ("/a%20b/c+d", b"/a b/c+d"),
            ("/%E4%BD%A0%e5%a5%bd.txt", "/\u{4f60}\u{597d}.txt".as_bytes()),
            ("/%C4%E3", b"/\xc4\xe3"),
            ("/%2525", b"/%25"),
            ("/%2e%2ejs/a..b/...", b"/..js/a..b/..."),
            ("//", b"//"),
        ] {
            assert_eq!(decoded(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn unsafe_path_is_refused() {
        for path in [
            "/..",
            "/../a",
            "/a/..",
            "/a/../b",
            "/./a",
            "/%2e%2e/a",
            "/.%2e/a",
            "/%2E",
            "/a%2fb",
            "/..%2fa",
            "/%2F",
            "/a%5cb",
            "/a\\b",
            "/%00",
            "/a%00.js",
            "/%",
            "/%2",
            "/%2x",
            "/%+1",
            "/%\u{e4}\u{e4}",
            "/%%30",
        ] {
            assert_eq!(decoded(path), None, "{path}");
        }
    }
}
