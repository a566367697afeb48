//! A client that wants nothing but its echo, and notes how long it waits for it.

use std::{net::SocketAddr, time::Duration};

use suite_tests::{Browser, Heard};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How long it waits between two messages.
const EVERY: Duration = Duration::from_millis(20);

/// Sends messages one after the other and waits for the echo of each, until it is told to stop.
///
/// # Errors
/// When it is closed.
pub(crate) async fn probe(
    gateway: SocketAddr,
    stop: CancellationToken,
) -> Result<Vec<Duration>, String> {
    let mut browser = Browser::open(gateway, "/").await;
    let mut waits = Vec::new();
    while !stop.is_cancelled() {
        let began = Instant::now();
        let message = format!("e probe {}", waits.len());
        if !browser.try_send(&message).await {
            return Err("a prober cannot send".to_owned());
        }
        loop {
            match browser.hears().await {
                Heard::Text(text) if text == message => break,
                // From those who may send to everybody.
                Heard::Text(_) | Heard::Binary(_) => {}
                Heard::End(code) => return Err(format!("a prober was closed with {code:?}")),
            }
        }
        waits.push(began.elapsed());
        sleep(EVERY).await;
    }
    browser.close().await;
    Ok(waits)
}
