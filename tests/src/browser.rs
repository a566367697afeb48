//! A WebSocket client, as a page has one.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use service::stream::Stream;
use tokio::{io::AsyncWriteExt as _, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _, http::Request},
};

use crate::{net, soon};

/// A client with its handshake done. Dropping it breaks the connection without a goodbye.
#[derive(Debug)]
pub struct Browser {
    socket: WebSocketStream<Stream>,
    gateway: SocketAddr,
}

/// What a client hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Bytes),
    /// The end, with the code of the close frame if there was one.
    End(Option<u16>),
}

impl Browser {
    /// Opens a WebSocket.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn open(gateway: SocketAddr, target: &str) -> Self {
        let request = format!("ws://{gateway}{target}").into_client_request().unwrap();
        Self::open_with(gateway, request).await.unwrap()
    }

    /// Opens a WebSocket with headers of one's own.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn open_with(gateway: SocketAddr, request: Request<()>) -> Result<Self, Error> {
        let opening = async {
            let stream = net::connect(gateway).await?;
            stream.set_nodelay(true)?;
            client_async(request, stream).await
        };
        let (socket, _) = soon("a handshake", opening).await?;
        Ok(Self { socket, gateway })
    }

    /// Has a worker with `--app bench` echo a message, and waits for it.
    ///
    /// # Panics
    /// When another message comes first, or none.
    pub async fn echo(&mut self, text: &str) {
        let message = format!("e{text}");
        self.send(message.clone()).await;
        assert_eq!(self.hears_text().await, message);
    }

    /// The gateway that it is on.
    pub fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// The address that its gateway sees.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn addr(&self) -> SocketAddr {
        self.socket.get_ref().local_addr().unwrap()
    }

    /// Sends a text message.
    pub async fn send(&mut self, text: impl Into<String>) {
        self.send_message(Message::text(text.into())).await;
    }

    /// Sends a text message, however long that takes.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn send_patiently(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Sends a binary message.
    pub async fn send_binary(&mut self, bytes: impl Into<Bytes>) {
        self.send_message(Message::binary(bytes)).await;
    }

    /// Sends anything.
    ///
    /// # Panics
    /// When it does not go out.
    pub async fn send_message(&mut self, message: Message) {
        soon("a message to go out", self.socket.send(message)).await.unwrap();
    }

    /// Sends a text message to somebody who may have hung up; says whether it went out.
    pub async fn try_send(&mut self, text: &str) -> bool {
        soon("a message to go out", self.socket.send(Message::text(text))).await.is_ok()
    }

    /// The next thing that it hears; pings are answered in passing.
    pub async fn hears(&mut self) -> Heard {
        soon("to hear something", self.next()).await
    }

    async fn next(&mut self) -> Heard {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Heard::Text(text.as_str().to_owned()),
                Some(Ok(Message::Binary(bytes))) => return Heard::Binary(bytes),
                Some(Ok(Message::Close(frame))) => {
                    // Reading on sends the answer to the close frame; then, as browsers do, we
                    // hang up because the server has.
                    while let Some(Ok(_)) = self.socket.next().await {}
                    let _ = self.socket.get_mut().shutdown().await;
                    return Heard::End(frame.map(|frame| frame.code.into()));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(_)) | None => return Heard::End(None),
            }
        }
    }

    /// The next thing that it hears, which is a text message.
    ///
    /// # Panics
    /// When it is not.
    pub async fn hears_text(&mut self) -> String {
        match self.hears().await {
            Heard::Text(text) => text,
            other => panic!("a text message was expected, not {other:?}"),
        }
    }

    /// Whether it hears this text before long, which it need not.
    ///
    /// # Panics
    /// When it hears something else.
    pub async fn hears_within(&mut self, text: &str, wait: Duration) -> bool {
        match timeout(wait, self.next()).await {
            Ok(heard) => {
                assert_eq!(heard, text.into());
                true
            }
            Err(_) => false,
        }
    }

    /// Reads up to the end, and says with which code it came.
    pub async fn ends(&mut self) -> Option<u16> {
        let ending = async {
            loop {
                if let Heard::End(code) = self.next().await {
                    return code;
                }
            }
        };
        soon("the end", ending).await
    }

    /// Says goodbye properly.
    pub async fn close(mut self) {
        // The other end may be faster.
        let _ = soon("a goodbye", self.socket.close(None)).await;
        self.ends().await;
    }
}

impl From<&str> for Heard {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
