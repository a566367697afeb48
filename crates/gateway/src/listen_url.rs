//! URLs of client listeners.

use std::{fmt, str::FromStr};

use framing::Framing;
use serde::{Serialize, Serializer};
use service::settings::{Address, Unresolved};

use crate::settings::Listener;

/// A `--listen` URL, not resolved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenUrl {
    scheme: Scheme,
    addr: Address,
}

/// The framing of a listener, with or without TLS.
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

impl ListenUrl {
    /// The listener that this URL describes. A host name is resolved.
    ///
    /// # Errors
    /// When the host name cannot be resolved.
    pub(crate) fn listener(&self) -> Result<Listener, Unresolved> {
        let (tls, framing) = match self.scheme {
            Scheme::Plain(framing) => (false, framing),
            Scheme::Tls(framing) => (true, framing),
        };
        Ok(Listener { addr: self.addr.resolve("--listen")?, framing, tls })
    }

    /// The framing of the listener.
    pub(crate) const fn framing(&self) -> Framing {
        match self.scheme {
            Scheme::Plain(framing) | Scheme::Tls(framing) => framing,
        }
    }
}

impl FromStr for ListenUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, addr) = text.split_once("://").unwrap_or(("ws", text));
        let Some((_, scheme)) = SCHEMES.iter().find(|(known, _)| *known == scheme) else {
            let known: Vec<_> = SCHEMES.iter().map(|(known, _)| *known).collect();
            return Err(format!(
                "unsupported scheme {scheme:?}, expected one of {}",
                known.join(", ")
            ));
        };
        let addr = addr.strip_suffix('/').unwrap_or(addr);
        let addr = addr.parse().map_err(|error| format!("{addr:?}: {error}"))?;
        Ok(Self { scheme: *scheme, addr })
    }
}

impl fmt::Display for ListenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = SCHEMES.iter().find(|(_, scheme)| *scheme == self.scheme);
        write!(f, "{}://{}", scheme.map_or("ws", |(name, _)| name), self.addr)
    }
}

impl Serialize for ListenUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
