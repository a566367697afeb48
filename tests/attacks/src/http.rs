//! Attacks on a client port without a WebSocket.

use suite_tests::raw::handshake;

use crate::{rng::Rng, target::Target, wire::Wire};

/// Connects, sends nothing or a little, and stays connected.
pub(crate) async fn idle(target: &Target, rng: &mut Rng) -> Option<()> {
    let mut wire = Wire::connect(target.clients, rng).await?;
    if rng.once_in(2) {
        let request = handshake("");
        wire.send(&request.as_bytes()[..rng.below(request.len())]).await?;
    }
    wire.linger(rng, 3000).await
}

/// Sends a handshake a few bytes at a time.
pub(crate) async fn drip(target: &Target, rng: &mut Rng) -> Option<()> {
    let mut wire = Wire::connect(target.clients, rng).await?;
    let field = format!("X-{}: {}\r\n", rng.word(8), "y".repeat(rng.amount(4000)));
    wire.send_in_pieces(handshake(&field).as_bytes(), rng).await?;
    wire.linger(rng, 1000).await
}

/// Sends bytes that are mostly not HTTP.
pub(crate) async fn noise(target: &Target, rng: &mut Rng) -> Option<()> {
    let mut wire = Wire::connect(target.clients, rng).await?;
    let length = rng.amount(100_000);
    let bytes = match rng.below(3) {
        0 => rng.bytes(length),
        1 => vec![*rng.pick(b"\r\n \0G:"); length],
        _ => {
            let mut request = handshake("").into_bytes();
            rng.mutate(&mut request);
            request
        }
    };
    wire.send_in_pieces(&bytes, rng).await?;
    wire.linger(rng, 500).await
}

/// Pipelines page requests and reads few of the responses.
pub(crate) async fn requests(target: &Target, rng: &mut Rng) -> Option<()> {
    let mut wire = Wire::connect(target.clients, rng).await?;
    let method = *rng.pick(&["GET", "HEAD", "OPTIONS", "POST", "BREW"]);
    let path = *rng.pick(&["/", "/chat.js", "/healthz", "/no-such-page", "/%2e%2e/", "*"]);
    let mut all = format!("{method} {path} HTTP/1.1\r\n\r\n").repeat(rng.amount(2000));
    if rng.once_in(3) {
        all.push_str(&handshake(""));
    }
    for _ in 0..rng.amount(4) {
        wire.send(all.as_bytes()).await?;
        if rng.once_in(2) {
            wire.read(rng.pause(100)).await?;
        }
    }
    wire.linger(rng, 2000).await
}

/// Sends a request head with an oversized part.
pub(crate) async fn header(target: &Target, rng: &mut Rng) -> Option<()> {
    let mut wire = Wire::connect(target.clients, rng).await?;
    let length = rng.amount(1_000_000);
    let head = match rng.below(3) {
        0 => format!("GET /{} HTTP/1.1\r\n\r\n", rng.word(length.min(100_000))),
        1 => handshake(&"X: y\r\n".repeat(length / 6)),
        _ => handshake(&format!("Cookie: {}\r\n", "z".repeat(length))),
    };
    wire.send_in_pieces(head.as_bytes(), rng).await?;
    wire.linger(rng, 500).await
}
