//! A WebSocket client that behaves like a browser.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use runtime::stream::Stream;
use tokio::{io::AsyncWriteExt as _, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message, client::IntoClientRequest as _, http::Request, protocol::CloseFrame,
    },
};

use crate::{net, with_timeout};

/// A client with a completed handshake. Dropping it breaks the connection without a close frame.
#[derive(Debug)]
pub struct Browser {
    socket: WebSocketStream<Stream>,
    gateway: SocketAddr,
    /// The reason of the close frame that was received.
    close_reason: String,
}

/// Something a client received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Bytes),
    /// The connection closed, with the code of the close frame if there was one.
    Closed(Option<u16>),
}

impl Browser {
    /// Opens a WebSocket.
    ///
    /// # Panics
    /// If the handshake is refused.
    pub async fn open(gateway: SocketAddr, target: &str) -> Self {
        let request = format!("ws://{gateway}{target}").into_client_request().unwrap();
        Self::open_with(gateway, request).await.unwrap()
    }

    /// Opens a WebSocket with custom headers.
    ///
    /// # Errors
    /// If the handshake is refused.
    pub async fn open_with(gateway: SocketAddr, request: Request<()>) -> Result<Self, Error> {
        let opening = async {
            let stream = net::connect(gateway).await?;
            stream.set_nodelay(true)?;
            client_async(request, stream).await
        };
        let (socket, _) = with_timeout("a handshake", opening).await?;
        Ok(Self { socket, gateway, close_reason: String::new() })
    }

    /// Sends a message, and waits for its reply.
    ///
    /// # Panics
    /// If another message arrives first, or none.
    pub async fn exchange(&mut self, message: &str, reply: &str) {
        self.send(message).await;
        assert_eq!(self.receive_text().await, reply);
    }

    /// Sends a message that a worker with `--app bench` echoes, and waits for the echo.
    ///
    /// # Panics
    /// If another message arrives first, or none.
    pub async fn echo(&mut self, text: &str) {
        let message = format!("e{text}");
        self.send(message.clone()).await;
        assert_eq!(self.receive_text().await, message);
    }

    /// Address of its gateway.
    pub fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// Its own address, as seen by the gateway.
    ///
    /// # Panics
    /// If the connection is closed.
    pub fn addr(&self) -> SocketAddr {
        self.socket.get_ref().local_addr().unwrap()
    }

    /// Sends a text message.
    pub async fn send(&mut self, text: impl Into<String>) {
        self.send_message(Message::text(text.into())).await;
    }

    /// Sends a text message without a timeout.
    ///
    /// # Panics
    /// If the connection is closed.
    pub async fn send_without_timeout(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Sends a binary message.
    pub async fn send_binary(&mut self, bytes: impl Into<Bytes>) {
        self.send_message(Message::binary(bytes)).await;
    }

    /// Sends a message of any kind.
    ///
    /// # Panics
    /// If it cannot be sent.
    pub async fn send_message(&mut self, message: Message) {
        with_timeout("a message to be sent", self.socket.send(message)).await.unwrap();
    }

    /// Sends a text message to a peer that may have disconnected. `false` if that fails.
    pub async fn try_send(&mut self, text: &str) -> bool {
        with_timeout("a message to be sent", self.socket.send(Message::text(text))).await.is_ok()
    }

    /// The next message, or the end of the connection. Pings are answered and skipped.
    pub async fn receive(&mut self) -> Received {
        with_timeout("a message", self.next()).await
    }

    async fn next(&mut self) -> Received {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Received::Text(text.as_str().to_owned()),
                Some(Ok(Message::Binary(bytes))) => return Received::Binary(bytes),
                Some(Ok(Message::Close(frame))) => {
                    // Reading on sends the reply to the close frame; then close, as browsers do,
                    // because the server has.
                    while let Some(Ok(_)) = self.socket.next().await {}
                    let _ = self.socket.get_mut().shutdown().await;
                    return Received::Closed(frame.map(|frame| {
                        frame.reason.as_str().clone_into(&mut self.close_reason);
                        frame.code.into()
                    }));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(_)) | None => return Received::Closed(None),
            }
        }
    }

    /// The next message, which must be text.
    ///
    /// # Panics
    /// If it is anything else.
    pub async fn receive_text(&mut self) -> String {
        match self.receive().await {
            Received::Text(text) => text,
            other => panic!("expected a text message, received {other:?}"),
        }
    }

    /// The close frame, which must be next: its code and reason, or `None` if there is none.
    ///
    /// # Panics
    /// If a message arrives.
    pub async fn receive_close(&mut self) -> Option<(u16, String)> {
        match self.receive().await {
            Received::Closed(code) => code.map(|code| (code, self.close_reason.clone())),
            other => panic!("expected a close frame, received {other:?}"),
        }
    }

    /// Whether this text arrives within `wait`.
    ///
    /// # Panics
    /// If something else arrives.
    pub async fn receives_within(&mut self, text: &str, wait: Duration) -> bool {
        match timeout(wait, self.next()).await {
            Ok(received) => {
                assert_eq!(received, text.into());
                true
            }
            Err(_) => false,
        }
    }

    /// Reads until the connection closes; returns the code of the close frame, if any.
    pub async fn closed(&mut self) -> Option<u16> {
        let ending = async {
            loop {
                if let Received::Closed(code) = self.next().await {
                    return code;
                }
            }
        };
        with_timeout("the end of the connection", ending).await
    }

    /// Performs the close handshake, with this code and reason.
    pub async fn close_with(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        let _ = with_timeout("a close frame to be sent", self.socket.close(Some(frame))).await;
        self.closed().await;
    }

    /// Performs the close handshake.
    pub async fn close(mut self) {
        // The server may close first.
        let _ = with_timeout("a close frame to be sent", self.socket.close(None)).await;
        self.closed().await;
    }
}

impl From<&str> for Received {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
