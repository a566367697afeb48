//! Host names, resolved at startup.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
};

use super::{Address, Host};

/// A host name that could not be resolved.
#[derive(Debug, thiserror::Error)]
#[error("{flag}: {name} cannot be resolved: {error}")]
pub struct Unresolved {
    flag: &'static str,
    name: String,
    // Not named `source`, which would make it one: the text above already ends with it.
    error: io::Error,
}

impl Host {
    /// Its IP address: the first IPv4 address of a name, or else its first address. Blocks for as
    /// long as the system's resolver does; for the start of a process.
    ///
    /// # Errors
    /// Names `flag` when the name cannot be resolved.
    pub fn resolve(&self, flag: &'static str) -> Result<IpAddr, Unresolved> {
        let name = match self {
            Self::Ip(ip) => return Ok(*ip),
            Self::Name(name) => name,
        };
        let unresolved = |error| Unresolved { flag, name: name.clone(), error };
        let found = (name.as_str(), 0).to_socket_addrs().map_err(unresolved)?;
        let found: Vec<IpAddr> = found.map(|addr| addr.ip()).collect();
        let ip = found.iter().find(|ip| ip.is_ipv4()).or(found.first());
        ip.copied().ok_or_else(|| unresolved(io::Error::other("the name has no address")))
    }
}

impl Address {
    /// Its socket address; see [`Host::resolve`].
    ///
    /// # Errors
    /// Names `flag` when the name cannot be resolved.
    pub fn resolve(&self, flag: &'static str) -> Result<SocketAddr, Unresolved> {
        Ok(SocketAddr::new(self.host.resolve(flag)?, self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_with_an_ipv4_address_resolves_to_it() {
        let address: Address = "localhost:7".parse().unwrap();
        assert_eq!(address.resolve("--lan-listen").unwrap(), ([127, 0, 0, 1], 7).into());
    }

    #[test]
    fn unresolvable_name_is_reported_with_its_flag() {
        // A NUL fails without a query to a name server.
        let host = Host::Name("no\0host".to_owned());
        let error = host.resolve("--lan-ip").unwrap_err().to_string();
        assert!(error.starts_with("--lan-ip: no\0host cannot be resolved: "), "{error}");
    }
}
