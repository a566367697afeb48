//! The client side of a WebSocket as far as the simulated clients need it: no fragments, short messages.

use std::{io, net::SocketAddr};

use runtime::net::TcpStream;
use test_support::{
    clients::{Received, Socket},
    message::{Request, Token},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::handshakes;

/// An open connection.
#[derive(Debug)]
pub(crate) struct WebSocket {
    stream: TcpStream,
    read: Vec<u8>,
    /// Pongs that the connection has not accepted yet.
    pongs: Vec<u8>,
    /// Number of messages that were sent along with the handshake.
    early: u32,
}

const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The close frame of a client: 1000.
const NORMAL: [u8; 2] = [0x03, 0xe8];

fn broken() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

impl WebSocket {
    /// Connects and requests a WebSocket with this token as the query, and at once sends the first `early`
    /// messages of the connection.
    pub(crate) async fn open(to: SocketAddr, token: Token, early: u32) -> io::Result<Self> {
        let mut stream = TcpStream::connect(to).await?;
        let query = token.to_u64();
        let request = format!(
            "GET /?{query} HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let mut request = request.into_bytes();
        for number in 1..=early {
            request.extend(framed(BINARY, &Request { from: token, number }.encode()));
        }
        stream.write_all(&request).await?;
        let mut read = Vec::new();
        loop {
            if let Some(end) = read.windows(4).position(|it| it == b"\r\n\r\n") {
                if !read.starts_with(b"HTTP/1.1 101 ") {
                    // Nothing may follow a refusal.
                    while stream.read_buf(&mut read).await.is_ok_and(|length| length != 0) {}
                    handshakes::answered(token, &read);
                    return Err(broken());
                }
                handshakes::answered(token, &read[..end]);
                read.drain(..end + 4);
                return Ok(Self { stream, read, pongs: Vec::new(), early });
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Receives the next item other than a ping; pings are answered.
    async fn receive(&mut self) -> io::Result<Received> {
        loop {
            if let Some(received) = self.next()? {
                return Ok(received);
            }
            self.send_pongs()?;
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn next(&mut self) -> io::Result<Option<Received>> {
        loop {
            let Some(&[first, length]) = self.read.first_chunk() else { return Ok(None) };
            let end = 2 + usize::from(length);
            if 125 < length {
                return Err(broken());
            }
            let Some(payload) = self.read.get(2..end).map(<[u8]>::to_vec) else { return Ok(None) };
            self.read.drain(..end);
            return Ok(Some(match first & 0x0f {
                BINARY => Received::Message(payload.into()),
                CLOSE => {
                    Received::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code)))
                }
                PING => {
                    self.pongs.extend(framed(PONG, &payload));
                    continue;
                }
                _ => Received::Unexpected,
            }));
        }
    }

    /// Sends pending pongs as far as the connection accepts them at once, so that reading never waits for
    /// writing.
    fn send_pongs(&mut self) -> io::Result<()> {
        while !self.pongs.is_empty() {
            match self.stream.try_write(&self.pongs) {
                Ok(written) => drop(self.pongs.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn send_frame(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        // A partly sent frame is finished first.
        let mut all = std::mem::take(&mut self.pongs);
        all.extend(framed(kind, payload));
        self.stream.write_all(&all).await
    }
}

/// Messages have less than 126 bytes.
impl Socket for WebSocket {
    fn sent_early(&self) -> u32 {
        self.early
    }

    async fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        self.send_frame(BINARY, &message).await
    }

    async fn receive(&mut self) -> Option<Received> {
        Self::receive(self).await.ok()
    }

    async fn send_close(&mut self) -> io::Result<()> {
        self.send_frame(CLOSE, &NORMAL).await
    }

    async fn answer_close(&mut self) {
        let _ = self.send_close().await;
    }
}

/// A client frame: masked, as required, with a mask of zeros.
fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | kind, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend(payload);
    frame
}
