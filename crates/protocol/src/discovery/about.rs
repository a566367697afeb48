//! The answer of a Rust register to a peer that asks what it is.

use bytes::BytesMut;
use serde::{Deserialize, Serialize};

use crate::{codec::json_lines, inspect::CertificateStatus};

/// A register, as it describes itself in the line before the first list for a
/// [`WorkerConnect`](super::WorkerConnect) that asks for it. A register without support for it sends
/// the list alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AboutRegister {
    /// The version of the program.
    pub version: String,
    /// The commit that it was built from, if its build has stated it.
    #[serde(default)]
    pub commit: Option<String>,
    /// For how long it has run, in milliseconds.
    #[serde(default)]
    pub uptime: u64,
    /// The certificates in use.
    #[serde(default)]
    pub certificates: Vec<CertificateStatus>,
}

impl AboutRegister {
    /// Writes it as a line.
    pub fn encode(&self, out: &mut BytesMut) {
        let Self { version, commit, uptime, certificates } = self;
        let fields = serde_json::json!({
            "event": "about",
            "version": version,
            "commit": commit,
            "uptime": uptime,
            "certificates": certificates,
        });
        json_lines::encode(&fields, out);
    }

    /// Parses a line, without its ending; `None` for any other line.
    pub fn parse(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(tag = "event", rename_all = "snake_case")]
        enum Line {
            About(AboutRegister),
        }
        let Line::About(about) = serde_json::from_slice(line).ok()?;
        Some(about)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn line_is_read_with_and_without_further_fields() {
        let about = AboutRegister {
            version: "1.2.3".to_owned(),
            commit: None,
            uptime: 300,
            certificates: vec![CertificateStatus {
                flag: "--inner-tls-cert".to_owned(),
                file: "a.pem".to_owned(),
                not_after: Some(7),
            }],
        };
        let mut out = BytesMut::new();
        about.encode(&mut out);
        let expected = "{\"event\":\"about\",\"version\":\"1.2.3\",\"commit\":null,\"uptime\":300,\
                        \"certificates\":[{\"flag\":\"--inner-tls-cert\",\"file\":\"a.pem\",\
                        \"not_after\":7}]}\n";
        assert_eq!(str::from_utf8(&out).unwrap(), expected);
        assert_eq!(AboutRegister::parse(out.trim_ascii_end()), Some(about));
        let other = AboutRegister::parse(br#"{"event":"about","version":"9","more":{}}"#).unwrap();
        assert_eq!((other.version.as_str(), other.uptime), ("9", 0));
        for line in [&b""[..], b"{}", b"[]", br#"{"event":"pong"}"#, br#"{"event":"about"}"#] {
            assert_eq!(AboutRegister::parse(line), None);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_line_does_not_panic(line in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = AboutRegister::parse(&line);
        }
    }
}
