//! The URL of a receiver.

use std::fmt;

use http::Uri;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

/// Not the URL of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// No URL.
    #[error("not a URL")]
    Form,
    /// Another scheme.
    #[error("a URL of a webhook begins with http:// or https://")]
    Scheme,
    /// A name or password in front of the host.
    #[error("a URL of a webhook has no user and password; its requests are signed")]
    User,
}

/// An absolute URL with the scheme `http` or `https`. Its query may have a token of the receiver,
/// so it is shown without.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HookUrl {
    is_tls: bool,
    /// IPv6 without brackets.
    host: String,
    port: u16,
    /// With a port if the URL has one.
    authority: String,
    /// Path and query.
    target: String,
}

impl HookUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// When it is none, or has another scheme, or a user.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let uri: Uri = text.parse().map_err(|_| InvalidUrl::Form)?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(InvalidUrl::Scheme),
        };
        let authority = uri.authority().ok_or(InvalidUrl::Form)?;
        if authority.as_str().contains('@') {
            return Err(InvalidUrl::User);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(InvalidUrl::Form);
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().ends_with(authority.host()) => {
                if is_tls {
                    443
                } else {
                    80
                }
            }
            // A port that is no number.
            None => return Err(InvalidUrl::Form),
        };
        let target = uri.path_and_query().map_or("", |target| target.as_str());
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self {
            is_tls,
            host: host.to_owned(),
            port,
            authority: authority.as_str().to_owned(),
            target: format!("{slash}{target}"),
        })
    }

    /// Whether it begins with `https`.
    pub const fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The name or address of the host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 80 or 443 if the URL has none.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The value of the header `Host`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The address to connect to, as `host:port`.
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        let path = self.target.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{}{path}", self.authority)
    }
}

impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for HookUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HookUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_taken_apart() {
        let url = HookUrl::parse("https://example.com/a/b?token=x").unwrap();
        assert_eq!((url.is_tls(), url.host(), url.port()), (true, "example.com", 443));
        assert_eq!((url.authority(), url.target()), ("example.com", "/a/b?token=x"));
        let url = HookUrl::parse("http://[::1]:9000").unwrap();
        assert_eq!((url.host(), url.port(), url.target()), ("::1", 9000, "/"));
        assert_eq!((&*url.address(), url.authority()), ("[::1]:9000", "[::1]:9000"));
        assert_eq!(HookUrl::parse("http://h?x=1").unwrap().target(), "/?x=1");
    }

    #[test]
    fn query_is_not_shown() {
        let url = HookUrl::parse("https://example.com:8443/a?token=x").unwrap();
        let shown = format!("{url} {url:?} {}", serde_json::json!(url));
        assert!(
            shown.contains("https://example.com:8443/a") && !shown.contains("token"),
            "{shown}"
        );
    }

    #[test]
    fn other_text_is_refused() {
        use InvalidUrl::{Form, Scheme, User};
        for (text, error) in [
            ("", Form),
            ("/hook", Scheme),
            ("example.com", Scheme),
            ("ftp://example.com/", Scheme),
            ("http://", Form),
            ("http://:80/", Form),
            ("http://h:port/", Form),
            ("http://h:99999/", Form),
            ("http://a:b@h/", User),
            ("http://h/ x", Form),
        ] {
            assert_eq!(HookUrl::parse(text).unwrap_err(), error, "{text}");
        }
    }
}
