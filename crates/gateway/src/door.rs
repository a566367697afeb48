//! Where clients come in: the listeners' addresses, and their sockets, one for each thread.

use std::{fmt, net::SocketAddr, net::TcpListener, str::FromStr};

use serde::{Serialize, Serializer};
use service::listen::{BACKLOG, CannotListen};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

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
    Wss,
    Plain(Framing),
}

const SCHEMES: [(&str, Scheme); 5] = [
    ("ws", Scheme::Plain(Framing::WebSocket)),
    ("wss", Scheme::Wss),
    ("text", Scheme::Plain(Framing::Text)),
    ("frame", Scheme::Plain(Framing::Frame)),
    ("tcp", Scheme::Plain(Framing::Tcp)),
];

impl Listen {
    /// Where to listen, and for what.
    ///
    /// # Errors
    /// When what is to be spoken there is not built yet.
    pub(crate) fn door(&self) -> anyhow::Result<Door> {
        match self.scheme {
            Scheme::Plain(framing) => Ok(Door { addr: self.addr, framing }),
            Scheme::Wss => anyhow::bail!(
                "--listen: {self} is not supported by this version; put a proxy with TLS in front"
            ),
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

/// Listens on an address with a socket for each thread; the kernel spreads connections over them.
///
/// Sockets that share a port must say so, and then anybody's may share it: two gateways started on
/// one port by mistake would each get half of the clients. So the first socket is bound before it
/// says so, which fails where the port is in use, and the others after.
///
/// # Errors
/// When the address cannot be had.
pub(crate) fn listen(addr: SocketAddr, threads: u16) -> Result<Vec<TcpListener>, CannotListen> {
    let bind = || {
        let first = socket(addr)?;
        first.bind(&addr.into())?;
        first.set_reuse_port(true)?;
        // Port 0 is a different port each time, unless it is said which one it became.
        let addr = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..threads {
            let next = socket(addr.as_socket().ok_or(std::io::ErrorKind::Unsupported)?)?;
            next.set_reuse_port(true)?;
            next.bind(&addr)?;
            sockets.push(next);
        }
        for socket in &sockets {
            socket.listen(BACKLOG.cast_signed())?;
        }
        Ok(sockets.into_iter().map(TcpListener::from).collect())
    };
    bind().map_err(|error| CannotListen::new(addr, "--listen", error))
}

fn socket(addr: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections of the last life to time out.
    SockRef::from(&socket).set_reuse_address(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_gets_a_socket_and_nobody_else_does() {
        let ours = listen("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let addr = ours[0].local_addr().unwrap();
        assert!(ours.iter().all(|socket| socket.local_addr().unwrap() == addr));
        for threads in [1, 2] {
            let error = listen(addr, threads).unwrap_err().to_string();
            assert!(error.contains(&addr.to_string()) && error.contains("in use"), "{error}");
        }
    }
}
