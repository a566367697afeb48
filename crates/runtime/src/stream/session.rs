//! A TLS session shared by both halves of a connection: an engine in a lock.

use std::{
    fmt,
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

use bytes::{BufMut, BytesMut};
use rustls::Connection;
use tokio::io::ReadBuf;

use super::engine::{Engine, Given};
use crate::net::{self, TcpStream};
use crate::sync::{Mutex, MutexGuard};

/// A TLS session. Only one task uses it, and no lock is held across a wait: the lock serves the type
/// system and is never contended.
pub struct Session(Mutex<Engine>);

impl Session {
    /// Creates a session; `read` are the bytes received so far.
    pub(crate) fn new(tcp: TcpStream, tls: impl Into<Connection>, read: BytesMut) -> Self {
        Self(Mutex::new(Engine::new(tcp, tls.into(), read)))
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.0.lock()
    }

    pub(super) fn with_tcp<T>(&self, f: impl FnOnce(&TcpStream) -> T) -> T {
        f(self.engine().tcp())
    }

    pub(super) fn unsent(&self) -> usize {
        self.engine().unsent()
    }

    pub(super) fn held(&self) -> usize {
        self.engine().held()
    }

    /// Waits until the handshake is complete and sent.
    pub(crate) fn poll_handshake(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut engine = self.engine();
        ready!(engine.poll_handshake(cx))?;
        engine.poll_send(cx)
    }

    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        self.engine().poll_read(cx, |chunk| {
            let taken = chunk.len().min(into.remaining());
            into.put_slice(&chunk[..taken]);
            (taken, into.filled().len() - before)
        })
    }

    pub(super) fn poll_read_raw(
        &self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.engine().poll_read_raw(cx, into)
    }

    pub(super) fn unread(&self, bytes: &[u8]) {
        self.engine().unread(bytes);
    }

    pub(super) fn try_read_buf(&self, into: &mut impl BufMut) -> io::Result<usize> {
        let mut engine = self.engine();
        let mut read = 0;
        loop {
            let given = engine.hand_over(&mut |chunk| {
                let taken = chunk.len().min(into.chunk_mut().len());
                into.put_slice(&chunk[..taken]);
                read += taken;
                taken
            })?;
            if given == Given::End || 0 < read {
                return Ok(read);
            }
            if !engine.decrypt()? {
                engine.try_fill()?;
            }
        }
    }

    pub(super) fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.engine().try_write(pieces)
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut engine = self.engine();
        ready!(engine.poll_write_ready(cx))?;
        Poll::Ready(engine.try_write(&[IoSlice::new(bytes)]))
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.engine().poll_write_ready(cx)
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.engine().poll_send(cx)
    }

    pub(super) fn close_write(&self) -> io::Result<()> {
        let mut engine = self.engine();
        engine.send_close_notify();
        engine.send()?;
        match engine.unsent() {
            0 => net::close_write(engine.tcp()),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(super) fn poll_close_write(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut engine = self.engine();
        engine.send_close_notify();
        ready!(engine.poll_send(cx))?;
        Poll::Ready(net::close_write(engine.tcp()))
    }

    pub(super) fn send_close_notify(&self) {
        let mut engine = self.engine();
        engine.send_close_notify();
        // If it does not fit, the peer sees only that the connection was closed.
        let _ = engine.send();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The fields contain keys.
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
