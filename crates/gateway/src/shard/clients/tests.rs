//! How much of one connection is processed in one go, whatever it sends.

use crate::shard::stage::Stage;

/// Sends a shape of input over and over, lets the connection's task run until everything is processed,
/// and says how many messages, or answers, one run brought at the most.
async fn most_in_one_go(scheme: &str, opening: &[u8], shape: &[u8], answer: &str) -> usize {
    let mut stage = Stage::with(1, scheme).await;
    assert_eq!(stage.send(0, opening), opening.len());
    stage.poll(0).await;
    stage.turn();
    stage.received();
    let input = shape.repeat(128 * 1024 / shape.len());
    let sent = stage.send(0, &input) / shape.len();
    let (mut all, mut most) = (0, 0);
    while all < sent {
        let before = stage.shard.host.metrics.messages_in.get();
        stage.poll(0).await;
        // Its turn comes at once, since nobody else waits.
        while stage.shard.connections[stage.keys[0] as usize].is_queued {
            stage.turn();
        }
        stage.turn();
        let done = match answer {
            "" => (stage.shard.host.metrics.messages_in.get() - before) as usize,
            answer => stage.received()[0].matches(answer).count(),
        };
        assert_ne!(done, 0, "nothing was done, {all} of {sent} are");
        most = most.max(done);
        all += done;
    }
    assert_eq!(all, sent, "nothing is lost on the way");
    most
}

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test]
async fn requests_for_pages_are_answered_a_few_at_a_time() {
    let most = most_in_one_go("ws://", b"", b"HEAD /x HTTP/1.1\r\n\r\n", "HTTP/1.1 404").await;
    assert!(most <= 64, "{most}");
}

#[tokio::test]
async fn pings_are_answered_so_many_at_a_time() {
    let ping = [0x89, 0x80, 0, 0, 0, 0];
    let most = most_in_one_go("ws://", UPGRADE, &ping, "\u{fffd}\0").await;
    assert!(most <= 1024, "{most}");
}

#[tokio::test]
async fn small_messages_are_processed_so_many_at_a_time_in_every_framing() {
    let empty = [0x81, 0x80, 0, 0, 0, 0];
    let fragments = [[0x01, 0x80, 0, 0, 0, 0], [0x80, 0x80, 0, 0, 0, 0]].concat();
    for (scheme, opening, shape) in [
        ("ws://", UPGRADE, &empty[..]),
        ("ws://", UPGRADE, &fragments),
        ("text://", b"", b"\n"),
        ("frame://", b"", b"\0\0\0\x04"),
    ] {
        let most = most_in_one_go(scheme, opening, shape, "").await;
        assert!(most <= 1024, "{scheme} {most}");
    }
}
