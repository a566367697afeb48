//! When clients are written to, if a message has many recipients.

use protocol::{Command, Message, Recipients};

use super::*;
use crate::shard::test_shard::TestShard;

fn count(test: &mut TestShard) -> usize {
    test.received().iter().filter(|text| !text.is_empty()).count()
}

fn to_all(text: &str) -> Command {
    Command::SendToAll { to: Recipients::All, message: Message::text(text) }
}

#[tokio::test]
async fn fan_out_is_written_to_a_few_clients_per_pass() {
    let mut test = TestShard::with(SLICE * 2 + 1, "tcp://").await;
    test.command([to_all("news")]);
    for (more, written) in [(true, SLICE), (true, SLICE), (false, 1), (false, 0)] {
        assert_eq!(test.run_once(), more);
        assert_eq!(count(&mut test), written);
    }
}

#[tokio::test]
async fn message_for_one_client_does_not_wait_for_a_fan_out() {
    let mut test = TestShard::with(SLICE * 3, "tcp://").await;
    let alone = Command::SendToClient { to: test.last(), message: Message::text("alone") };
    test.command([to_all("first"), alone, to_all("second")]);
    assert!(test.run_once());
    let received = test.received();
    assert_eq!(received.last().unwrap(), "firstalonesecond", "in the order in which it was sent");
    assert_eq!(received.iter().filter(|text| !text.is_empty()).count(), SLICE + 1);
    while test.run_once() {}
    let received = test.received();
    assert_eq!(received.iter().filter(|text| *text == "firstsecond").count(), SLICE * 2 - 1);
}

#[tokio::test]
async fn message_for_few_is_written_to_all_of_them() {
    let mut test = TestShard::with(SLICE, "tcp://").await;
    test.command([to_all("news")]);
    assert!(!test.run_once());
    assert_eq!(count(&mut test), SLICE);
}

#[tokio::test]
async fn heartbeat_checks_every_client_and_writes_to_a_few_per_pass() {
    let flags = ["--ping-interval=1", "--ping-data=p", "--ping-not-response-limit=9"];
    let mut test = TestShard::with_flags(SLICE * 3 + 1, "tcp://", &flags).await;
    // A disconnected client leaves a free slot.
    test.command([Command::Destroy { client: test.last() }]);
    test.run_once();
    for tick in 0..8 {
        test.shard.send_heartbeats();
        let mut written = Vec::new();
        loop {
            let more = test.run_once();
            written.push(count(&mut test));
            if !more {
                break;
            }
        }
        let pings = if tick != 0 && tick % 2 == 0 { SLICE * 3 } else { 0 };
        assert_eq!(written.iter().sum::<usize>(), pings, "tick {tick}: {written:?}");
        assert!(written.iter().all(|written| *written <= SLICE), "tick {tick}: {written:?}");
    }
}
