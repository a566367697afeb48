//! Proxies in front of the gateway, and the client addresses that they state.

use std::net::{IpAddr, SocketAddr};

use framing::http::{AddressRange, ForwardedHeader, Request};

/// The proxies in front: which peers are some, and how these state the address of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proxies {
    /// The peers whose header counts. If there are any, no other peer may send a PROXY header.
    pub(crate) trusted: Vec<AddressRange>,
    /// The header of a WebSocket handshake in which they state it.
    pub(crate) header: ForwardedHeader,
    /// Whether each connection must begin with a PROXY header.
    pub(crate) protocol: bool,
}

/// `--proxy-header`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProxyHeader {
    /// Each proxy appends the address that connected to it.
    #[default]
    XForwardedFor,
    /// The proxy replaces it.
    XRealIp,
    /// RFC 7239: each proxy appends an element with `for=`.
    Forwarded,
}

impl From<ProxyHeader> for ForwardedHeader {
    fn from(header: ProxyHeader) -> Self {
        match header {
            ProxyHeader::XForwardedFor => Self::XForwardedFor,
            ProxyHeader::XRealIp => Self::XRealIp,
            ProxyHeader::Forwarded => Self::Forwarded,
        }
    }
}

impl Proxies {
    /// Whether there may be any.
    pub(crate) fn any(&self) -> bool {
        self.protocol || !self.trusted.is_empty()
    }

    /// Whether a peer may connect: with the PROXY protocol and trusted proxies, only these may.
    pub(crate) fn may_connect(&self, peer: IpAddr) -> bool {
        !self.protocol || self.trusted.is_empty() || self.is_trusted(peer)
    }

    /// Whether a peer's requests state the addresses of clients.
    pub(crate) fn is_trusted(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|range| range.contains(peer))
    }

    /// The client that sent a request, which came over a connection of `peer`. The port is 0 if it
    /// is not stated.
    pub(crate) fn client(&self, request: &Request, peer: SocketAddr) -> SocketAddr {
        self.header.client(request, peer, &self.trusted)
    }
}

/// An address with IPv4 in its own form, as a listener on `[::]` does not report it.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, addr.port()),
        IpAddr::V6(_) => addr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(protocol: bool, trusted: &[&str]) -> Proxies {
        let trusted = trusted.iter().map(|range| range.parse().unwrap()).collect();
        Proxies { trusted, protocol, ..Proxies::default() }
    }

    #[test]
    fn only_trusted_peers_may_connect_with_the_proxy_protocol() {
        let (inside, outside) = ("10.0.0.7".parse().unwrap(), "192.0.2.7".parse().unwrap());
        for (proxies, expected) in [
            (proxies(false, &[]), [true, true]),
            (proxies(false, &["10.0.0.0/8"]), [true, true]),
            (proxies(true, &[]), [true, true]),
            (proxies(true, &["10.0.0.0/8"]), [true, false]),
        ] {
            assert_eq!(
                [inside, outside].map(|ip| proxies.may_connect(ip)),
                expected,
                "{proxies:?}"
            );
        }
    }

    #[test]
    fn mapped_ipv4_address_becomes_ipv4_and_others_stay() {
        for (before, after) in [
            ("[::ffff:192.0.2.7]:5", "192.0.2.7:5"),
            ("192.0.2.7:5", "192.0.2.7:5"),
            ("[2001:db8::7]:5", "[2001:db8::7]:5"),
            ("[fe80::7%3]:5", "[fe80::7%3]:5"),
        ] {
            assert_eq!(canonical(before.parse().unwrap()), after.parse().unwrap());
        }
    }
}
