//! A link as PHP has one to a gateway: the inner protocol of `GatewayWorker`, one frame at a time.

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

use crate::soon;

/// A link of a PHP peer. Dropping it is what a crash looks like.
#[derive(Debug)]
pub struct Php {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Php {
    /// A link that takes events, and of which every shard knows.
    ///
    /// # Panics
    /// When the gateway does not let it in.
    pub async fn worker(gateway: SocketAddr, secret: &Secret, name: &str) -> Self {
        let stream = soon("to connect", TcpStream::connect(gateway)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut php = Self { stream, buffer: BytesMut::new() };
        let secret = String::from_utf8_lossy(secret.expose()).into_owned();
        let hello = serde_json::json!({ "worker_key": name, "secret_key": secret });
        php.say(Opcode::WorkerConnect, 0, "", hello.to_string()).await;
        php.ask(Opcode::GetGroupIdList, 0, "").await;
        php
    }

    /// A link that commands and asks, as `GatewayClient` has one.
    ///
    /// # Panics
    /// When the gateway does not let it in.
    pub async fn client(gateway: SocketAddr, secret: &Secret) -> Self {
        let stream = soon("to connect", TcpStream::connect(gateway)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut php = Self { stream, buffer: BytesMut::new() };
        let secret = String::from_utf8_lossy(secret.expose()).into_owned();
        let hello = serde_json::json!({ "secret_key": secret });
        php.say(Opcode::GatewayClientConnect, 0, "", hello.to_string()).await;
        php
    }

    /// Waits until the gateway hangs up, and says how many bytes came before.
    ///
    /// # Panics
    /// When it does not.
    pub async fn ends(mut self) -> usize {
        let mut rest = Vec::new();
        let reading = self.stream.read_to_end(&mut rest);
        let more = soon("the gateway to hang up", reading).await.unwrap_or(0);
        self.buffer.len() + more
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// When it does not go out.
    pub async fn say(
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
        soon("a frame to go out", self.stream.write_all(&bytes)).await.unwrap();
    }

    /// Asks, and reads the reply, which nothing may come before.
    ///
    /// # Panics
    /// When there is none.
    pub async fn ask(&mut self, opcode: Opcode, client: u32, ext: &'static str) -> String {
        self.say(opcode, client, ext, "").await;
        self.read(4).await;
        let length = u32::from_be_bytes(self.buffer.split_to(4)[..].try_into().unwrap()) as usize;
        self.read(length).await;
        String::from_utf8(self.buffer.split_to(length).to_vec()).unwrap()
    }

    /// The next event.
    ///
    /// # Panics
    /// When the link ends instead.
    pub async fn event(&mut self) -> (Opcode, Frame) {
        loop {
            if let Some(frame) = decode(&mut self.buffer, MAX_FRAME).unwrap() {
                return (frame.cmd.try_into().unwrap(), frame);
            }
            self.more().await;
        }
    }

    /// Takes a new client's first events, and says who it is.
    ///
    /// # Panics
    /// When they are something else.
    pub async fn welcomes(&mut self) -> u32 {
        let (connect, frame) = self.event().await;
        assert_eq!(connect, Opcode::OnConnect);
        let (opened, _) = self.event().await;
        assert_eq!(opened, Opcode::OnWebsocketConnect);
        frame.connection_id
    }

    /// The body of the next event, which is a message.
    ///
    /// # Panics
    /// When it is something else.
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
        let read = soon("a gateway's word", self.stream.read_buf(&mut self.buffer)).await;
        assert_ne!(read.unwrap(), 0, "the link ended");
    }
}
