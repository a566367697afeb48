//! TCP over the simulated network, with the API that the processes use.

mod listener;
mod stream;
pub mod tcp;

use std::{io, net::SocketAddr, time::Duration};

pub use listener::{TcpListener, Unpolled};
pub use stream::{Address, TcpStream};

/// Listens on an address.
///
/// # Errors
/// `AddrInUse`.
pub fn listen(addr: SocketAddr) -> io::Result<Unpolled> {
    Unpolled::listen(addr)
}

/// The same: every simulated listener is for one version of IP alone.
///
/// # Errors
/// `AddrInUse`.
pub fn listen_v6(addr: SocketAddr) -> io::Result<Unpolled> {
    Unpolled::listen(addr)
}

/// Does nothing: the simulated network has its own limit of unread data.
///
/// # Errors
/// Never; the real function may fail.
pub fn set_receive_buffer(_listener: &Unpolled, _bytes: u32) -> io::Result<()> {
    Ok(())
}

/// Does nothing: there are no keepalive probes in the simulated network.
///
/// # Errors
/// Never; the real function may fail.
pub fn set_keepalive(_listener: &Unpolled, _every: Duration, _probes: u32) -> io::Result<()> {
    Ok(())
}

/// Does nothing: unacknowledged data waits without a limit in the simulated network.
///
/// # Errors
/// Never; the real function may fail.
pub fn set_user_timeout(_listener: &Unpolled, _within: Duration) -> io::Result<()> {
    Ok(())
}

/// Registers a listener with the runtime.
///
/// # Errors
/// Never; the real function may fail.
pub fn polled(listener: Unpolled) -> io::Result<TcpListener> {
    Ok(TcpListener(listener))
}

/// A connection that is not registered with a runtime.
pub type Released = TcpStream;

/// Deregisters a connection from its runtime.
///
/// # Errors
/// Never; the real function may fail.
pub fn release(stream: TcpStream) -> io::Result<Released> {
    Ok(stream)
}

/// Registers a connection with the current runtime.
///
/// # Errors
/// Never; the real function may fail.
pub fn take_over(stream: Released) -> io::Result<TcpStream> {
    Ok(stream)
}

/// Shuts down the write half after the data written so far. The read half stays open.
///
/// # Errors
/// Never; the real function may fail.
pub fn close_write(stream: &TcpStream) -> io::Result<()> {
    stream.socket.shut();
    Ok(())
}

/// Writes the last bytes, and shuts down the write half if all of them are accepted.
///
/// # Errors
/// `WouldBlock` when no byte is accepted; otherwise when the socket is broken.
pub fn try_write_last(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let written = stream.try_write(bytes)?;
    if written == bytes.len() {
        close_write(stream)?;
    }
    Ok(written)
}

/// Does nothing: the simulated network has its own limit of unsent data.
///
/// # Errors
/// Never; the real function may fail.
pub fn limit_unsent(_stream: &TcpStream, _bytes: u32) -> io::Result<()> {
    Ok(())
}

/// Does nothing: there are no keepalive probes in the simulated network; processes that need
/// liveness probes send their own.
///
/// # Errors
/// Never; the real function may fail.
pub fn enable_keepalive(
    _stream: &TcpStream,
    _every: Duration,
    _within: Duration,
) -> io::Result<()> {
    Ok(())
}
