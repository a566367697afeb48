//! Where clients come in: the listeners' addresses.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use service::settings::{Address, Unresolved};

use crate::{framing::Framing, settings::Door};

/// A `--listen` as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    scheme: Scheme,
    addr: Address,
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
    /// Where to listen, and for what. A name is looked up.
    ///
    /// # Errors
    /// When it cannot be.
    pub(crate) fn door(&self) -> Result<Door, Unresolved> {
        let (tls, framing) = match self.scheme {
            Scheme::Plain(framing) => (false, framing),
            Scheme::Tls(framing) => (true, framing),
        };
        Ok(Door { addr: self.addr.resolve("--listen")?, framing, tls })
    }

    /// What is spoken there.
    pub(crate) const fn framing(&self) -> Framing {
        match self.scheme {
            Scheme::Plain(framing) | Scheme::Tls(framing) => framing,
        }
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
        let addr = addr.parse().map_err(|error| format!("{addr:?}: {error}"))?;
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
