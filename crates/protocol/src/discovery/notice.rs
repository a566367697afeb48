//! What a register of ours says to a gateway, besides pongs.

use std::net::SocketAddr;

use bytes::BytesMut;
use serde::Deserialize;

use crate::codec::json_lines;

/// A line for a gateway that names an instance. Gateways that do not know it pass over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayNotice {
    /// Another gateway announces the same address: say something, to show that this one lives.
    Probe,
    /// The announcement is refused; the connection is closed after this.
    AddressTaken {
        /// Where the gateway connects from that has announced the address before, and lives.
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

    /// Reads it from a line, without its ending; `None` if the line says something else.
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
    fn notice_reads_back_and_no_other_line_is_one() {
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
