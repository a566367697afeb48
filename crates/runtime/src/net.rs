//! TCP connections and listeners of the runtime, and socket options.

use std::{io, net::SocketAddr, time::Duration};

use rustix::net::SendFlags;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use tokio::io::Interest;
pub use tokio::net::{TcpListener, TcpStream, tcp};

/// Connections the kernel may hold before we accept them; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A listener that belongs to no runtime yet.
pub type Unpolled = std::net::TcpListener;

/// Listens on an address. Accepted connections have `TCP_NODELAY`.
///
/// # Errors
/// When the address is in use, or is not one of this host.
pub fn listen(addr: SocketAddr) -> io::Result<Unpolled> {
    listen_on(addr, false)
}

/// The same; an IPv6 address is bound for IPv6 only.
///
/// # Errors
/// As [`listen`].
pub fn listen_v6(addr: SocketAddr) -> io::Result<Unpolled> {
    listen_on(addr, addr.is_ipv6())
}

fn listen_on(addr: SocketAddr, only_v6: bool) -> io::Result<Unpolled> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if only_v6 {
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for connections of the previous instance to time out.
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it, without a further call for each connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Limits the receive buffer of connections accepted from now on, in bytes.
///
/// # Errors
/// When the socket is broken.
pub fn set_receive_buffer(listener: &Unpolled, bytes: u32) -> io::Result<()> {
    SockRef::from(listener).set_recv_buffer_size(bytes as usize)
}

/// Enables TCP keepalive for connections accepted from now on: probes after `every` of silence, at
/// intervals of `every`, and a reset after `probes` unanswered ones. On Linux, accepted sockets
/// inherit it from the listener.
///
/// # Errors
/// When the socket is broken, or `every` is more than 32,767 seconds.
pub fn set_keepalive(listener: &Unpolled, every: Duration, probes: u32) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(every).with_interval(every).with_retries(probes);
    SockRef::from(listener).set_tcp_keepalive(&keepalive)
}

/// Sets the TCP user timeout of connections accepted from now on: the kernel closes one when written
/// bytes or probes are not acknowledged for `within`. Inherited as in [`set_keepalive`].
///
/// # Errors
/// When the socket is broken.
pub fn set_user_timeout(listener: &Unpolled, within: Duration) -> io::Result<()> {
    SockRef::from(listener).set_tcp_user_timeout(Some(within))
}

/// Registers a listener with the current runtime.
///
/// # Errors
/// When the runtime cannot take it.
pub fn polled(listener: Unpolled) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// A connection that belongs to no runtime, on its way to another thread's.
pub type Released = std::net::TcpStream;

/// Detaches a connection from its runtime.
///
/// # Errors
/// When the runtime cannot let it go.
pub fn release(stream: TcpStream) -> io::Result<Released> {
    stream.into_std()
}

/// Registers a connection with the current runtime.
///
/// # Errors
/// When the runtime cannot take it.
pub fn take_over(stream: Released) -> io::Result<TcpStream> {
    TcpStream::from_std(stream)
}

/// Shuts down the write half after everything written; reading remains possible.
///
/// # Errors
/// When the socket is broken.
pub fn close_write(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).shutdown(std::net::Shutdown::Write)
}

/// Writes the last bytes, and shuts down the write half if all of them are accepted: the kernel sends
/// both in one segment.
///
/// # Errors
/// `WouldBlock` when nothing is taken; when the socket is broken.
pub fn try_write_last(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
    let written =
        stream.try_io(Interest::WRITABLE, || Ok(rustix::net::send(stream, bytes, flags)?))?;
    if written == bytes.len() {
        // Not left to the drop: if the peer has sent something that is unread by then, the kernel
        // resets the connection, and throws away what has not left.
        close_write(stream)?;
    }
    Ok(written)
}

/// Sets `TCP_NOTSENT_LOWAT`: the socket is writable only while fewer than `bytes` are unsent, so its
/// writability follows the reads of the peer, however large its buffer is.
///
/// # Errors
/// When the socket is broken.
pub fn limit_unsent(stream: &TcpStream, bytes: u32) -> io::Result<()> {
    SockRef::from(stream).set_tcp_notsent_lowat(bytes)
}

/// Enables TCP keepalive and the user timeout: the kernel probes after `every` of idle time, and
/// closes the connection when probes or written bytes are not acknowledged for `within`.
///
/// # Errors
/// When the socket is broken.
pub fn enable_keepalive(stream: &TcpStream, every: Duration, within: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(every).with_interval(every))?;
    socket.set_tcp_user_timeout(Some(within))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn port_in_use_cannot_be_bound_again() {
        let ours = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = listen(ours.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn accepted_connection_inherits_the_receive_buffer() {
        let ours = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        set_receive_buffer(&ours, 64 * 1024).unwrap();
        let _peer = std::net::TcpStream::connect(ours.local_addr().unwrap()).unwrap();
        let (accepted, _) = ours.accept().unwrap();
        // The kernel doubles the value, for its own overhead.
        assert_eq!(SockRef::from(&accepted).recv_buffer_size().unwrap(), 2 * 64 * 1024);
    }

    #[tokio::test]
    async fn last_bytes_arrive_despite_unread_data() {
        let ours = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut peer = std::net::TcpStream::connect(ours.local_addr().unwrap()).unwrap();
        let (accepted, _) = polled(ours).unwrap().accept().await.unwrap();
        peer.write_all(b"one word more").unwrap();
        accepted.readable().await.unwrap();
        assert_eq!(try_write_last(&accepted, b"the end").unwrap(), 7);
        drop(accepted);
        let mut read = [0; 8];
        assert_eq!(peer.read(&mut read).unwrap(), 7);
        assert_eq!(&read[..7], b"the end");
    }

    #[tokio::test]
    async fn end_of_stream_follows_the_last_bytes() {
        let ours = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut peer = std::net::TcpStream::connect(ours.local_addr().unwrap()).unwrap();
        let (accepted, _) = polled(ours).unwrap().accept().await.unwrap();
        accepted.writable().await.unwrap();
        assert_eq!(try_write_last(&accepted, b"the end").unwrap(), 7);
        // Rather than for ever.
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut read = Vec::new();
        assert_eq!(peer.read_to_end(&mut read).unwrap(), 7, "while we still hold it");
    }

    #[test]
    fn accepted_connection_inherits_keepalive_and_user_timeout_from_its_listener() {
        let ours = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        set_keepalive(&ours, Duration::from_secs(33), 4).unwrap();
        set_user_timeout(&ours, Duration::from_secs(77)).unwrap();
        let _peer = std::net::TcpStream::connect(ours.local_addr().unwrap()).unwrap();
        let (accepted, _) = ours.accept().unwrap();
        let socket = SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(33));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(33));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(77)));
    }

    #[test]
    fn accepted_connection_has_nodelay() {
        let ours = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let _peer = std::net::TcpStream::connect(ours.local_addr().unwrap()).unwrap();
        assert!(ours.accept().unwrap().0.nodelay().unwrap());
    }
}
