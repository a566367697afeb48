//! The listener with short times: slow peers, many connections, both protocols, the drain.

use std::net::SocketAddr;

use axum::{body::Body, routing::post};
use hyper_util::rt::TokioExecutor;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream as Client,
    time::timeout,
};

use super::*;

const SHORT: Duration = Duration::from_millis(100);

/// Turns a hang into a failure.
const LONG: Duration = Duration::from_secs(15);

struct Started {
    addr: SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    metrics: Metrics,
}

/// A listener whose only path answers with the length of its body, or 408.
fn start(limits: Limits) -> Started {
    let acceptor = runtime::listen::bind(([127, 0, 0, 1], 0).into(), "--http-listen").unwrap();
    let (addr, stop, metrics) = (acceptor.addr(), CancellationToken::new(), Metrics::default());
    let length = move |body: Body| async move {
        let body = crate::read_body(body, 1_000_000, limits.body_time).await;
        body.map(|body| body.len().to_string()).map_err(|failure| failure.status)
    };
    let router = Router::new().route("/", post(length));
    let task = tokio::spawn(serve(acceptor, router, limits, metrics.clone(), stop.clone()));
    Started { addr, stop, task, metrics }
}

/// Sends bytes, and reads until the server closes.
async fn exchange(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = Client::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    until_closed(stream).await
}

async fn until_closed(mut stream: Client) -> String {
    let mut answer = Vec::new();
    let _ = timeout(LONG, stream.read_to_end(&mut answer)).await.expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn peer_that_is_slow_with_its_head_is_disconnected() {
    let limits = Limits { head_time: SHORT, ..Limits::default() };
    let Started { addr, .. } = start(limits);
    for head in ["", "P", "PRI * HTTP/2.0\r\n", "POST / HTTP/1.1\r\nhost: a-longer-name\r\nx: "] {
        let answer = exchange(addr, head.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{head:?}: {answer}");
    }
}

#[tokio::test]
async fn peer_that_is_slow_with_its_body_is_answered_408() {
    let Started { addr, .. } = start(Limits { body_time: SHORT, ..Limits::default() });
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nconnection: close\r\n\r\nab";
    assert!(exchange(addr, head.as_bytes()).await.starts_with("HTTP/1.1 408"));
}

#[tokio::test]
async fn idle_and_old_connections_are_closed() {
    let request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab";
    for limits in [
        Limits { idle_time: SHORT, ..Limits::default() },
        Limits { lifetime: SHORT, ..Limits::default() },
    ] {
        let answer = exchange(start(limits).addr, request).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n2"), "{answer}");
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let started = start(Limits { connections: 1, ..Limits::default() });
    let first = Client::connect(started.addr).await.unwrap();
    let request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let mut second = Client::connect(started.addr).await.unwrap();
    second.write_all(request).await.unwrap();
    assert!(timeout(SHORT, second.read_u8()).await.is_err(), "one place, taken");
    assert_eq!(started.metrics.connections.get(), 1);
    drop(first);
    assert!(until_closed(second).await.contains("200 OK"));
}

#[tokio::test]
async fn request_over_http2_without_tls_is_answered() {
    let Started { addr, .. } = start(Limits::default());
    let stream = TokioIo::new(Client::connect(addr).await.unwrap());
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (mut client, connection) = timeout(LONG, handshake).await.unwrap().unwrap();
    tokio::spawn(connection);
    let answers = (0..3).map(|size| {
        let body = http_body_util::Full::new(bytes::Bytes::from(vec![b'x'; size]));
        let request = hyper::Request::post(format!("http://{addr}/")).body(body).unwrap();
        client.send_request(request)
    });
    let answers: Vec<_> = answers.collect();
    for answer in answers {
        let answer = timeout(LONG, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), hyper::StatusCode::OK);
        assert_eq!(answer.version(), hyper::Version::HTTP_2);
    }
}

#[tokio::test]
async fn shutdown_finishes_requests_and_refuses_connections() {
    let Started { addr, stop, task, .. } = start(Limits::default());
    let mut idle = Client::connect(addr).await.unwrap();
    idle.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let mut begun = Client::connect(addr).await.unwrap();
    begun.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\na").await.unwrap();
    assert_eq!(timeout(LONG, idle.read_u8()).await.unwrap().unwrap(), b'H');
    sleep(SHORT).await;
    stop.cancel();
    until_closed(idle).await;
    while Client::connect(addr).await.is_ok() {
        sleep(Duration::from_millis(10)).await;
    }
    assert!(!task.is_finished(), "a request is not complete");
    begun.write_all(b"bc").await.unwrap();
    let answer = until_closed(begun).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n3"), "{answer}");
    timeout(LONG, task).await.unwrap().unwrap();
}
