//! Where clients come in: the listeners' addresses.

use std::{fmt, net::SocketAddr, str::FromStr};

use serde::{Serialize, Serializer};

use crate::{framing::Framing, settings::Door};

/// A `--listen` as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    scheme: Scheme,
    addr: SocketAddr,
}

/// What is spoken at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Tls(Framing),
    Plain(Framing),
}

const SCHEMES: [(&str, Scheme); 5] = [
    ("ws", Scheme::Plain(Framing::WebSocket)),
    ("wss", Scheme::Tls(Framing::WebSocket)),
    ("text", Scheme::Plain(Framing::Text)),
    ("frame", Scheme::Plain(Framing::Frame)),
    ("tcp", Scheme::Plain(Framing::Tcp)),
];

impl Listen {
    /// Where to listen, and for what.
    pub(crate) fn door(&self) -> Door {
        let (tls, framing) = match self.scheme {
            Scheme::Plain(framing) => (false, framing),
            Scheme::Tls(framing) => (true, framing),
        };
        Door { addr: self.addr, framing, tls }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, addr) = text.split_once("://").unwrap_or(("ws", text));
        let Some((_, scheme)) = SCHEMES.iter().find(|(known, _)| *known == scheme) else {
            let known: Vec<_> = SCHEMES.iter().map(|(known, _)| *known).collect();
            return Err(format!("{scheme:?} is none of {}", known.join(", ")));
        };
        let addr = addr.strip_suffix('/').unwrap_or(addr);
        let addr = addr.parse().map_err(|_| format!("{addr:?} is not IP:PORT"))?;
        Ok(Self { scheme: *scheme, addr })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = SCHEMES.iter().find(|(_, scheme)| *scheme == self.scheme);
        write!(f, "{}://{}", scheme.map_or("ws", |(name, _)| name), self.addr)
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
