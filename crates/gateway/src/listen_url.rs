//! URLs of client listeners.

use std::{fmt, str::FromStr};

use framing::{FrameLayout, Framing};
use serde::{Serialize, Serializer};
use service::settings::{Address, Unresolved};

use crate::settings::Listener;

/// A `--listen` URL, not resolved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenUrl {
    scheme: &'static Scheme,
    addr: Address,
    /// The layout that the query declares.
    layout: Option<FrameLayout>,
}

/// A framing, with or without TLS.
#[derive(Debug, PartialEq, Eq)]
struct Scheme {
    name: &'static str,
    tls: bool,
    framing: Framing,
}

const SCHEMES: &[Scheme] = &[
    Scheme { name: "ws", tls: false, framing: Framing::WebSocket },
    Scheme { name: "wss", tls: true, framing: Framing::WebSocket },
    Scheme { name: "text", tls: false, framing: Framing::Text },
    Scheme { name: "frame", tls: false, framing: Framing::Frame(FrameLayout::GATEWAY_WORKER) },
    Scheme { name: "tcp", tls: false, framing: Framing::Tcp },
];

impl ListenUrl {
    /// The listener that this URL describes. A host name is resolved.
    ///
    /// # Errors
    /// When the host name cannot be resolved.
    pub(crate) fn listener(&self) -> Result<Listener, Unresolved> {
        let addr = self.addr.resolve("--listen")?;
        Ok(Listener { addr, framing: self.framing(), tls: self.scheme.tls })
    }

    /// The framing of the listener.
    pub(crate) fn framing(&self) -> Framing {
        self.layout.map_or(self.scheme.framing, Framing::Frame)
    }
}

impl FromStr for ListenUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once("://").unwrap_or(("ws", text));
        let Some(scheme) = SCHEMES.iter().find(|scheme| scheme.name == name) else {
            let known: Vec<_> = SCHEMES.iter().map(|scheme| scheme.name).collect();
            return Err(format!(
                "unsupported scheme {name:?}, expected one of {}",
                known.join(", ")
            ));
        };
        let (addr, layout) = match (rest.split_once('?'), scheme.framing) {
            (None, _) => (rest, None),
            (Some((addr, query)), Framing::Frame(_)) => {
                (addr, Some(query.parse().map_err(|error| format!("{query:?}: {error}"))?))
            }
            (Some((_, query)), _) => {
                return Err(format!("{query:?}: {name}:// has no parameters, only frame:// has"));
            }
        };
        let addr = addr.strip_suffix('/').unwrap_or(addr);
        let addr = addr.parse().map_err(|error| format!("{addr:?}: {error}"))?;
        Ok(Self { scheme, addr, layout })
    }
}

impl fmt::Display for ListenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name, self.addr)?;
        match &self.layout {
            Some(layout) => write!(f, "?{layout}"),
            None => Ok(()),
        }
    }
}

impl Serialize for ListenUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> ListenUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn url_is_written_with_every_parameter_and_read_as_the_same() {
        for (text, written) in [
            ("127.0.0.1:1", "ws://127.0.0.1:1"),
            ("wss://[::1]:443/", "wss://[::1]:443"),
            ("frame://127.0.0.1:1/", "frame://127.0.0.1:1"),
            (
                "frame://127.0.0.1:1/?length=u16le&offset=2",
                "frame://127.0.0.1:1?length=u16le&offset=2&counts=payload&adjust=0&header=keep\
                 &kind=binary",
            ),
        ] {
            assert_eq!(url(text).to_string(), written);
            assert_eq!(url(written), url(text));
        }
    }

    #[test]
    fn frame_url_without_a_query_has_the_frames_of_gatewayworker() {
        let expected = Framing::Frame(FrameLayout::GATEWAY_WORKER);
        assert_eq!(url("frame://127.0.0.1:1").framing(), expected);
        let layout = "length=u8".parse().unwrap();
        assert_eq!(url("frame://127.0.0.1:1?length=u8").framing(), Framing::Frame(layout));
    }

    #[test]
    fn query_of_a_scheme_without_parameters_is_refused() {
        for scheme in ["ws", "wss", "text", "tcp"] {
            let error = format!("{scheme}://127.0.0.1:1?length=u8").parse::<ListenUrl>();
            let error = error.unwrap_err();
            assert!(error.contains("no parameters") && error.contains("length=u8"), "{error}");
        }
        assert!("frame://127.0.0.1:1?".parse::<ListenUrl>().unwrap_err().contains("length"));
    }
}
