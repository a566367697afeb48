//! The URL of another gateway, for the built-in page (`--web-failover`).

/// Parses a URL of the form `ws://HOST[:PORT]` or `wss://HOST[:PORT]`. It becomes part of a header and
/// of a page, so nothing but the characters of names, addresses and ports is accepted.
pub(super) fn parse(text: &str) -> Result<String, String> {
    let url = text.strip_suffix('/').unwrap_or(text);
    let host = url.strip_prefix("ws://").or_else(|| url.strip_prefix("wss://"));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    match host {
        Some(host) if !host.is_empty() && host.chars().all(is_plain) => Ok(url.to_owned()),
        Some(_) | None => Err("must be ws://HOST:PORT or wss://HOST:PORT".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_websockets_are_accepted() {
        for (text, url) in [
            ("ws://127.0.0.1:7273/", "ws://127.0.0.1:7273"),
            ("wss://b.example.com", "wss://b.example.com"),
            ("ws://[::1]:7273", "ws://[::1]:7273"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(url));
        }
        for text in [
            "",
            "ws://",
            "http://a",
            "127.0.0.1:7273",
            "ws://a/b",
            "ws://a b",
            "ws://a;script-src *",
            "ws://a\"><script>",
            "ws://a\r\nX: y",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
