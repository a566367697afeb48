//! TCP as our processes use it, over the simulated network.

mod listener;
mod stream;
pub mod tcp;

use std::{io, net::SocketAddr, time::Duration};

pub use listener::{TcpListener, Unpolled};
pub use stream::{Address, TcpStream};

/// Listens on an address.
///
/// # Errors
/// When it is taken.
pub fn listen(addr: SocketAddr) -> io::Result<Unpolled> {
    Unpolled::listen(addr)
}

/// The same: here all are of their own version of IP alone.
///
/// # Errors
/// When it is taken.
pub fn listen_v6(addr: SocketAddr) -> io::Result<Unpolled> {
    Unpolled::listen(addr)
}

/// What the simulated network holds of what is not read has its own bound.
///
/// # Errors
/// Never; a socket may be broken.
pub fn set_receive_buffer(_listener: &Unpolled, _bytes: u32) -> io::Result<()> {
    Ok(())
}

/// The kernel probes nobody here.
///
/// # Errors
/// Never; a socket may be broken.
pub fn set_keepalive(_listener: &Unpolled, _every: Duration, _probes: u32) -> io::Result<()> {
    Ok(())
}

/// What is not taken waits here, for as long as that lasts.
///
/// # Errors
/// Never; a socket may be broken.
pub fn set_user_timeout(_listener: &Unpolled, _within: Duration) -> io::Result<()> {
    Ok(())
}

/// Has the runtime poll a listener.
///
/// # Errors
/// Never; a runtime may not take it.
pub fn polled(listener: Unpolled) -> io::Result<TcpListener> {
    Ok(TcpListener(listener))
}

/// A connection that belongs to no runtime.
pub type Released = TcpStream;

/// Takes a connection from its runtime.
///
/// # Errors
/// Never; a runtime may not let it go.
pub fn release(stream: TcpStream) -> io::Result<Released> {
    Ok(stream)
}

/// Gives a connection to the runtime that this is called in.
///
/// # Errors
/// Never; a runtime may not take it.
pub fn take_over(stream: Released) -> io::Result<TcpStream> {
    Ok(stream)
}

/// Closes our end of a connection behind what was written, and goes on reading.
///
/// # Errors
/// Never; a socket may be broken.
pub fn close_write(stream: &TcpStream) -> io::Result<()> {
    stream.socket.shut();
    Ok(())
}

/// Writes the last bytes, and closes our end of the connection behind them if all are taken.
///
/// # Errors
/// `WouldBlock` when nothing is taken; when the socket is broken.
pub fn try_write_last(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let written = stream.try_write(bytes)?;
    if written == bytes.len() {
        close_write(stream)?;
    }
    Ok(written)
}

/// What the simulated network takes of what is written has its own bound.
///
/// # Errors
/// Never; a socket may be broken.
pub fn limit_unsent(_stream: &TcpStream, _bytes: u32) -> io::Result<()> {
    Ok(())
}

/// The kernel asks nobody here: processes that have to know ask themselves.
///
/// # Errors
/// Never; a socket may be broken.
pub fn watch_over(_stream: &TcpStream, _every: Duration, _within: Duration) -> io::Result<()> {
    Ok(())
}
