//! The client's address behind proxies: `X-Forwarded-For`, `X-Real-IP` and `Forwarded` (RFC 7239).
//!
//! Every sender can state any address. So the chain of addresses is read from its end:
//! the last entry was appended by the proxy that connected, and each further entry counts only while
//! the one behind it is a proxy that the operator trusts.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::Request;

/// Maximum number of entries that are read; a longer chain ends there.
const MAX_HOPS: usize = 64;

/// A range of addresses, such as `10.0.0.0/8` or `::1`. A range of IPv4 addresses in their IPv6 form
/// is the IPv4 range; other IPv6 ranges, `::/0` too, have no IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    first: IpAddr,
    /// Length of the prefix in bits.
    prefix: u8,
}

/// A range of addresses that cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidRange {
    /// Not an address, with or without a prefix length.
    #[error("expected an address or a range such as 10.0.0.0/8 or 2001:db8::/32")]
    Malformed,
    /// Bits behind the prefix are set, so that one of the two is a mistake.
    #[error("bits behind the prefix are not zero")]
    HostBits,
}

/// Bits before an IPv4 address in its IPv6 form.
const MAPPED: u8 = 96;

impl AddressRange {
    /// Whether every address of its version is in the range.
    #[must_use]
    pub const fn is_all(self) -> bool {
        self.prefix == 0
    }

    /// Whether an address is in the range. An IPv4 address in its IPv6 form is an IPv4 address.
    #[must_use]
    pub fn contains(self, ip: IpAddr) -> bool {
        match (self.first, ip.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(ip)) => {
                (first.to_bits() ^ ip.to_bits()) & mask::<32>(self.prefix) as u32 == 0
            }
            (IpAddr::V6(first), IpAddr::V6(ip)) => {
                (first.to_bits() ^ ip.to_bits()) & mask::<128>(self.prefix) == 0
            }
            _ => false,
        }
    }
}

/// The `prefix` highest of `N` bits, and all bits above these.
fn mask<const N: u32>(prefix: u8) -> u128 {
    u128::MAX.checked_shl(N - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for AddressRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let first: IpAddr = ip.parse().map_err(|_| InvalidRange::Malformed)?;
        let bits = if first.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                digits.parse().ok().filter(|it| *it <= bits).ok_or(InvalidRange::Malformed)?
            }
            Some(_) => return Err(InvalidRange::Malformed),
        };
        let host_bits = match first {
            IpAddr::V4(ip) => u128::from(ip.to_bits()) & !mask::<32>(prefix),
            IpAddr::V6(ip) => ip.to_bits() & !mask::<128>(prefix),
        };
        if host_bits != 0 {
            return Err(InvalidRange::HostBits);
        }
        match (first.to_canonical(), prefix.checked_sub(MAPPED)) {
            (mapped @ IpAddr::V4(_), Some(prefix)) if first.is_ipv6() => {
                Ok(Self { first: mapped, prefix })
            }
            _ => Ok(Self { first, prefix }),
        }
    }
}

impl Serialize for AddressRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// The header in which trusted proxies name the client. Only one counts: a proxy passes on the
/// others as the client sent them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: each proxy appends the address that connected to it.
    #[default]
    XForwardedFor,
    /// `X-Real-IP`: the proxy replaces it.
    XRealIp,
    /// `Forwarded` (RFC 7239): each proxy appends an element with `for=`. Quoted commas separate as
    /// well: an address has none, and a quote that the client leaves open must not hide what
    /// proxies append.
    Forwarded,
}

impl ForwardedHeader {
    const fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "X-Forwarded-For",
            Self::XRealIp => "X-Real-IP",
            Self::Forwarded => "Forwarded",
        }
    }

    /// The address of the client whose request came over a connection from `peer`: `peer`, unless
    /// that is a trusted proxy; else the last address of the header that is not one. An entry that
    /// is no address (`unknown`, or a name that a proxy made up) ends the chain: the client is the
    /// proxy that sent it. The port is 0 if none is stated.
    #[must_use]
    pub fn client(
        self,
        request: &Request,
        peer: SocketAddr,
        trusted: &[AddressRange],
    ) -> SocketAddr {
        let is_trusted = |addr: SocketAddr| trusted.iter().any(|range| range.contains(addr.ip()));
        let mut client = peer;
        if !is_trusted(client) {
            return client;
        }
        let headers = request.handshake.headers.iter().rev();
        let values = headers
            .filter(|header| header.name.eq_ignore_ascii_case(self.name()))
            .map(|header| header.value.as_ref());
        let entries = values.flat_map(|value| entries(value).rev());
        for entry in entries.take(MAX_HOPS) {
            let Some(addr) = self.address(entry) else { break };
            client = addr;
            if !is_trusted(addr) {
                break;
            }
        }
        client
    }

    fn address(self, entry: &[u8]) -> Option<SocketAddr> {
        let entry = std::str::from_utf8(entry).ok()?;
        match self {
            Self::XForwardedFor | Self::XRealIp => address(entry),
            Self::Forwarded => address(forwarded_for(entry)?),
        }
    }
}

/// The comma-separated entries of a header, in order.
fn entries(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty())
}

/// The value of `for` in an element of `Forwarded`, without quotes.
fn forwarded_for(element: &str) -> Option<&str> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let value = value.trim();
    let unquoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    Some(unquoted.unwrap_or(value))
}

/// An address with or without a port. IPv6 may be in brackets, and is with a port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, port) = rest.split_once(']')?;
            (IpAddr::V6(ip.parse::<Ipv6Addr>().ok()?), port)
        }
        None => match text.parse::<IpAddr>() {
            Ok(ip) => (ip, ""),
            Err(_) => {
                let end = text.find(':')?;
                (IpAddr::V4(text[..end].parse::<Ipv4Addr>().ok()?), &text[end..])
            }
        },
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().ok()?,
        None if port.is_empty() => 0,
        None => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests;
