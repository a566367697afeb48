//! A link of a PHP peer: the inner protocol of `GatewayWorker`, one frame at a time.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use protocol::{
    Secret,
    codec::gateway_worker::{BODY_IS_SCALAR, Frame, MAX_FRAME, Opcode, decode},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::with_timeout;

/// A link of a PHP peer. Dropping it looks like a crash to the gateway.
#[derive(Debug)]
pub struct Php {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Php {
    async fn connect(gateway: SocketAddr) -> Self {
        let stream = with_timeout("to connect", TcpStream::connect(gateway)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: BytesMut::new() }
    }

    /// A worker link, registered with every shard.
    ///
    /// # Panics
    /// If the gateway refuses it.
    pub async fn worker(gateway: SocketAddr, secret: &Secret, name: &str) -> Self {
        let mut php = Self::connect(gateway).await;
        let secret = String::from_utf8_lossy(secret.expose()).into_owned();
        let hello = serde_json::json!({ "worker_key": name, "secret_key": secret });
        php.send(Opcode::WorkerConnect, 0, "", hello.to_string()).await;
        php.query(Opcode::GetGroupIdList, 0, "").await;
        php
    }

    /// A link that sends commands and queries, like `GatewayClient`.
    ///
    /// # Panics
    /// If the gateway refuses it.
    pub async fn back_end(gateway: SocketAddr, secret: &Secret) -> Self {
        let mut php = Self::connect(gateway).await;
        let secret = String::from_utf8_lossy(secret.expose()).into_owned();
        let hello = serde_json::json!({ "secret_key": secret });
        php.send(Opcode::GatewayClientConnect, 0, "", hello.to_string()).await;
        php
    }

    /// Waits until the gateway closes the link; returns the number of unread bytes before that.
    ///
    /// # Panics
    /// If it does not.
    pub async fn closed(mut self) -> usize {
        let mut rest = Vec::new();
        let reading = self.stream.read_to_end(&mut rest);
        let more = with_timeout("the gateway to disconnect", reading).await.unwrap_or(0);
        self.buffer.len() + more
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// If it cannot be sent.
    pub async fn send(
        &mut self,
        opcode: Opcode,
        client: u32,
        ext: impl Into<Bytes>,
        body: impl Into<Bytes>,
    ) {
        let frame = Frame {
            cmd: opcode.into(),
            connection_id: client,
            flag: BODY_IS_SCALAR,
            ext_data: ext.into(),
            body: body.into(),
            ..Frame::default()
        };
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes).unwrap();
        with_timeout("a frame to be sent", self.stream.write_all(&bytes)).await.unwrap();
    }

    /// Sends a query and reads the reply, which must be the next thing to arrive.
    ///
    /// # Panics
    /// If there is no reply.
    pub async fn query(&mut self, opcode: Opcode, client: u32, ext: &'static str) -> String {
        self.send(opcode, client, ext, "").await;
        self.read(4).await;
        let length = u32::from_be_bytes(self.buffer.split_to(4)[..].try_into().unwrap()) as usize;
        self.read(length).await;
        String::from_utf8(self.buffer.split_to(length).to_vec()).unwrap()
    }

    /// The next event.
    ///
    /// # Panics
    /// If the link closes.
    pub async fn event(&mut self) -> (Opcode, Frame) {
        loop {
            if let Some(frame) = decode(&mut self.buffer, MAX_FRAME).unwrap() {
                return (frame.cmd.try_into().unwrap(), frame);
            }
            self.more().await;
        }
    }

    /// Receives the two connect events of a new client and returns its connection id.
    ///
    /// # Panics
    /// If other events arrive.
    pub async fn accept_client(&mut self) -> u32 {
        let (connect, frame) = self.event().await;
        assert_eq!(connect, Opcode::OnConnect);
        let (opened, _) = self.event().await;
        assert_eq!(opened, Opcode::OnWebsocketConnect);
        frame.connection_id
    }

    /// The body of the next event, which must be a message.
    ///
    /// # Panics
    /// If it is anything else.
    pub async fn message(&mut self) -> Bytes {
        let (opcode, frame) = self.event().await;
        assert_eq!(opcode, Opcode::OnMessage, "{frame:?}");
        frame.body
    }

    async fn read(&mut self, length: usize) {
        while self.buffer.len() < length {
            self.more().await;
        }
    }

    async fn more(&mut self) {
        let read = with_timeout("bytes of a gateway", self.stream.read_buf(&mut self.buffer)).await;
        assert_ne!(read.unwrap(), 0, "the link is closed");
    }
}
