//! Where the servers are.

use std::net::{SocketAddr, ToSocketAddrs as _};

use anyhow::Context as _;

/// A server's address, as its URL gives it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) host: String,
    pub(crate) path: String,
}

impl Target {
    /// Reads `ws://HOST[:PORT][/PATH]`; `path` stands in for none.
    pub(crate) fn parse(url: &str, path: &str) -> anyhow::Result<Self> {
        Self::of_scheme("ws://", url, path)
    }

    /// Reads `http://HOST[:PORT]`.
    pub(crate) fn parse_http(url: &str) -> anyhow::Result<Self> {
        Self::of_scheme("http://", url, "/")
    }

    fn of_scheme(scheme: &str, url: &str, path: &str) -> anyhow::Result<Self> {
        let rest = url
            .strip_prefix(scheme)
            .with_context(|| format!("the URL must begin with {scheme}"))?;
        let (host, path) = match rest.find('/') {
            Some(at) if at + 1 < rest.len() => rest.split_at(at),
            _ => (rest.trim_end_matches('/'), path),
        };
        let with_port =
            if host.rsplit(']').next().is_some_and(|end| end.contains(':')) || host.is_empty() {
                host.to_owned()
            } else {
                format!("{host}:80")
            };
        let addr = with_port
            .to_socket_addrs()
            .with_context(|| format!("cannot find {with_port}"))?
            .next()
            .with_context(|| format!("{with_port} has no address"))?;
        Ok(Self { addr, host: host.to_owned(), path: path.to_owned() })
    }
}

/// Parses the listen address of the direct server.
pub(crate) fn socket_addr(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "not ADDRESS:PORT".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_may_leave_out_port_and_path() {
        let target = Target::parse("ws://127.0.0.1/chat?x=1", "/").unwrap();
        assert_eq!((target.addr.port(), target.path.as_str()), (80, "/chat?x=1"));
        assert_eq!(Target::parse("ws://[::1]:9/", "/x").unwrap().addr.port(), 9);
        assert_eq!(Target::parse("ws://[::1]:9/", "/x").unwrap().path, "/x");
        assert!(Target::parse("http://127.0.0.1", "/").is_err());
        assert_eq!(Target::parse_http("http://127.0.0.1:8080/").unwrap().addr.port(), 8080);
        assert!(Target::parse_http("ws://127.0.0.1").is_err());
    }
}
