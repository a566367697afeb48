//! A connection to the server: connect, handshake, send, receive.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Poll, ready},
};

use tokio::{
    io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf},
    net::{
        TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{
    frame::{self, Broken, Decoder, Received},
    protocol::{Protocol, ServerMessage},
    target::Target,
};

/// A client's connection, upgraded to WebSocket.
#[derive(Debug)]
pub(crate) struct Link {
    read: OwnedReadHalf,
    pub(crate) out: Arc<Outgoing>,
    decoder: Decoder,
    protocol: Protocol,
    progress: Progress,
    /// Bytes received since they were last taken.
    bytes: u64,
}

/// The server's statements about the connection itself.
#[derive(Debug, Default)]
struct Progress {
    /// Whether the server takes messages.
    welcome: bool,
    /// The server's name for the connection.
    name: String,
    /// Subscriptions that are accepted.
    subscribed: u32,
    /// The first refusal.
    refused: Option<String>,
}

/// The sending half, which a pacing thread may use while another reads.
#[derive(Debug)]
pub(crate) struct Outgoing {
    half: OwnedWriteHalf,
    /// Bytes that the socket did not accept yet. Never borrowed across an await.
    rest: Mutex<Vec<u8>>,
}

/// A client sends no more while the socket has this much to take.
const FULL: usize = 4 * 1024 * 1024;

impl Link {
    /// Connects, and waits until messages may be sent. `input` is the read buffer.
    pub(crate) async fn connect(
        target: &Target,
        source: Option<IpAddr>,
        protocol: Protocol,
        deflate: bool,
        input: &RefCell<Vec<u8>>,
    ) -> io::Result<Self> {
        let socket = match target.addr {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(source) = source {
            // So that the port is chosen at connect, when the whole quadruple is known.
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let mut stream = socket.connect(target.addr).await?;
        stream.set_nodelay(true)?;
        let offer = if deflate { DEFLATE } else { "" };
        let answer = handshake(&mut stream, target, offer).await?;
        if deflate && !answer.contains("permessage-deflate") {
            return Err(io::Error::other("the server does not accept permessage-deflate"));
        }
        let (read, half) = stream.into_split();
        let out = Arc::new(Outgoing { half, rest: Mutex::new(Vec::new()) });
        let progress = Progress { welcome: !protocol.has_handshake(), ..Progress::default() };
        let decoder = if deflate { Decoder::inflating() } else { Decoder::default() };
        let mut link = Self { read, out, decoder, protocol, progress, bytes: 0 };
        while !link.progress.welcome {
            link.receive(input, |_, _| {}).await?;
        }
        Ok(link)
    }

    /// Waits for bytes and calls `each` for every message in them, with the front of the message
    /// and its length. Answers pings. An error is the end.
    pub(crate) async fn receive(
        &mut self,
        input: &RefCell<Vec<u8>>,
        mut each: impl FnMut(&[u8], u64),
    ) -> io::Result<()> {
        let Self { read, out, decoder, protocol, progress, bytes } = self;
        let mut answers = Vec::new();
        let mut closed = false;
        let read = poll_fn(|context| -> Poll<io::Result<()>> {
            let mut input = input.borrow_mut();
            let mut buffer = ReadBuf::new(&mut input);
            ready!(Pin::new(&mut *read).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            *bytes += buffer.filled().len() as u64;
            let fed = decoder.feed(buffer.filled(), |received| match received {
                Received::Message { front, size } => match protocol.read(front, size) {
                    ServerMessage::Message(front, size) => each(front, size),
                    ServerMessage::Request(answer) => frame::text(answer, &mut answers),
                    ServerMessage::Other => {}
                    other => progress.note(&other),
                },
                Received::Ping(payload) => frame::pong(payload, &mut answers),
                Received::Close => closed = true,
            });
            Poll::Ready(fed.map_err(|Broken| io::ErrorKind::InvalidData.into()))
        });
        if out.is_blocked() {
            // Reads continue while the socket is full: the server may need them to read on.
            tokio::select! {
                writable = out.half.writable() => {
                    writable?;
                    return out.send(&[]);
                }
                read = read => read?,
            }
        } else {
            read.await?;
        }
        if !answers.is_empty() {
            out.send(&answers)?;
        }
        if let Some(refusal) = progress.refused.take() {
            return Err(io::Error::other(refusal));
        }
        if closed { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// The server's name for the connection; empty in protocols without.
    pub(crate) fn name(&self) -> &str {
        &self.progress.name
    }

    /// Subscriptions that the server has accepted.
    pub(crate) fn subscribed(&self) -> u32 {
        self.progress.subscribed
    }

    /// Bytes received since the last call.
    pub(crate) fn take_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }

    /// Whether the server has closed the connection, read or not.
    pub(crate) fn is_closed(&self) -> bool {
        let mut bytes = [0; 16 * 1024];
        loop {
            match self.read.try_read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
    }
}

impl Progress {
    fn note(&mut self, message: &ServerMessage<'_>) {
        match message {
            ServerMessage::Welcome(name) => {
                self.welcome = true;
                self.name = String::from_utf8_lossy(name).into_owned();
            }
            ServerMessage::Subscribed => self.subscribed += 1,
            ServerMessage::Refused(front) => {
                let refusal = || format!("refused: {}", String::from_utf8_lossy(front));
                self.refused.get_or_insert_with(refusal);
            }
            _ => {}
        }
    }
}

impl Outgoing {
    /// Sends as much as the socket takes now, and keeps the rest for when it takes more.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if rest.is_empty() {
            let sent = self.write(bytes)?;
            rest.extend_from_slice(&bytes[sent..]);
            return Ok(());
        }
        rest.extend_from_slice(bytes);
        let sent = self.write(&rest)?;
        rest.drain(..sent);
        if rest.is_empty() {
            *rest = Vec::new();
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.half.try_write(&bytes[sent..]) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    fn waiting(&self) -> usize {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn is_blocked(&self) -> bool {
        0 < self.waiting()
    }

    /// Whether so much is waiting that more would only fill memory.
    pub(crate) fn is_full(&self) -> bool {
        FULL < self.waiting()
    }
}

/// The header that offers compression.
const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// Sends the WebSocket handshake with these headers, and waits for the response, which it returns.
pub(crate) async fn handshake(
    stream: &mut TcpStream,
    target: &Target,
    headers: &str,
) -> io::Result<String> {
    // The key need not be random: it guards caches, and there is none in between.
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n",
        target.path, target.host
    );
    stream.write_all(request.as_bytes()).await?;
    // Reads exactly the response: the bytes after it belong to the decoder, and stay in the socket.
    let mut answer = [0; 1024];
    let mut have = 0;
    loop {
        let seen = stream.peek(&mut answer[have..]).await?;
        if seen == 0 {
            return Err(refused(&answer[..have]));
        }
        let end = answer[..have + seen].windows(4).position(|four| four == b"\r\n\r\n");
        let take = end.map_or(seen, |end| end + 4 - have);
        stream.read_exact(&mut answer[have..have + take]).await?;
        have += take;
        if end.is_some() {
            break;
        }
    }
    match answer.starts_with(b"HTTP/1.1 101 ") {
        true => Ok(String::from_utf8_lossy(&answer[..have]).into_owned()),
        false => Err(refused(&answer[..have])),
    }
}

fn refused(answer: &[u8]) -> io::Error {
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    io::Error::other(format!("no WebSocket here: {:?}", String::from_utf8_lossy(line)))
}
