//! How much of one connection is processed per pass, whatever it sends.

use crate::shard::{
    connections::{Pause, Phase},
    test_shard::TestShard,
};

/// The compressed payload of 70,000 zeros: 85 bytes.
fn bomb() -> Vec<u8> {
    let start = b"\xec\xc1\x31\x01\0\0\0\xc2\xa0\xf5\x4f\x6d\x09\x4f\xa0";
    [&start[..], &[0; 67], b"\x80\xb7\x01"].concat()
}

/// Sends repeated input, polls the connection's task until everything is processed, and returns the
/// maximum number of messages, or responses, per poll.
async fn most_per_poll(scheme: &str, opening: &[u8], shape: &[u8], answer: &str) -> usize {
    let mut test = TestShard::with(1, scheme).await;
    assert_eq!(test.send(0, opening), opening.len());
    test.poll(0).await;
    test.run_once();
    test.received();
    let input = shape.repeat(128 * 1024 / shape.len());
    let sent = test.send(0, &input) / shape.len();
    let (mut all, mut most) = (0, 0);
    while all < sent {
        let before = test.shard.gateway.metrics.messages_in.get();
        test.poll(0).await;
        // The fair queue resumes it immediately, since it is the only connection.
        let queued = |test: &TestShard| {
            let gate = test.shard.connections[test.keys[0]].gate;
            gate.is_paused_for(Pause::QuantumSpent)
        };
        while queued(&test) {
            test.run_once();
        }
        test.run_once();
        let done = match answer {
            "" => (test.shard.gateway.metrics.messages_in.get() - before) as usize,
            answer => test.received()[0].matches(answer).count(),
        };
        assert_ne!(done, 0, "no progress after {all} of {sent}");
        most = most.max(done);
        all += done;
    }
    assert_eq!(all, sent, "nothing is lost");
    most
}

/// A message of this many bytes, with its prefix.
fn message(size: usize) -> Vec<u8> {
    let mut message = vec![0; size];
    message[..4].copy_from_slice(&(size as u32).to_be_bytes());
    message
}

#[tokio::test]
async fn turn_of_a_client_that_sends_large_messages_ends_with_the_first_of_them() {
    const READ: usize = 64 * 1024;
    let mut test = TestShard::with(2, "frame://").await;
    let is_queued = |test: &TestShard, client: usize| {
        test.shard.connections[test.keys[client]].gate.is_paused_for(Pause::QuantumSpent)
    };
    // The first read ends within a large message, and so does each that completes one.
    let mut input = message(READ / 2);
    for _ in 0..4 {
        input.extend(message(READ));
    }
    let sent = test.send(0, &input);
    test.poll(0).await;
    assert!(is_queued(&test, 0), "the first read");
    // Larger than one read, so that this client joins the queue.
    let other = message(2 * READ);
    test.send(1, &other[..READ + 1]);
    test.poll(1).await;
    assert!(is_queued(&test, 1));
    test.run_once();
    assert!(!is_queued(&test, 0));
    let sent = sent + test.send(0, &input[sent..]);
    assert!(2 * READ < sent, "{sent}");
    test.poll(0).await;
    assert!(is_queued(&test, 0), "the message is complete");
    assert_eq!(test.shard.tally.messages_in, 1);
    test.run_once();
    assert!(is_queued(&test, 0) && !is_queued(&test, 1), "it is the other client's turn");
}

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test]
async fn page_requests_are_limited_per_poll() {
    let most = most_per_poll("ws://", b"", b"HEAD /x HTTP/1.1\r\n\r\n", "HTTP/1.1 404").await;
    assert!(most <= 64, "{most}");
}

#[tokio::test]
async fn pings_are_limited_per_poll() {
    let ping = [0x89, 0x80, 0, 0, 0, 0];
    let most = most_per_poll("ws://", UPGRADE, &ping, "\u{fffd}\0").await;
    assert!(most <= 1024, "{most}");
}

#[tokio::test]
async fn small_messages_are_limited_per_poll_in_every_framing() {
    let empty = [0x81, 0x80, 0, 0, 0, 0];
    let fragments = [[0x01, 0x80, 0, 0, 0, 0], [0x80, 0x80, 0, 0, 0, 0]].concat();
    for (scheme, opening, shape) in [
        ("ws://", UPGRADE, &empty[..]),
        ("ws://", UPGRADE, &fragments),
        ("text://", b"", b"\n"),
        ("frame://", b"", b"\0\0\0\x04"),
    ] {
        let most = most_per_poll(scheme, opening, shape, "").await;
        assert!(most <= 1024, "{scheme} {most}");
    }
}

/// A client that has sent five compressed messages of 70,000 bytes.
async fn with_bombs(flags: &[&str]) -> TestShard {
    let upgrade = std::str::from_utf8(UPGRADE)
        .unwrap()
        .replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    let bomb = [&[0xc2, 0x80 | 85, 0, 0, 0, 0], &bomb()[..]].concat();
    let flags = [&["--compression=fan-out"], flags].concat();
    let mut test = TestShard::with_flags(1, "ws://", &flags).await;
    test.send(0, upgrade.as_bytes());
    test.poll(0).await;
    test.run_once();
    test.send(0, &bomb.repeat(5));
    test
}

#[tokio::test]
async fn decompressed_bytes_count_for_the_byte_rate() {
    let mut test = with_bombs(&["--max-bytes-per-second=1000", "--byte-burst=100000"]).await;
    for processed in [1, 2, 2] {
        test.poll(0).await;
        test.run_once();
        assert_eq!(test.shard.gateway.metrics.messages_in.get(), processed);
    }
    assert!(test.shard.connections[test.keys[0]].gate.is_paused_for(Pause::RateLimit));
}

#[tokio::test]
async fn decompressed_bytes_end_a_poll_as_received_bytes_do() {
    let mut test = with_bombs(&[]).await;
    for processed in 1..=5 {
        test.poll(0).await;
        test.run_once();
        assert_eq!(test.shard.gateway.metrics.messages_in.get(), processed, "one per poll");
    }
    let metrics = &test.shard.gateway.metrics;
    assert_eq!((metrics.deflated_in.get(), metrics.deflated_in_wire.get()), (350_000, 425));
}

#[tokio::test]
async fn bytes_behind_a_handshake_count_and_more_than_the_burst_at_once_exceeds_it() {
    let flags = [
        "--max-message-size=100",
        "--max-bytes-per-second=1",
        "--byte-burst=1124",
        "--rate-policy=disconnect",
    ];
    let upgrade = std::str::from_utf8(UPGRADE).unwrap();
    let upgrade = upgrade.replace("\r\n\r\n", &format!("\r\nX-A: {}\r\n\r\n", "a".repeat(2000)));
    let message = [&[0x82, 0x80 | 100, 0, 0, 0, 0][..], &[0; 100]].concat();
    for (messages, is_open) in [(10, true), (11, false)] {
        let mut test = TestShard::with_flags(1, "ws://", &flags).await;
        test.send(0, upgrade.as_bytes());
        test.poll(0).await;
        test.run_once();
        assert!(matches!(test.shard.connections[test.keys[0]].phase, Phase::Open(_)));
        test.send(0, &message.repeat(messages));
        test.poll(0).await;
        let phase = &test.shard.connections[test.keys[0]].phase;
        assert_eq!(matches!(phase, Phase::Open(_)), is_open, "{messages} messages");
    }
}
