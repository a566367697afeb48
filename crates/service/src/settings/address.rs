//! Addresses in settings: with an IP address or a host name.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use serde::{Serialize, Serializer};

/// An IP address or a host name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An IP address.
    Ip(IpAddr),
    /// A name to resolve.
    Name(String),
}

/// `HOST:PORT`; an IPv6 address is in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The host, before the colon.
    pub host: Host,
    /// The port, after the colon.
    pub port: u16,
}

/// Text that is not a valid host or address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The port is missing.
    #[error("not HOST:PORT")]
    NoPort,
    /// The port is not a number below 65,536.
    #[error("the port is not a number from 0 to 65535")]
    Port,
    /// Neither an IP address nor a valid host name.
    #[error("neither an IP address nor a host name")]
    Host,
    /// An IPv6 address without brackets, which would be ambiguous.
    #[error("an IPv6 address must be in brackets, as in [::1]:1236")]
    Brackets,
}

impl Host {
    /// Whether it is a loopback address, as far as can be determined without resolving it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Ip(ip) => ip.to_canonical().is_loopback(),
            Self::Name(name) => name.eq_ignore_ascii_case("localhost"),
        }
    }
}

impl FromStr for Host {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        match is_name(text) {
            true => Ok(Self::Name(text.to_owned())),
            false => Err(Malformed::Host),
        }
    }
}

/// Labels of letters, digits, hyphens and underscores, separated by dots. The last label must not
/// be all digits: such text looks like an IPv4 address, and is not a valid one.
fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

impl FromStr for Address {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (host, port) = text.rsplit_once(':').ok_or(Malformed::NoPort)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(ip) => Host::Ip(ip.parse::<Ipv6Addr>().map_err(|_| Malformed::Host)?.into()),
            None if host.contains(':') => return Err(Malformed::Brackets),
            None => host.parse()?,
        };
        // Rust's parser would accept a sign.
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or(Malformed::Port)?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::Name(name) => write!(f, "{name}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => write!(f, "{}", SocketAddr::new(*ip, self.port)),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        Self { host: Host::Ip(addr.ip()), port: addr.port() }
    }
}

impl Serialize for Host {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, Malformed> {
        text.parse::<Address>().map(|address| address.to_string())
    }

    #[test]
    fn address_with_an_ip_or_a_name_reads_back_as_it_is_shown() {
        for text in [
            "127.0.0.1:1",
            "[::1]:65535",
            "gateway-1:0",
            "my_register:1236",
            "a.b.example:1",
            "localhost:1",
            "1password.example:1",
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn address_that_can_never_be_reached_is_malformed() {
        for (text, why) in [
            ("", Malformed::NoPort),
            ("host", Malformed::NoPort),
            ("host:", Malformed::Port),
            ("host:port", Malformed::Port),
            ("host:70000", Malformed::Port),
            ("host:+1", Malformed::Port),
            (":1236", Malformed::Host),
            ("a b:1", Malformed::Host),
            ("a..b:1", Malformed::Host),
            ("-a:1", Malformed::Host),
            ("10.0.0.300:1", Malformed::Host),
            ("http://host:1", Malformed::Brackets),
            ("::1:1236", Malformed::Brackets),
            ("[host]:1", Malformed::Host),
            ("host\n:1", Malformed::Host),
        ] {
            assert_eq!(parsed(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn host_is_loopback_by_ip_or_by_its_well_known_name() {
        for (host, expected) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("localhost", true),
            ("10.0.0.1", false),
            ("register", false),
        ] {
            assert_eq!(host.parse::<Host>().unwrap().is_loopback(), expected, "{host}");
        }
    }
}
