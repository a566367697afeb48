//! Attacks of clients with an open WebSocket.

use suite_tests::raw::{handshake, masked};

use crate::{rng::Rng, target::Target, wire::Wire};

/// Message size limit of the attacked gateway.
pub(crate) const MAX_MESSAGE: usize = 1 << 20;

async fn open(target: &Target, rng: &mut Rng) -> Option<Wire> {
    let mut wire = Wire::connect(target.clients, rng).await?;
    wire.send(handshake("").as_bytes()).await?;
    if rng.once_in(4) {
        // Frames follow the handshake without waiting for the response.
        return Some(wire);
    }
    wire.read_until(b"\r\n\r\n").await?;
    Some(wire)
}

/// Floods the worker with messages, and reads all, some or none of the replies.
pub(crate) async fn messages(target: &Target, rng: &mut Rng) -> Option<()> {
    let mut wire = open(target, rng).await?;
    let command = *rng.pick(b"eeeeajg+-tux");
    let length = if command == b'a' { 100 } else { rng.amount(60_000) };
    let mut payload = vec![b'x'; length];
    payload[0] = command;
    // A broadcast costs the gateway many times what it costs to send.
    let count = rng.amount(if command == b'a' { 50 } else { 1 + 300_000 / (20 + length) });
    let all = masked(0x81, &payload).repeat(count);
    for _ in 0..rng.amount(20) {
        wire.send(&all).await?;
        if rng.once_in(2) {
            wire.read(rng.pause(50)).await?;
        }
    }
    wire.linger(rng, 2000).await
}

/// Sends empty frames: messages, fragments, pings and pongs.
pub(crate) async fn tiny(target: &Target, rng: &mut Rng) -> Option<()> {
    let mut wire = open(target, rng).await?;
    let first = *rng.pick(&[0x01, 0x80, 0x81, 0x82, 0x89, 0x8a]);
    let mut all = masked(0x01, b"").repeat(usize::from(first == 0x80));
    let frame = if first == 0x80 { masked(0x00, b"") } else { masked(first, b"") };
    all.extend(frame.repeat(rng.amount(20_000)));
    for _ in 0..rng.amount(5) {
        wire.send(&all).await?;
    }
    wire.linger(rng, 1000).await
}

/// Leaves a message unfinished, in one frame or in fragments.
pub(crate) async fn unfinished(target: &Target, rng: &mut Rng) -> Option<()> {
    let mut wire = open(target, rng).await?;
    let length = rng.amount(MAX_MESSAGE);
    let bytes = if rng.once_in(2) {
        let mut frame = masked(0x82, &vec![b'x'; length]);
        frame.truncate(rng.amount(frame.len()));
        frame
    } else {
        let piece = rng.amount(10_000);
        let mut frames = masked(0x02, &vec![b'x'; piece]);
        (0..length / (piece + 6)).for_each(|_| frames.extend(masked(0x00, &vec![b'x'; piece])));
        frames
    };
    wire.send_in_pieces(&bytes, rng).await?;
    wire.linger(rng, 5000).await
}

/// Sends malformed frames.
pub(crate) async fn malformed(target: &Target, rng: &mut Rng) -> Option<()> {
    let mut wire = open(target, rng).await?;
    let length = rng.amount(2000);
    let mut bytes = match rng.below(5) {
        // An excessive length.
        0 => [&[0x82, 0xff][..], &rng.number().to_be_bytes()].concat(),
        // No mask.
        1 => [&[0x81, 0x05][..], b"hello"].concat(),
        // Invalid UTF-8.
        2 => masked(0x81, &rng.bytes(length)),
        // A reserved bit or opcode.
        3 => masked(rng.below(256) as u8, &rng.bytes(length)),
        // A close frame with an arbitrary body.
        _ => masked(0x88, &rng.bytes(length.min(125))),
    };
    if rng.once_in(2) {
        rng.mutate(&mut bytes);
    }
    let good = masked(0x81, b"e good");
    wire.send_in_pieces(&[&good[..], &bytes, &good].concat(), rng).await?;
    wire.linger(rng, 500).await
}

/// Connects and disconnects repeatedly.
pub(crate) async fn churn(target: &Target, rng: &mut Rng) -> Option<()> {
    for _ in 0..rng.amount(50) {
        let mut wire = open(target, rng).await?;
        if rng.once_in(2) {
            wire.send(&masked(0x81, b"e hello")).await?;
        }
        if rng.once_in(2) {
            wire.send(&masked(0x88, &1000_u16.to_be_bytes())).await?;
        }
        wire.linger(rng, 10).await;
    }
    Some(())
}
