//! The peers that a register refuses, for which operators ask.

use std::net::IpAddr;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{MAX_NAME, RegisterParseError};
use crate::codec::json_lines;

/// The peers that a register has refused lately, the last one first. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusedPeers(pub Vec<RefusedPeer>);

/// A peer that a register refuses, again and again if the peer tries again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedPeer {
    /// The address that it connects from.
    pub from: IpAddr,
    /// Its kind, by its own statement.
    pub kind: RefusedKind,
    /// The inner address that a gateway announces.
    #[serde(default)]
    pub address: Option<String>,
    /// Why it is refused, as the label of `pushsuite_register_refused_total`: `wrong_key`, `plain`,
    /// `tls`, `address_taken`.
    pub reason: String,
    /// How often.
    pub times: u64,
    /// The time since it was refused last.
    pub ago: u64,
}

/// The kind of a refused peer, by its own statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedKind {
    /// A gateway.
    Gateway,
    /// A worker of the native protocol.
    Worker,
    /// A back end, `gwctl`, a worker in PHP, or a peer that has stated nothing.
    #[serde(other)]
    Other,
}

/// The most refused peers of a register.
pub const MAX_REFUSED_PEERS: usize = 64;

impl RefusedPeers {
    /// Parses one line, without its ending. Peers with invalid fields are skipped, and no more than
    /// [`MAX_REFUSED_PEERS`] are read.
    ///
    /// # Errors
    /// When it is another line: a register that keeps no refused peers closes the connection.
    pub fn parse(line: &[u8]) -> Result<Self, RegisterParseError> {
        let unknown = |_| RegisterParseError::Unknown;
        let mut line: Value = serde_json::from_slice(line).map_err(unknown)?;
        if line.get("event").and_then(Value::as_str) != Some("refused_peers") {
            return Err(RegisterParseError::Unknown);
        }
        let peers = match line.get_mut("peers").map(Value::take) {
            Some(Value::Array(list)) => list,
            Some(_) | None => Vec::new(),
        };
        let peers = peers.into_iter().filter_map(|it| serde_json::from_value(it).ok());
        Ok(Self(peers.filter(RefusedPeer::is_short).take(MAX_REFUSED_PEERS).collect()))
    }

    /// Writes it as a line.
    pub fn encode(&self, out: &mut BytesMut) {
        let line = serde_json::json!({ "event": "refused_peers", "peers": self.0 });
        json_lines::encode(&line, out);
    }
}

impl RefusedPeer {
    /// Whether it is the same peer, refused for the same reason, perhaps by another register.
    pub fn is_same(&self, other: &Self) -> bool {
        let Self { from, kind, address, reason, .. } = self;
        (from, kind, address, reason) == (&other.from, &other.kind, &other.address, &other.reason)
    }

    fn is_short(&self) -> bool {
        let address = self.address.as_ref().map_or(0, String::len);
        address <= MAX_NAME && self.reason.len() <= MAX_NAME
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused() -> RefusedPeer {
        RefusedPeer {
            from: IpAddr::from([10, 0, 0, 2]),
            kind: RefusedKind::Gateway,
            address: Some("10.0.0.2:2900".to_owned()),
            reason: "wrong_key".to_owned(),
            times: 14,
            ago: 350,
        }
    }

    fn line(peers: &[RefusedPeer]) -> String {
        let mut out = BytesMut::new();
        RefusedPeers(peers.to_vec()).encode(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn parse(text: &str) -> Result<Vec<RefusedPeer>, RegisterParseError> {
        RefusedPeers::parse(text.trim_end().as_bytes()).map(|peers| peers.0)
    }

    /// These lines are a promise to deployed peers. Add cases; never edit one.
    #[test]
    fn golden_lines() {
        let other = RefusedPeer { kind: RefusedKind::Other, address: None, ..refused() };
        let peers = [refused(), other];
        let expected = "{\"event\":\"refused_peers\",\"peers\":[\
            {\"address\":\"10.0.0.2:2900\",\"ago\":350,\"from\":\"10.0.0.2\",\"kind\":\"gateway\",\
            \"reason\":\"wrong_key\",\"times\":14},\
            {\"address\":null,\"ago\":350,\"from\":\"10.0.0.2\",\"kind\":\"other\",\
            \"reason\":\"wrong_key\",\"times\":14}]}\n";
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(json(&line(&peers)), json(expected));
        assert_eq!(parse(&line(&peers)).unwrap(), peers);
    }

    #[test]
    fn unknown_kinds_and_fields_are_read_and_invalid_peers_are_skipped() {
        let text = r#"{"event":"refused_peers","new":{"x":1},"peers":[7,
            {"from":"::1","kind":"robot","reason":"new_reason","times":2,"ago":3,"more":1},
            {"from":"x","kind":"gateway","reason":"wrong_key","times":2,"ago":3}]}"#;
        let kinds: Vec<_> = parse(text).unwrap().iter().map(|it| it.kind).collect();
        assert_eq!(kinds, [RefusedKind::Other]);
    }

    #[test]
    fn other_lines_are_refused_and_long_ones_are_cut() {
        for text in ["", "[]", r#"{"event":"pong"}"#] {
            assert_eq!(parse(text), Err(RegisterParseError::Unknown), "{text}");
        }
        let long = RefusedPeer { address: Some("x".repeat(MAX_NAME + 1)), ..refused() };
        assert_eq!(parse(&line(&[long])), Ok(Vec::new()));
        assert_eq!(parse(&line(&vec![refused(); 100])).unwrap().len(), MAX_REFUSED_PEERS);
    }

    proptest! {
        #[test]
        fn arbitrary_line_does_not_panic(line in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = RefusedPeers::parse(&line);
        }
    }
}
