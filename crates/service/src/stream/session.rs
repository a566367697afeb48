//! TLS over a connection, for both of its halves: an engine under a lock.

use std::{
    fmt,
    io::{self, IoSlice},
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{BufMut, BytesMut};
use rustls::Connection;
use tokio::io::ReadBuf;

use super::engine::{Engine, Given};
use crate::net::{self, TcpStream};

/// TLS over a connection. It is locked for as long as it takes to do what can be done at once, and by
/// one task: the lock is there for the type, and nobody waits for it.
pub struct Session(Mutex<Engine>);

impl Session {
    /// Begins a session, the first bytes of which may have been read already.
    pub(crate) fn new(tcp: TcpStream, tls: impl Into<Connection>, read: BytesMut) -> Self {
        Self(Mutex::new(Engine::new(tcp, tls.into(), read)))
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        // A panic elsewhere leaves a session that fails, at the worst.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn with_tcp<T>(&self, ask: impl FnOnce(&TcpStream) -> T) -> T {
        ask(self.engine().tcp())
    }

    pub(super) fn unsent(&self) -> usize {
        self.engine().unsent()
    }

    pub(super) fn held(&self) -> usize {
        self.engine().held()
    }

    /// Waits until each end knows who the other is.
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
        engine.say_goodbye();
        engine.send()?;
        match engine.unsent() {
            0 => net::close_write(engine.tcp()),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(super) fn poll_close_write(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut engine = self.engine();
        engine.say_goodbye();
        ready!(engine.poll_send(cx))?;
        Poll::Ready(net::close_write(engine.tcp()))
    }

    pub(super) fn say_goodbye(&self) {
        let mut engine = self.engine();
        engine.say_goodbye();
        // Whoever does not take it by now hears of the end from the kernel.
        let _ = engine.send();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It has keys.
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
