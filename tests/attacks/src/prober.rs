//! A client that wants nothing but its echo, and notes how long it waits for it.

use std::{net::SocketAddr, time::Duration};

use suite_tests::{Browser, Heard};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How long it waits between two messages.
const EVERY: Duration = Duration::from_millis(20);

/// Sends messages one after the other and waits for the echo of each, until it is told to stop. If it
/// `comes_back`, it connects again whenever it is closed.
///
/// # Errors
/// When it is closed, and does not come back.
pub(crate) async fn probe(
    gateway: SocketAddr,
    comes_back: bool,
    stop: CancellationToken,
) -> Result<Vec<Duration>, String> {
    let mut waits = Vec::new();
    while !stop.is_cancelled() {
        let mut browser = Browser::open(gateway, "/").await;
        if let Err(closed) = echo(&mut browser, &mut waits, &stop).await {
            if !comes_back {
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
/// When the client is closed before.
pub(crate) async fn echo_once(browser: &mut Browser, message: &str) -> Result<(), String> {
    if !browser.try_send(message).await {
        return Err("a prober cannot send".to_owned());
    }
    loop {
        match browser.hears().await {
            Heard::Text(text) if text == message => return Ok(()),
            // From clients and peers that send to every client.
            Heard::Text(_) | Heard::Binary(_) => {}
            Heard::End(code) => return Err(format!("a prober was closed with {code:?}")),
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
