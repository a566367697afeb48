//! Limits on what a client, or all clients of an address, may do. docs/limits.md lists every limit
//! of the gateway.

mod addresses;
mod network;
mod recent_buckets;

use std::net::IpAddr;

use framing::http::AddressRange;

use runtime::token_bucket::Rate;

pub(crate) use self::addresses::{AddressLimit, Addresses, Excess};

/// The limits of connections by address, and of rates. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of each address.
    pub(crate) of_address: AddressLimits,
    /// Connections accepted in a second, over all addresses.
    pub(crate) handshakes: Option<Rate>,
    /// Of each client.
    pub(crate) of_client: ClientLimits,
}

/// The limits of each address: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AddressLimits {
    /// Open connections.
    pub(crate) connections: Option<usize>,
    /// Connections in a second; through a trusted proxy, handshakes.
    pub(crate) handshakes: Option<Rate>,
    /// Addresses that are not limited.
    pub(crate) exempt: Vec<AddressRange>,
}

/// The limits of each client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientLimits {
    /// Messages and control frames in a second.
    pub(crate) messages: Option<Rate>,
    /// Bytes in a second.
    pub(crate) bytes: Option<Rate>,
    /// Policy for a client that exceeds one of them.
    pub(crate) policy: RatePolicy,
}

/// Policy for a client that sends faster than it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RatePolicy {
    /// Read it no faster than that: its own socket is full then, and nothing is lost.
    #[default]
    Pause,
    /// Close it with 4429.
    Disconnect,
}

impl AddressLimits {
    /// Whether there are any.
    pub(crate) const fn is_enabled(&self) -> bool {
        self.connections.is_some() || self.handshakes.is_some()
    }

    /// Whether connections of this address are limited.
    pub(crate) fn apply_to(&self, ip: IpAddr) -> bool {
        self.is_enabled() && !self.exempt.iter().any(|range| range.contains(ip))
    }
}

impl ClientLimits {
    /// Whether there are any.
    pub(crate) const fn is_enabled(&self) -> bool {
        self.messages.is_some() || self.bytes.is_some()
    }
}
