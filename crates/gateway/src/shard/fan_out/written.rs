//! Which clients are written to when, if a message is for many.

use protocol::{Command, Message, Recipients};

use super::*;
use crate::shard::stage::Stage;

fn count(stage: &mut Stage) -> usize {
    stage.received().iter().filter(|heard| !heard.is_empty()).count()
}

fn to_all(text: &str) -> Command {
    Command::SendToAll { to: Recipients::All, message: Message::text(text) }
}

#[tokio::test]
async fn a_message_for_many_is_written_to_a_few_at_a_time() {
    let mut stage = Stage::with(SLICE * 2 + 1, "tcp://").await;
    stage.command([to_all("news")]);
    for (more, written) in [(true, SLICE), (true, SLICE), (false, 1), (false, 0)] {
        assert_eq!(stage.turn(), more);
        assert_eq!(count(&mut stage), written);
    }
}

#[tokio::test]
async fn who_is_spoken_to_alone_does_not_wait_for_many() {
    let mut stage = Stage::with(SLICE * 3, "tcp://").await;
    let alone = Command::SendToClient { to: stage.last(), message: Message::text("alone") };
    stage.command([to_all("first"), alone, to_all("second")]);
    assert!(stage.turn());
    let heard = stage.received();
    assert_eq!(heard.last().unwrap(), "firstalonesecond", "in the order in which it was sent");
    assert_eq!(heard.iter().filter(|heard| !heard.is_empty()).count(), SLICE + 1);
    while stage.turn() {}
    let heard = stage.received();
    assert_eq!(heard.iter().filter(|heard| *heard == "firstsecond").count(), SLICE * 2 - 1);
}

#[tokio::test]
async fn a_message_for_few_is_written_to_all_of_them() {
    let mut stage = Stage::with(SLICE, "tcp://").await;
    stage.command([to_all("news")]);
    assert!(!stage.turn());
    assert_eq!(count(&mut stage), SLICE);
}

#[tokio::test]
async fn heartbeat_looks_at_every_client_and_writes_to_a_few_at_a_time() {
    let flags = ["--ping-interval=1", "--ping-data=p", "--ping-not-response-limit=9"];
    let mut stage = Stage::with_flags(SLICE * 3 + 1, "tcp://", &flags).await;
    // One that is gone leaves its place.
    stage.command([Command::Destroy { client: stage.last() }]);
    stage.turn();
    for tick in 0..8 {
        stage.shard.beat();
        let mut written = Vec::new();
        loop {
            let more = stage.turn();
            written.push(count(&mut stage));
            if !more {
                break;
            }
        }
        let pings = if tick != 0 && tick % 2 == 0 { SLICE * 3 } else { 0 };
        assert_eq!(written.iter().sum::<usize>(), pings, "tick {tick}: {written:?}");
        assert!(written.iter().all(|written| *written <= SLICE), "tick {tick}: {written:?}");
    }
}
