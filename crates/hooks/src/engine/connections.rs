//! HTTP/1.1 to one receiver: connections are kept for the next request; redirects are not followed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, SendRequest},
};
use hyper_util::rt::TokioIo;
use runtime::{clock, net::TcpStream, stream::Stream, supervise, sync::Mutex, tls::HttpsClient};

use super::request::{Failure, HookResponse};
use crate::url::HookUrl;

/// The longest body of an answer, in bytes.
pub const MAX_RESPONSE: usize = 1024 * 1024;

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 64 * 1024;

const MAX_HEADERS: usize = 100;

/// How many connections wait for their next request.
const MOST_IDLE: usize = 64;

/// How long a connection waits for its next request: less than servers usually do.
const LONGEST_IDLE: Duration = Duration::from_secs(30);

type Sender = SendRequest<Full<Bytes>>;

/// The connections to one receiver.
#[derive(Debug)]
pub(super) struct Connections {
    url: HookUrl,
    tls: Option<HttpsClient>,
    /// Those without a request, the one that was used last at the end.
    idle: Mutex<Vec<(Sender, Instant)>>,
}

impl Connections {
    /// None yet; `tls` is for a URL with `https`.
    pub(super) const fn new(url: HookUrl, tls: Option<HttpsClient>) -> Self {
        Self { url, tls, idle: Mutex::new(Vec::new()) }
    }

    /// Sends a request and receives the whole answer. To be bounded in time by the caller.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        request: Request<Full<Bytes>>,
    ) -> Result<HookResponse, Failure> {
        // The receiver may have closed a connection meanwhile: that is no failure.
        while let Some(mut sender) = self.take() {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.send_request(request.clone()).await {
                Ok(response) => return self.receive(sender, response).await,
                // It was not written.
                Err(error) if error.is_canceled() => {}
                // It may have been read: once more at most, whatever other connections do.
                Err(error) if error.is_incomplete_message() => break,
                Err(error) => return Err(Failure::Broken(error)),
            }
        }
        let mut sender = self.connect().await?;
        let response = sender.send_request(request).await.map_err(Failure::Broken)?;
        self.receive(sender, response).await
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        let tcp = TcpStream::connect(self.url.address()).await.map_err(Failure::Connect)?;
        let stream = match (&self.tls, self.url.is_tls()) {
            (Some(tls), true) => {
                tls.connect(tcp, self.url.host()).await.map_err(Failure::Connect)?
            }
            _ => Stream::Plain(tcp),
        };
        // Without effect on the exchange if it fails.
        let _ = stream.set_nodelay(true);
        let mut builder = Builder::new();
        // Receivers in PHP find a header by its name as it was sent, such as X-Pusher-Key.
        builder.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS).title_case_headers(true);
        let (sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(Failure::Broken)?;
        // It ends with its sender, or with the connection; the sender reports errors.
        drop(supervise::spawn(async { drop(connection.await) }));
        Ok(sender)
    }

    async fn receive(
        &self,
        sender: Sender,
        response: Response<Incoming>,
    ) -> Result<HookResponse, Failure> {
        let (head, body) = response.into_parts();
        let body = collect(head.status, body).await?;
        self.put(sender);
        Ok(HookResponse { status: head.status, headers: head.headers, body })
    }

    fn take(&self) -> Option<Sender> {
        let mut idle = self.idle.lock();
        let now = clock::now();
        idle.retain(|(sender, since)| {
            !sender.is_closed() && now.saturating_duration_since(*since) < LONGEST_IDLE
        });
        idle.pop().map(|(sender, _)| sender)
    }

    fn put(&self, sender: Sender) {
        let mut idle = self.idle.lock();
        if idle.len() < MOST_IDLE && !sender.is_closed() {
            idle.push((sender, clock::now()));
        }
    }
}

async fn collect(status: StatusCode, mut body: Incoming) -> Result<Bytes, Failure> {
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Failure::Broken)?;
        if let Ok(data) = frame.into_data() {
            if MAX_RESPONSE < collected.len() + data.len() {
                return Err(Failure::TooLong(status));
            }
            collected.extend_from_slice(&data);
        }
    }
    Ok(collected.freeze())
}
