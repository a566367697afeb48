//! The unit in which limits by address count: an IPv4 address, or an IPv6 network.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// An IPv4 address, or the first 64 bits of an IPv6 address: a subscriber has at least so many
/// addresses, and uses any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for Network {
    /// The network of an address. An IPv4 address in its IPv6 form is an IPv4 address.
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.to_bits()),
            IpAddr::V6(ip) => Self::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

impl Network {
    /// A number that spreads networks evenly over a few parts of a table.
    pub(crate) const fn spread(self) -> usize {
        let bits = match self {
            Self::V4(bits) => bits as u64,
            Self::V6(bits) => bits,
        };
        (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(bits) => Ipv4Addr::from_bits(*bits).fmt(f),
            Self::V6(bits) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*bits) << 64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_addresses_of_one_64_are_one_network_and_ipv4_has_one_form() {
        for (address, network) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::7", "2001:db8:1:3::/64"),
            ("::1", "::/64"),
        ] {
            let ip: IpAddr = address.parse().unwrap();
            assert_eq!(Network::from(ip).to_string(), network, "{address}");
        }
        assert_ne!(Network::V4(7), Network::V6(7));
    }

    #[test]
    fn networks_are_spread_evenly() {
        let mut counts = [0; 16];
        for last in 0..4096_u64 {
            counts[Network::V6(0x2001_0db8_0000_0000 | last).spread() % 16] += 1;
        }
        assert!(counts.iter().all(|count| (128..512).contains(count)), "{counts:?}");
    }
}
