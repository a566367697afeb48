//! TCP as our processes use it: the runtime's connections and listeners, and what only the kernel
//! can be asked for.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

pub use tokio::net::{TcpListener, TcpStream, tcp};

/// Connections the kernel may hold before we accept them; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A listener that belongs to no runtime yet.
pub type Unpolled = std::net::TcpListener;

/// Listens on an address.
///
/// # Errors
/// When it is taken or not ours.
pub fn listen(addr: SocketAddr) -> io::Result<Unpolled> {
    let socket = socket(addr)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Listens on an address with several sockets; the kernel spreads connections over them.
///
/// Sockets that share a port must say so, and then anybody's may share it: two gateways started on
/// one port by mistake would each get half of the clients. So the first socket is bound before it
/// says so, which fails where the port is in use, and the others after.
///
/// # Errors
/// When the address is taken or not ours.
pub fn listen_shared(addr: SocketAddr, sockets: u16) -> io::Result<Vec<Unpolled>> {
    let first = socket(addr)?;
    first.bind(&addr.into())?;
    first.set_reuse_port(true)?;
    // Port 0 is a different port each time, unless it is said which one it became.
    let bound = first.local_addr()?;
    let mut all = vec![first];
    for _ in 1..sockets {
        let next = socket(addr)?;
        next.set_reuse_port(true)?;
        next.bind(&bound)?;
        all.push(next);
    }
    for socket in &all {
        socket.listen(BACKLOG)?;
    }
    Ok(all.into_iter().map(Unpolled::from).collect())
}

fn socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections of the last life to time out.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Has the runtime poll a listener; call it within the runtime.
///
/// # Errors
/// When the runtime cannot take it.
pub fn polled(listener: Unpolled) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Closes our end of a connection behind what was written, and goes on reading.
///
/// # Errors
/// When the socket is broken.
pub fn close_write(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).shutdown(std::net::Shutdown::Write)
}

/// Has the kernel find out whether a peer's host has vanished: it asks after `every` of silence,
/// and gives the connection up when nothing is heard, or nothing written is taken, for `within`.
///
/// # Errors
/// When the socket is broken.
pub fn watch_over(stream: &TcpStream, every: Duration, within: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(every).with_interval(every))?;
    socket.set_tcp_user_timeout(Some(within))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_gets_a_socket_and_nobody_else_does() {
        let ours = listen_shared("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let addr = ours[0].local_addr().unwrap();
        assert!(ours.iter().all(|socket| socket.local_addr().unwrap() == addr));
        for others in
            [listen_shared(addr, 1).err(), listen_shared(addr, 2).err(), listen(addr).err()]
        {
            assert_eq!(others.unwrap().kind(), io::ErrorKind::AddrInUse);
        }
    }
}
