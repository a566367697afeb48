//! A bare TCP connection, for those who break the rules; and a little HTTP.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use service::stream::Stream;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{net, soon};

/// A bare TCP connection, or what is in a TLS one.
#[derive(Debug)]
pub struct Raw {
    stream: Stream,
}

/// An answer to an HTTP request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The number of its status.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// What came behind the headers.
    pub body: String,
}

/// A frame that a server sent, with its first byte as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Final bit, reserved bits, opcode.
    pub first: u8,
    /// What is in it.
    pub payload: Vec<u8>,
}

impl Raw {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens there.
    pub async fn connect(addr: SocketAddr) -> Self {
        Self { stream: soon("to connect", net::connect(addr)).await.unwrap() }
    }

    /// Connects without TLS, whatever is spoken there.
    ///
    /// # Panics
    /// When nobody listens there.
    pub async fn plain(addr: SocketAddr) -> Self {
        Self { stream: soon("to connect", TcpStream::connect(addr)).await.unwrap().into() }
    }

    /// Connects and opens a WebSocket, after which frames are up to the test.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn websocket(addr: SocketAddr) -> Self {
        let mut raw = Self::connect(addr).await;
        raw.upgrade().await;
        raw
    }

    /// The same over a socket that takes next to nothing: what is not read stays with the sender,
    /// and not in the kernel.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn narrow(addr: SocketAddr) -> Self {
        let mut raw = Self::narrow_connection(addr).await;
        raw.upgrade().await;
        raw
    }

    /// Connects over such a socket, and asks for nothing.
    ///
    /// # Panics
    /// When nobody listens there.
    pub async fn narrow_connection(addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        // The sender's buffer grows by the size of segments.
        socket2::SockRef::from(&socket).set_tcp_mss(1000).unwrap();
        let tcp = soon("to connect", socket.connect(addr)).await.unwrap();
        Self { stream: soon("to shake hands", net::over(tcp, addr)).await.unwrap() }
    }

    async fn upgrade(&mut self) {
        self.send(handshake("").as_bytes()).await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }

    /// The head of an answer, with the empty line behind it.
    ///
    /// # Panics
    /// When the other end hangs up before.
    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon("a head", self.stream.read_u8()).await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// When they do not go out.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.unwrap();
    }

    /// Closes our end: nothing more will be sent, but what comes can still be read.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn finish(&mut self) {
        self.try_finish().await.unwrap();
    }

    /// Closes our end towards somebody who may have hung up.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn try_finish(&mut self) -> std::io::Result<()> {
        self.stream.shutdown().await
    }

    /// Sends bytes to somebody who may have hung up.
    ///
    /// # Errors
    /// When they do not go out.
    pub async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        soon("bytes to go out", sent).await
    }

    /// All that comes until the other end hangs up; a reset counts as that.
    pub async fn until_the_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = soon("the other end to hang up", self.stream.read_to_end(&mut bytes)).await;
        bytes
    }

    /// Reads up to the end, and says whether the other end has said that it is one.
    pub async fn until_the_clean_end(&mut self) -> bool {
        let mut bytes = Vec::new();
        soon("the other end to hang up", self.stream.read_to_end(&mut bytes)).await.is_ok()
    }

    /// What comes before long, at most so many bytes; none at the end, which a reset counts as.
    pub async fn some_bytes(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; most];
        let read = soon("bytes", self.stream.read(&mut bytes)).await.unwrap_or_default();
        bytes.truncate(read);
        bytes
    }

    /// The next bytes, that many.
    ///
    /// # Panics
    /// When the other end hangs up before.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        soon("bytes", self.stream.read_exact(&mut bytes)).await.unwrap();
        bytes
    }

    /// The next frame of a WebSocket server, or `None` if the other end hangs up.
    pub async fn frame(&mut self) -> Option<Frame> {
        soon("a frame", self.read_frame()).await.ok()
    }

    async fn read_frame(&mut self) -> std::io::Result<Frame> {
        let first = self.stream.read_u8().await?;
        let length = match self.stream.read_u8().await? {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            length => u64::from(length),
        };
        assert!(length < 1 << 24, "a frame of {length} bytes, or a mask");
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).await?;
        Ok(Frame { first, payload })
    }

    /// Reads frames up to a close frame and the end behind it, and says the code.
    ///
    /// # Panics
    /// When the other end hangs up without a close frame.
    pub async fn close_code(&mut self) -> u16 {
        let (code, _) = self.goodbye().await;
        self.until_the_end().await;
        code
    }

    /// Reads frames up to a close frame, and says its code and its reason.
    ///
    /// # Panics
    /// When the other end hangs up without a close frame.
    pub async fn goodbye(&mut self) -> (u16, String) {
        loop {
            let frame = self.frame().await.expect("a close frame before the end");
            if frame.first == 0x88 {
                let (code, reason) = frame.payload.split_at(2);
                let code = u16::from_be_bytes(code.try_into().unwrap());
                return (code, String::from_utf8(reason.to_vec()).unwrap());
            }
        }
    }

    /// Fetches a page; `None` if there is no complete answer.
    pub async fn get(addr: SocketAddr, target: &str) -> Option<Answer> {
        Self::request(addr, "GET", target).await
    }

    /// Makes a request without a body; `None` if there is no complete answer.
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
    /// Reads an answer that ends where its connection ends; `None` if it is none.
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

    /// A header's value, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A request for a WebSocket, with more headers if some are given.
pub fn handshake(headers: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// A frame of a client, masked as it must be. `first` is the final bit, reserved bits and opcode.
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
