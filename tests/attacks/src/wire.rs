//! A connection of an attacker: nothing that becomes of it is an error.

use std::{net::SocketAddr, time::Duration};

use service::stream::Stream;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    time::{sleep, timeout},
};

use suite_tests::Peer;

use crate::dice::Dice;

/// How long an attacker waits for anything.
const WAIT: Duration = Duration::from_secs(2);

/// A connection over which bytes are sent, whatever they are.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
}

impl Wire {
    /// Connects, with a small receive buffer, so that what is not read is soon in the way. Some
    /// connections end with a reset, and what is in flight then is lost.
    pub(crate) async fn connect(addr: SocketAddr, dice: &mut Dice) -> Option<Self> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.set_recv_buffer_size(4096).ok()?;
        if dice.once_in(4) {
            socket.set_zero_linger().ok()?;
        }
        let stream = timeout(WAIT, socket.connect(addr)).await.ok()?.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self { stream: stream.into() })
    }

    /// A link that its gateway has let in.
    pub(crate) fn of(peer: Peer) -> Self {
        Self { stream: peer.into_stream() }
    }

    /// Sends bytes. `None` when the other side is gone, or does not read for a while.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Option<()> {
        timeout(WAIT, self.stream.write_all(bytes)).await.ok()?.ok()
    }

    /// Sends bytes in pieces of random lengths, with pauses between some.
    pub(crate) async fn send_in_pieces(&mut self, bytes: &[u8], dice: &mut Dice) -> Option<()> {
        for piece in dice.pieces(bytes) {
            self.send(piece).await?;
            if dice.once_in(4) {
                sleep(dice.pause(20)).await;
            }
        }
        Some(())
    }

    /// Reads for so long, and drops what comes. `None` when the other side is gone.
    pub(crate) async fn read(&mut self, time: Duration) -> Option<()> {
        let mut bytes = [0; 8192];
        let reading = async {
            loop {
                if !matches!(self.stream.read(&mut bytes).await, Ok(1..)) {
                    return;
                }
            }
        };
        // It ends by itself only with the connection.
        timeout(time, reading).await.is_err().then_some(())
    }

    /// Reads until what came ends with this.
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

    /// Stays for a while, in one of the ways in which a connection can be there, and ends it in one of
    /// the ways in which one can end.
    pub(crate) async fn linger(mut self, dice: &mut Dice, most: usize) -> Option<()> {
        let time = dice.pause(most);
        match dice.below(3) {
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
