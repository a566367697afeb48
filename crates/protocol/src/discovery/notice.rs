//! Messages from a Rust register to a gateway, besides pongs.

use std::net::SocketAddr;

use bytes::BytesMut;
use serde::Deserialize;

use crate::codec::json_lines;

/// A line for a gateway that states its instance. A gateway without support for it ignores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayNotice {
    /// Liveness probe, sent when another gateway announces the same address. Any reply proves that
    /// this gateway is alive.
    Probe,
    /// The announcement is refused; the connection is closed after this.
    AddressTaken {
        /// The address that the earlier announcer, which is alive, connects from.
        by: SocketAddr,
    },
}

impl GatewayNotice {
    /// Writes it as a line.
    pub fn encode(&self, out: &mut BytesMut) {
        let fields = match self {
            Self::Probe => serde_json::json!({ "event": "probe" }),
            Self::AddressTaken { by } => serde_json::json!({
                "event": "refused",
                "reason": "address_taken",
                "by": by.to_string(),
            }),
        };
        json_lines::encode(&fields, out);
    }

    /// Parses a line, without its ending; `None` for any other line.
    pub fn parse(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(tag = "event", rename_all = "snake_case")]
        enum Line {
            Probe,
            Refused(Refused),
        }
        #[derive(Deserialize)]
        #[serde(tag = "reason", rename_all = "snake_case")]
        enum Refused {
            AddressTaken { by: SocketAddr },
        }
        match serde_json::from_slice(line).ok()? {
            Line::Probe => Some(Self::Probe),
            Line::Refused(Refused::AddressTaken { by }) => Some(Self::AddressTaken { by }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notice_round_trips_and_other_lines_are_rejected() {
        let by = SocketAddr::from(([10, 0, 0, 1], 43210));
        for notice in [GatewayNotice::Probe, GatewayNotice::AddressTaken { by }] {
            let mut line = BytesMut::new();
            notice.encode(&mut line);
            assert_eq!(GatewayNotice::parse(line.trim_ascii_end()), Some(notice));
        }
        for other in [&br#"{"event":"pong"}"#[..], b"", b"\xff", br#"{"event":"refused"}"#] {
            assert_eq!(GatewayNotice::parse(other), None);
        }
    }
}
