//! Attacks on a client port without a WebSocket.

use suite_tests::raw::handshake;

use crate::{dice::Dice, target::Target, wire::Wire};

/// Connects, sends nothing or a little, and stays connected.
pub(crate) async fn idle(target: &Target, dice: &mut Dice) -> Option<()> {
    let mut wire = Wire::connect(target.clients, dice).await?;
    if dice.once_in(2) {
        let request = handshake("");
        wire.send(&request.as_bytes()[..dice.below(request.len())]).await?;
    }
    wire.linger(dice, 3000).await
}

/// Sends a handshake a few bytes at a time.
pub(crate) async fn drip(target: &Target, dice: &mut Dice) -> Option<()> {
    let mut wire = Wire::connect(target.clients, dice).await?;
    let field = format!("X-{}: {}\r\n", dice.word(8), "y".repeat(dice.amount(4000)));
    wire.send_in_pieces(handshake(&field).as_bytes(), dice).await?;
    wire.linger(dice, 1000).await
}

/// Sends bytes that are mostly not HTTP.
pub(crate) async fn noise(target: &Target, dice: &mut Dice) -> Option<()> {
    let mut wire = Wire::connect(target.clients, dice).await?;
    let length = dice.amount(100_000);
    let bytes = match dice.below(3) {
        0 => dice.bytes(length),
        1 => vec![*dice.pick(b"\r\n \0G:"); length],
        _ => {
            let mut request = handshake("").into_bytes();
            dice.mutate(&mut request);
            request
        }
    };
    wire.send_in_pieces(&bytes, dice).await?;
    wire.linger(dice, 500).await
}

/// Pipelines page requests and reads few of the responses.
pub(crate) async fn requests(target: &Target, dice: &mut Dice) -> Option<()> {
    let mut wire = Wire::connect(target.clients, dice).await?;
    let method = *dice.pick(&["GET", "HEAD", "OPTIONS", "POST", "BREW"]);
    let path = *dice.pick(&["/", "/chat.js", "/healthz", "/no-such-page", "/%2e%2e/", "*"]);
    let mut all = format!("{method} {path} HTTP/1.1\r\n\r\n").repeat(dice.amount(2000));
    if dice.once_in(3) {
        all.push_str(&handshake(""));
    }
    for _ in 0..dice.amount(4) {
        wire.send(all.as_bytes()).await?;
        if dice.once_in(2) {
            wire.read(dice.pause(100)).await?;
        }
    }
    wire.linger(dice, 2000).await
}

/// Sends a request head with an oversized part.
pub(crate) async fn header(target: &Target, dice: &mut Dice) -> Option<()> {
    let mut wire = Wire::connect(target.clients, dice).await?;
    let length = dice.amount(1_000_000);
    let head = match dice.below(3) {
        0 => format!("GET /{} HTTP/1.1\r\n\r\n", dice.word(length.min(100_000))),
        1 => handshake(&"X: y\r\n".repeat(length / 6)),
        _ => handshake(&format!("Cookie: {}\r\n", "z".repeat(length))),
    };
    wire.send_in_pieces(head.as_bytes(), dice).await?;
    wire.linger(dice, 500).await
}
