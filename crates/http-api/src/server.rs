//! The listener: HTTP/1.1 and HTTP/2 without TLS (h2c), bounded in connections and time.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::Router;
use hyper::rt::Executor;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use runtime::{listen::Acceptor, net::TcpStream, supervise};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{limits::Limits, metrics::Metrics};

/// Serves `router` until `shutdown`, then closes the listener and returns when every connection has
/// got the answers to its requests. The caller bounds that time by dropping the future.
pub async fn serve(
    mut acceptor: Acceptor,
    router: Router,
    limits: Limits,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let places = Arc::clone(&places);
        let next = async {
            // Never closed.
            let place = places.acquire_owned().await.ok();
            (place, acceptor.accept().await)
        };
        let (place, (stream, peer)) = tokio::select! {
            next = next => next,
            Some(_) = connections.join_next() => continue,
            () = shutdown.cancelled() => break,
        };
        tracing::debug!(%peer, "connected to the push API");
        let place = Place { _permit: place, metrics: metrics.clone() };
        place.metrics.connections.inc();
        let serving = connection(stream, router.clone(), limits, shutdown.clone());
        supervise::spawn_in(&mut connections, async move {
            let _place = place;
            serving.await;
        });
    }
    drop(acceptor);
    while connections.join_next().await.is_some() {}
}

/// The place of a connection.
struct Place {
    _permit: Option<OwnedSemaphorePermit>,
    metrics: Metrics,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

async fn connection(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let mut builder = Builder::new(Supervised);
    let mut http1 = builder.http1();
    http1.timer(TokioTimer::new()).header_read_timeout(limits.head_time).max_buf_size(MAX_HEAD);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS);
    http2.max_header_list_size(MAX_HEAD as u32);
    let io = TokioIo::new(Guarded::new(stream, limits));
    let serving = builder.serve_connection(io, TowerToHyperService::new(router));
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        () = sleep(limits.lifetime) => {
            serving.as_mut().graceful_shutdown();
            timeout(LAST_REQUESTS, serving).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "connection to the push API ended");
    }
}

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Requests at a time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

/// How long a connection that is too old has for the answers to its requests.
const LAST_REQUESTS: Duration = Duration::from_secs(60);

/// Spawns the tasks of HTTP/2.
#[derive(Clone, Copy, Debug)]
struct Supervised;

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Supervised {
    fn execute(&self, task: F) {
        drop(supervise::spawn(task));
    }
}

/// A connection that fails when its peer is too slow: before the version of the protocol is known,
/// between requests, or in taking an answer. Within a request other limits hold as well.
struct Guarded {
    stream: TcpStream,
    limits: Limits,
    received: usize,
    opening: Pin<Box<Sleep>>,
    idle: Pin<Box<Sleep>>,
    /// Set while the peer takes nothing.
    stuck: Option<Pin<Box<Sleep>>>,
}

/// The bytes that tell HTTP/2 from HTTP/1.1.
const PREFACE: usize = 24;

impl Guarded {
    fn new(stream: TcpStream, limits: Limits) -> Self {
        let timer = |time| Box::pin(sleep(time));
        let (opening, idle) = (timer(limits.head_time), timer(limits.idle_time));
        Self { stream, limits, received: 0, opening, idle, stuck: None }
    }

    fn progress(&mut self) {
        self.stuck = None;
        self.idle.as_mut().reset(Instant::now() + self.limits.idle_time);
    }

    fn wrote<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.progress();
            return written;
        }
        let time = self.limits.idle_time;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(time)));
        ready!(stuck.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.received = self.received.saturating_add(buf.filled().len() - before);
            self.progress();
            if PREFACE <= self.received || before == buf.filled().len() {
                return read;
            }
        }
        let is_late = self.received < PREFACE && self.opening.as_mut().poll(cx).is_ready();
        if is_late || self.idle.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
