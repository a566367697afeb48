//! The admin server: `/livez`, `/readyz` and `/metrics`, for probes and scrapers.

use std::{fmt::Write as _, io, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text, registry::Registry};
use runtime::{listen::Acceptor, supervise};

use crate::{bounded::Bounded, exposition::Exposition, health::Health};

/// Serves on `acceptor` forever. Requests need no secret and responses contain none; it is meant for
/// an address that only operators can reach.
///
/// Limits: 64 connections at a time, each for at most 30 s (a scraper simply connects again);
/// the HTTP library refuses more than 100 headers, or a head beyond some 400 KiB.
///
/// # Errors
/// Never in practice: accepting does not fail.
pub async fn serve(acceptor: Acceptor, health: Health, metrics: Registry) -> io::Result<()> {
    axum::serve(Bounded::new(acceptor, CONNECTIONS, LIFETIME), routes(health, metrics)).await
}

const CONNECTIONS: usize = 64;
const LIFETIME: Duration = Duration::from_secs(30);

/// The three pages; everything else is 404.
pub fn routes(health: Health, metrics: Registry) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(health)
        .merge(Router::new().route("/metrics", get(page)).with_state(Arc::new(metrics)))
}

async fn livez(State(health): State<Health>) -> Response {
    status(&health.late().into_iter().map(|part| format!("{part}: late")).collect::<Vec<_>>())
}

async fn readyz(State(health): State<Health>) -> Response {
    status(&health.reasons())
}

/// 200 `ok`, or 503 with a line for each reason.
fn status(reasons: &[String]) -> Response {
    if reasons.is_empty() {
        return "ok\n".into_response();
    }
    let mut lines = String::new();
    for reason in reasons {
        let _ = writeln!(lines, "{reason}");
    }
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

/// On a thread of its own: it reads files of the system, and a page may have thousands of lines.
async fn page(State(metrics): State<Arc<Registry>>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Exposition::accepted(accept);
    let encode = move || {
        let mut text = String::new();
        text::encode(&mut text, &metrics).ok().map(|()| format.convert(text))
    };
    match supervise::spawn_blocking(encode).await {
        Ok(Some(text)) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use prometheus_client::metrics::counter::Counter;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    async fn start(health: &Health) -> SocketAddr {
        let acceptor = runtime::listen::bind(([127, 0, 0, 1], 0).into(), "--admin-listen").unwrap();
        let addr = acceptor.addr();
        let mut metrics = Registry::default();
        let seen: Counter = Counter::default();
        seen.inc();
        metrics.register("seen", "How often seen", seen);
        tokio::spawn(serve(acceptor, health.clone(), metrics));
        addr
    }

    async fn ask(addr: SocketAddr, path: &str) -> (String, String) {
        ask_for(addr, path, "*/*").await
    }

    async fn ask_for(addr: SocketAddr, path: &str, accept: &str) -> (String, String) {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\naccept: {accept}");
        let request = format!("{head}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    #[tokio::test]
    async fn readyz_lists_the_reasons() {
        let health = Health::new();
        let addr = start(&health).await;
        health.set_not_ready("register", "none reached");
        let (head, body) = ask(addr, "/readyz").await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert_eq!(body, "register: none reached\n");
        health.set_ready("register");
        let (head, body) = ask(addr, "/readyz").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(body, "ok\n");
    }

    #[tokio::test]
    async fn livez_does_not_depend_on_readiness() {
        let health = Health::new();
        let addr = start(&health).await;
        health.set_draining();
        assert!(ask(addr, "/livez").await.0.starts_with("HTTP/1.1 200"));
        let _late = health.pulse("shard 0", Duration::ZERO);
        let (head, body) = ask(addr, "/livez").await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert_eq!(body, "shard 0: late\n");
    }

    #[tokio::test]
    async fn metrics_are_open_metrics_for_those_that_ask_for_it() {
        let addr = start(&Health::new()).await;
        let (head, body) = ask_for(addr, "/metrics", "application/openmetrics-text").await;
        assert!(head.contains(Exposition::OpenMetrics.content_type()), "{head}");
        assert!(body.contains("# TYPE seen counter\nseen_total 1\n"), "{body}");
        assert!(body.ends_with("# EOF\n"), "{body}");
        let (head, body) = ask(addr, "/metrics").await;
        assert!(head.contains(Exposition::Prometheus.content_type()), "{head}");
        assert!(body.contains("# TYPE seen_total counter\nseen_total 1\n"), "{body}");
    }

    #[tokio::test]
    async fn any_other_path_is_not_found() {
        let addr = start(&Health::new()).await;
        for path in ["/", "/metrics/", "/livez/x", "/../etc/passwd"] {
            assert!(ask(addr, path).await.0.starts_with("HTTP/1.1 404"), "{path}");
        }
    }
}
