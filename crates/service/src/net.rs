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

/// Listens on an address. Connections that are accepted send at once, however little it is.
///
/// # Errors
/// When it is taken or not ours.
pub fn listen(addr: SocketAddr) -> io::Result<Unpolled> {
    listen_on(addr, false)
}

/// The same for `[::]`, which leaves connections over IPv4 to others.
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

/// Has the kernel hold at most so many bytes of what each connection's peer sends until they are read.
/// For connections that are accepted from here on.
///
/// # Errors
/// When the socket is broken.
pub fn set_receive_buffer(listener: &Unpolled, bytes: u32) -> io::Result<()> {
    SockRef::from(listener).set_recv_buffer_size(bytes as usize)
}

/// Has the kernel probe the peer of each connection that is accepted from here on, after `every` of silence
/// and as often again, and break the connection when as many probes in a row are unanswered. On Linux,
/// accepted sockets inherit this from the listener, and so need no call of their own.
///
/// # Errors
/// When the socket is broken, or `every` is more than 32,767 seconds.
pub fn set_keepalive(listener: &Unpolled, every: Duration, probes: u32) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(every).with_interval(every).with_retries(probes);
    SockRef::from(listener).set_tcp_keepalive(&keepalive)
}

/// Has the kernel break each connection that is accepted from here on once its peer has not taken what was
/// sent to it, or answered a probe, for `within`. Inherited as in [`set_keepalive`].
///
/// # Errors
/// When the socket is broken.
pub fn set_user_timeout(listener: &Unpolled, within: Duration) -> io::Result<()> {
    SockRef::from(listener).set_tcp_user_timeout(Some(within))
}

/// Has the runtime poll a listener; call it within the runtime.
///
/// # Errors
/// When the runtime cannot take it.
pub fn polled(listener: Unpolled) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// A connection that belongs to no runtime, on its way to another thread's.
pub type Released = std::net::TcpStream;

/// Takes a connection from its runtime.
///
/// # Errors
/// When the runtime cannot let it go.
pub fn release(stream: TcpStream) -> io::Result<Released> {
    stream.into_std()
}

/// Gives a connection to the runtime that this is called in.
///
/// # Errors
/// When the runtime cannot take it.
pub fn take_over(stream: Released) -> io::Result<TcpStream> {
    TcpStream::from_std(stream)
}

/// Closes our end of a connection behind what was written, and goes on reading.
///
/// # Errors
/// When the socket is broken.
pub fn close_write(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).shutdown(std::net::Shutdown::Write)
}

/// Writes the last bytes, and closes our end of the connection behind them if all are taken: the kernel
/// sends both in one segment instead of two.
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

/// Has the kernel take no more than `bytes` of what a connection is written beyond what it may send at
/// once. So a socket takes more as often as its peer reads that much, however large its buffer is.
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
        // The kernel counts what it needs besides as well.
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
