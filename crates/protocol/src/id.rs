//! Client ids: on one gateway, and in the whole cluster.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

/// A connection on one gateway. Zero is never assigned, so that it can mean "no client" on the
/// wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionId(pub u32);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A client, anywhere in the cluster: its gateway's inner address and its connection there.
///
/// As text, `GatewayWorker`'s 20 lower-case hex digits (`IPv4`, inner port, connection id, all
/// big-endian), or 44 digits in the same order where the gateway's inner address is `IPv6`.
/// Upper case is accepted when read. `Display`, `FromStr` and serde all use that text; a log line
/// has it as `client = %id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId {
    /// The inner address that the client's gateway announces.
    pub gateway: SocketAddr,
    /// The connection on that gateway.
    pub connection: ConnectionId,
}

impl ClientId {
    /// The id of a connection of the gateway that announces `gateway`.
    pub fn new(gateway: SocketAddr, connection: ConnectionId) -> Self {
        // Scope and flow labels of IPv6 are not part of the text form, so they must not matter.
        Self { gateway: SocketAddr::new(gateway.ip(), gateway.port()), connection }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.gateway.ip() {
            IpAddr::V4(ip) => write!(f, "{:08x}", u32::from(ip))?,
            IpAddr::V6(ip) => write!(f, "{:032x}", u128::from(ip))?,
        }
        write!(f, "{:04x}{:08x}", self.gateway.port(), self.connection.0)
    }
}

impl Serialize for ClientId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClientId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Not a client id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a client id is 20 or 44 hex digits, not {0:?}")]
pub struct InvalidClientId(String);

impl FromStr for ClientId {
    type Err = InvalidClientId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The text may come from a browser: the error holds only a bounded part of it.
        let invalid = || InvalidClientId(text.chars().take(64).collect());
        let hex = text.as_bytes();
        let ip_digits = match hex.len() {
            20 => 8,
            44 => 32,
            _ => return Err(invalid()),
        };
        if !hex.iter().all(u8::is_ascii_hexdigit) {
            return Err(invalid());
        }
        let (ip, rest) = text.split_at(ip_digits);
        let (port, connection) = rest.split_at(4);
        let number = |digits: &str| u128::from_str_radix(digits, 16).map_err(|_| invalid());
        let ip = match ip_digits {
            8 => IpAddr::V4(Ipv4Addr::from_bits(number(ip)? as u32)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(number(ip)?)),
        };
        Ok(Self {
            gateway: SocketAddr::new(ip, number(port)? as u16),
            connection: ConnectionId(number(connection)? as u32),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(gateway: &str, connection: u32) -> ClientId {
        ClientId::new(gateway.parse().unwrap(), ConnectionId(connection))
    }

    #[test]
    fn ipv4_client_id_has_the_twenty_digits_of_gatewayworker() {
        assert_eq!(id("127.0.0.1:2900", 1).to_string(), "7f0000010b5400000001");
    }

    #[test]
    fn client_id_round_trips_for_both_families() {
        for id in [id("10.1.2.3:65535", u32::MAX), id("[2001:db8::1]:2900", 7)] {
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
            let json = serde_json::to_string(&id).unwrap();
            assert_eq!(json, format!("\"{id}\""));
            assert_eq!(serde_json::from_str::<ClientId>(&json).unwrap(), id);
        }
    }

    #[test]
    fn invalid_client_id_is_rejected() {
        for text in [
            "",
            "7f",
            "7f0000010b540000000",
            "7f0000010b5400000001a",
            "中文中文中文12",
            "+f0000010b5400000001",
        ] {
            assert!(text.parse::<ClientId>().is_err(), "{text}");
        }
    }
}
