//! A connection of an attacker; its failures are no errors.

use std::{net::SocketAddr, time::Duration};

use runtime::stream::Stream;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    time::{sleep, timeout},
};

use suite_tests::Peer;

use crate::rng::Rng;

/// Timeout of every operation.
const WAIT: Duration = Duration::from_secs(2);

/// A connection for arbitrary bytes.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
}

impl Wire {
    /// Connects with a small receive buffer, so that unread data soon blocks the sender. Some
    /// connections end with a reset, which loses data in flight.
    pub(crate) async fn connect(addr: SocketAddr, rng: &mut Rng) -> Option<Self> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.set_recv_buffer_size(4096).ok()?;
        if rng.once_in(4) {
            socket.set_zero_linger().ok()?;
        }
        let stream = timeout(WAIT, socket.connect(addr)).await.ok()?.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self { stream: stream.into() })
    }

    /// A link with a completed handshake.
    pub(crate) fn of(peer: Peer) -> Self {
        Self { stream: peer.into_stream() }
    }

    /// Sends bytes. `None` if the process disconnects or does not read in time.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Option<()> {
        timeout(WAIT, self.stream.write_all(bytes)).await.ok()?.ok()
    }

    /// Sends bytes in pieces of random lengths, with pauses between some.
    pub(crate) async fn send_in_pieces(&mut self, bytes: &[u8], rng: &mut Rng) -> Option<()> {
        for piece in rng.pieces(bytes) {
            self.send(piece).await?;
            if rng.once_in(4) {
                sleep(rng.pause(20)).await;
            }
        }
        Some(())
    }

    /// Reads and discards for this time. `None` if the process disconnects.
    pub(crate) async fn read(&mut self, time: Duration) -> Option<()> {
        let mut bytes = [0; 8192];
        let reading = async {
            loop {
                if !matches!(self.stream.read(&mut bytes).await, Ok(1..)) {
                    return;
                }
            }
        };
        // Ends before the timeout only if the connection closes.
        timeout(time, reading).await.is_err().then_some(())
    }

    /// Reads until the input ends with these bytes.
    pub(crate) async fn read_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let reading = async {
            while !bytes.ends_with(end) {
                bytes.push(self.stream.read_u8().await.ok()?);
            }
            Some(())
        };
        timeout(WAIT, reading).await.ok()??;
        Some(bytes)
    }

    /// Keeps the connection open for a while, unread, read or half-closed, and closes it.
    pub(crate) async fn linger(mut self, rng: &mut Rng, most: usize) -> Option<()> {
        let time = rng.pause(most);
        match rng.below(3) {
            0 => sleep(time).await,
            1 => self.read(time).await?,
            _ => {
                self.stream.shutdown().await.ok()?;
                sleep(time).await;
            }
        }
        Some(())
    }
}
