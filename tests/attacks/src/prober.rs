//! A well-behaved client that measures the latency of its echoes.

use std::{net::SocketAddr, time::Duration};

use suite_tests::{Browser, Received};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Interval between messages.
const EVERY: Duration = Duration::from_millis(20);

/// Sends messages one at a time and waits for each echo until `stop` is cancelled; returns the
/// latencies. Reconnects when closed if `reconnects` is set.
///
/// # Errors
/// If it is closed and does not reconnect.
pub(crate) async fn probe(
    gateway: SocketAddr,
    reconnects: bool,
    stop: CancellationToken,
) -> Result<Vec<Duration>, String> {
    let mut waits = Vec::new();
    while !stop.is_cancelled() {
        let mut browser = Browser::open(gateway, "/").await;
        if let Err(closed) = echo(&mut browser, &mut waits, &stop).await {
            if !reconnects {
                return Err(closed);
            }
            continue;
        }
        browser.close().await;
    }
    Ok(waits)
}

/// Sends one message and waits for its echo.
///
/// # Errors
/// When the client is closed first.
pub(crate) async fn echo_once(browser: &mut Browser, message: &str) -> Result<(), String> {
    if !browser.try_send(message).await {
        return Err("a prober cannot send".to_owned());
    }
    loop {
        match browser.receive().await {
            Received::Text(text) if text == message => return Ok(()),
            // Messages of clients and peers that send to every client.
            Received::Text(_) | Received::Binary(_) => {}
            Received::Closed(code) => return Err(format!("a prober was closed with {code:?}")),
        }
    }
}

async fn echo(
    browser: &mut Browser,
    waits: &mut Vec<Duration>,
    stop: &CancellationToken,
) -> Result<(), String> {
    while !stop.is_cancelled() {
        let began = Instant::now();
        echo_once(browser, &format!("e probe {}", waits.len())).await?;
        waits.push(began.elapsed());
        sleep(EVERY).await;
    }
    Ok(())
}
