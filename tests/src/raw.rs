//! A raw TCP connection, for protocol violations, and a minimal HTTP client.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use runtime::stream::Stream;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{net, with_timeout};

/// A raw TCP connection, or the plaintext of a TLS connection.
#[derive(Debug)]
pub struct Raw {
    stream: Stream,
}

/// An HTTP response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers; names are in lower case.
    pub headers: BTreeMap<String, String>,
    /// Everything behind the headers.
    pub body: String,
}

/// A WebSocket frame of a server, with its first byte unparsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Final bit, reserved bits, opcode.
    pub first: u8,
    /// Payload.
    pub payload: Vec<u8>,
}

impl From<Stream> for Raw {
    fn from(stream: Stream) -> Self {
        Self { stream }
    }
}

impl Raw {
    /// Connects.
    ///
    /// # Panics
    /// If the connection is refused.
    pub async fn connect(addr: SocketAddr) -> Self {
        Self { stream: with_timeout("a connection", net::connect(addr)).await.unwrap() }
    }

    /// Connects without TLS, even if the port requires it.
    ///
    /// # Panics
    /// If the connection is refused.
    pub async fn plain(addr: SocketAddr) -> Self {
        Self {
            stream: with_timeout("a connection", TcpStream::connect(addr)).await.unwrap().into(),
        }
    }

    /// Connects and sends bytes in front of everything else, as a proxy does, and of TLS.
    ///
    /// # Panics
    /// If the connection is refused.
    pub async fn behind(header: &[u8], addr: SocketAddr) -> Self {
        let mut tcp = with_timeout("a connection", TcpStream::connect(addr)).await.unwrap();
        with_timeout("a header to be sent", tcp.write_all(header)).await.unwrap();
        Self { stream: with_timeout("a TLS handshake", net::wrap(tcp, addr)).await.unwrap() }
    }

    /// Connects and opens a WebSocket; the test reads and writes frames itself.
    ///
    /// # Panics
    /// If the handshake is refused.
    pub async fn websocket(addr: SocketAddr) -> Self {
        let mut raw = Self::connect(addr).await;
        raw.upgrade().await;
        raw
    }

    /// The same over a socket with a minimal receive buffer: unread data stays in the queues of the
    /// sender rather than in the kernel.
    ///
    /// # Panics
    /// If the handshake is refused.
    pub async fn with_small_buffers(addr: SocketAddr) -> Self {
        let mut raw = Self::connect_with_small_buffers(addr).await;
        raw.upgrade().await;
        raw
    }

    /// Connects over such a socket without a handshake.
    ///
    /// # Panics
    /// If the connection is refused.
    pub async fn connect_with_small_buffers(addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        // The send buffer of the other side grows with the segment size.
        socket2::SockRef::from(&socket).set_tcp_mss(1000).unwrap();
        let tcp = with_timeout("a connection", socket.connect(addr)).await.unwrap();
        Self { stream: with_timeout("a TLS handshake", net::wrap(tcp, addr)).await.unwrap() }
    }

    async fn upgrade(&mut self) {
        self.send(handshake("").as_bytes()).await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }

    /// The head of a response, including the empty line behind it.
    ///
    /// # Panics
    /// If the connection closes before.
    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(with_timeout("a response head", self.stream.read_u8()).await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// If they cannot be sent.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.unwrap();
    }

    /// Shuts down the write half; reading is still possible.
    ///
    /// # Panics
    /// If the connection is closed.
    pub async fn shutdown_write(&mut self) {
        self.try_shutdown_write().await.unwrap();
    }

    /// Shuts down the write half of a connection that may be closed.
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn try_shutdown_write(&mut self) -> std::io::Result<()> {
        self.stream.shutdown().await
    }

    /// Sends bytes on a connection that may be closed.
    ///
    /// # Errors
    /// If they cannot be sent.
    pub async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        with_timeout("bytes to be sent", sent).await
    }

    /// Reads until the connection closes; a reset counts as the end.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = with_timeout("the connection to close", self.stream.read_to_end(&mut bytes)).await;
        bytes
    }

    /// Reads until the connection closes; whether that was an orderly close, and no reset.
    pub async fn closes_cleanly(&mut self) -> bool {
        let mut bytes = Vec::new();
        with_timeout("the connection to close", self.stream.read_to_end(&mut bytes)).await.is_ok()
    }

    /// The result of one read of at most this many bytes; empty once the connection is closed or
    /// reset.
    pub async fn some_bytes(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; most];
        let read = with_timeout("bytes", self.stream.read(&mut bytes)).await.unwrap_or_default();
        bytes.truncate(read);
        bytes
    }

    /// Reads exactly this many bytes.
    ///
    /// # Panics
    /// If the connection closes before.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        with_timeout("bytes", self.stream.read_exact(&mut bytes)).await.unwrap();
        bytes
    }

    /// The next frame of a WebSocket server; `None` if the connection closes.
    pub async fn frame(&mut self) -> Option<Frame> {
        with_timeout("a frame", self.read_frame()).await.ok()
    }

    async fn read_frame(&mut self) -> std::io::Result<Frame> {
        let first = self.stream.read_u8().await?;
        let length = match self.stream.read_u8().await? {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            length => u64::from(length),
        };
        assert!(length < 1 << 24, "a frame of {length} bytes, or with a mask");
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).await?;
        Ok(Frame { first, payload })
    }

    /// Reads frames until a close frame and the end of the connection; returns the close code.
    ///
    /// # Panics
    /// If the connection closes without a close frame.
    pub async fn close_code(&mut self) -> u16 {
        let (code, _) = self.close_frame().await;
        self.read_to_end().await;
        code
    }

    /// Reads frames until a close frame; returns its code and reason.
    ///
    /// # Panics
    /// If the connection closes without a close frame.
    pub async fn close_frame(&mut self) -> (u16, String) {
        loop {
            let frame = self.frame().await.expect("a close frame before the end");
            if frame.first == 0x88 {
                let (code, reason) = frame.payload.split_at(2);
                let code = u16::from_be_bytes(code.try_into().unwrap());
                return (code, String::from_utf8(reason.to_vec()).unwrap());
            }
        }
    }

    /// Sends a GET request; `None` without a complete response.
    pub async fn get(addr: SocketAddr, target: &str) -> Option<Answer> {
        Self::request(addr, "GET", target).await
    }

    /// Sends a request without a body; `None` without a complete response.
    pub async fn request(addr: SocketAddr, method: &str, target: &str) -> Option<Answer> {
        let exchange = async {
            let mut stream = net::connect(addr).await.ok()?;
            let head =
                format!("{method} {target} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.ok()?;
            Answer::parse(&bytes)
        };
        timeout(Duration::from_secs(5), exchange).await.ok().flatten()
    }
}

impl Answer {
    /// Parses a response that is delimited by the end of the connection; `None` if it is malformed.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Some(Self { status, headers: lines.filter_map(header).collect(), body: body.to_owned() })
    }

    /// Value of a header; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A WebSocket handshake request with these additional headers.
pub fn handshake(headers: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// A masked client frame. `first` is the final bit, reserved bits and opcode.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        medium @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
