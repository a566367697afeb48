//! Additional header fields and subprotocols, validated when they are parsed.

use std::{fmt, str::FromStr};

use protocol::grant::{ResponseHeader, is_token};
use serde::{Serialize, Serializer};

/// An additional header field, `Name: value`. It is sent as given, in one line, and does not
/// conflict with the fields of the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field(ResponseHeader);

/// The name of a supported subprotocol, or `*` for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subprotocol(String);

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').ok_or("expected 'Name: value'")?;
        if name.eq_ignore_ascii_case("Sec-WebSocket-Protocol") {
            return Err("subprotocols are set with --subprotocol".into());
        }
        ResponseHeader::new(name, value).map(Self).map_err(|error| error.to_string())
    }
}

impl FromStr for Subprotocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match is_token(text.as_bytes()) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("{text:?} is not a valid subprotocol name")),
        }
    }
}

impl Subprotocol {
    /// Whether it supports the subprotocol of this name explicitly, not as `*`.
    pub fn is(&self, name: &str) -> bool {
        !self.is_any() && self.0 == name
    }

    /// Whether any subprotocol is supported.
    pub fn is_any(&self) -> bool {
        self.0 == "*"
    }

    /// A name offered by a client, if it is valid.
    pub fn token(offered: &[u8]) -> Option<&str> {
        std::str::from_utf8(offered).ok().filter(|_| is_token(offered))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Subprotocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_is_name_and_value_in_one_line() {
        let field = |text: &str| text.parse::<Field>().map(|field| field.to_string());
        assert_eq!(
            field("X-Served-By:  a: b, \u{e4}\t").as_deref(),
            Ok("X-Served-By: a: b, \u{e4}")
        );
        assert_eq!(field("X-Empty:").as_deref(), Ok("X-Empty: "));
        for wrong in ["", "X-No-Value", ": value", "X Space: v", "X-A : v", "X-\u{e4}: v"] {
            assert!(field(wrong).is_err(), "{wrong:?}");
        }
        for split in ["X-A: v\r\nX-B: w", "X-A: v\n", "X-A: \u{0}", "X-A: \u{7f}", "X-A\r\n: v"] {
            assert!(field(split).is_err(), "{split:?}");
        }
    }

    #[test]
    fn reserved_field_is_refused() {
        for name in ["upgrade", "CONNECTION", "Content-Length", "Transfer-Encoding"] {
            assert!(format!("{name}: x").parse::<Field>().is_err(), "{name}");
        }
        for name in ["Accept", "Key", "Version", "Extensions", "Anything"] {
            let field = format!("sec-websocket-{name}: x");
            assert!(field.parse::<Field>().unwrap_err().contains("handshake"), "{name}");
        }
        let error = "Sec-WebSocket-Protocol: chat".parse::<Field>().unwrap_err();
        assert!(error.contains("--subprotocol"), "{error}");
        assert!("Sec-WebSocket: x".parse::<Field>().is_ok());
    }

    #[test]
    fn subprotocol_is_a_token() {
        let subprotocol: Subprotocol = "mqtt.v5".parse().unwrap();
        assert!(subprotocol.is("mqtt.v5") && !subprotocol.is("*") && !subprotocol.is_any());
        assert!("*".parse::<Subprotocol>().unwrap().is_any());
        for wrong in ["", "a b", "a,b", "a\r\nb"] {
            assert!(wrong.parse::<Subprotocol>().is_err(), "{wrong:?}");
        }
    }
}
