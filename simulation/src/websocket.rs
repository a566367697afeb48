//! The client side of a WebSocket as far as the simulated clients need it: no fragments, short messages,
//! some of them compressed.

use std::{
    cell::Cell,
    io::{self, Read as _, Write as _},
    net::SocketAddr,
};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use runtime::net::TcpStream;
use test_support::{
    clients::{Received, Socket},
    message::{Request, Token},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::handshakes;

thread_local! {
    static COMPRESSED: Cell<u64> = const { Cell::new(0) };
}

/// Takes the number of compressed messages that clients have received.
pub(crate) fn take_compressed() -> u64 {
    COMPRESSED.take()
}

/// The parts of a handshake that differ between connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Opening {
    /// Number of messages to send along with the handshake.
    pub(crate) early: u32,
    /// Whether to negotiate compression.
    pub(crate) deflate: bool,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct WebSocket {
    stream: TcpStream,
    read: Vec<u8>,
    /// Pongs that the connection has not accepted yet.
    pongs: Vec<u8>,
    opening: Opening,
    /// Whether the last message was compressed: every other one is, on a connection with compression.
    compressed: bool,
}

const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The mark of a compressed message.
const RSV1: u8 = 0x40;

/// The end of a compressed message, which is not transmitted, and a final block.
const TAIL: [u8; 6] = [0, 0, 0xff, 0xff, 3, 0];

/// The close frame of a client: 1000.
const NORMAL: [u8; 2] = [0x03, 0xe8];

fn broken() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

impl WebSocket {
    /// Connects and requests a WebSocket with this token as the query, and at once sends the first
    /// messages of the connection, as far as requested.
    ///
    /// # Panics
    /// If the gateway does not accept an offered compression, or selects one that is not offered.
    pub(crate) async fn open(to: SocketAddr, token: Token, opening: Opening) -> io::Result<Self> {
        let mut stream = TcpStream::connect(to).await?;
        let query = token.to_u64();
        let offer = match opening.deflate {
            true => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            false => "",
        };
        let request = format!(
            "GET /?{query} HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             {offer}\r\n"
        );
        let mut request = request.into_bytes();
        for number in 1..=opening.early {
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
                let head = String::from_utf8_lossy(&read[..end]);
                assert_eq!(head.contains("permessage-deflate"), opening.deflate, "{head}");
                read.drain(..end + 4);
                return Ok(Self { stream, read, pongs: Vec::new(), opening, compressed: false });
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
            let payload = match first & RSV1 {
                0 => payload,
                _ if self.opening.deflate && first & 0x0f == BINARY => {
                    COMPRESSED.set(COMPRESSED.get() + 1);
                    // A message that cannot be decompressed is no reply of a worker.
                    inflate(&payload).unwrap_or_default()
                }
                _ => return Ok(Some(Received::Unexpected)),
            };
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
        self.opening.early
    }

    async fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        self.compressed ^= self.opening.deflate;
        match self.compressed {
            true => self.send_frame(RSV1 | BINARY, &deflate(&message)?).await,
            false => self.send_frame(BINARY, &message).await,
        }
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

/// The payload of a compressed message.
fn deflate(message: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(message)?;
    encoder.flush()?;
    encoder.get_ref().strip_suffix(&TAIL[..4]).map(<[u8]>::to_vec).ok_or_else(broken)
}

fn inflate(payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut message = Vec::new();
    DeflateDecoder::new(&[payload, &TAIL].concat()[..]).read_to_end(&mut message)?;
    Ok(message)
}

/// A client frame: masked, as required, with a mask of zeros.
fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | kind, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend(payload);
    frame
}
