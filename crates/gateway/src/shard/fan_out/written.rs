//! A shard with sockets: who is written to when, if a message is for many.

use std::{
    io::{ErrorKind, Read},
    net::TcpStream,
    sync::Arc,
    task::Waker,
    time::Duration,
};

use prometheus_client::registry::Registry;
use protocol::{Command, ConnectionId, Instance, Message, Recipients};
use service::net;

use super::*;
use crate::{
    config::{Args, Config},
    exchange::{Host, LinkId, ToShard},
    metrics::Metrics,
    placement::Places,
    shard::{Arrival, Shard},
    sight::Sight,
};

/// A shard, and the other ends of its clients' connections in the order in which they came.
struct Stage {
    shard: Shard,
    clients: Vec<TcpStream>,
    /// The client that came last.
    last: ConnectionId,
}

impl Stage {
    async fn with(clients: usize) -> Self {
        Self::with_flags(clients, &[]).await
    }

    async fn with_flags(clients: usize, flags: &[&'static str]) -> Self {
        let flags = [&["gateway", "--listen=tcp://127.0.0.1:0"], flags].concat();
        let args = service::settings::load_from::<Args>(flags, |_| None).unwrap().args;
        let config = Config::try_from(args).unwrap();
        let host = Host::new(
            config.lan_address,
            Instance::from_dice(7),
            Places::new(1, 1),
            Metrics::register(&mut Registry::default()),
            Sight::new(Duration::from_secs(30)),
        );
        let mut shard = Shard::new(0, Arc::new(host), Arc::new(config.settings), config.doors, 7);
        let door = net::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = door.local_addr().unwrap();
        let door = net::polled(door).unwrap();
        let (mut others, mut last) = (Vec::new(), None);
        for _ in 0..clients {
            let other = TcpStream::connect(address).unwrap();
            other.set_nonblocking(true).unwrap();
            others.push(other);
            let (stream, remote) = door.accept().await.unwrap();
            stream.writable().await.unwrap();
            let key = shard.accept(Arrival { stream, remote, door: 0 }).unwrap();
            last = shard.connections[key as usize].id;
        }
        Self { shard, clients: others, last: last.unwrap() }
    }

    fn is_told(&mut self, commands: impl IntoIterator<Item = Command>) {
        for command in commands {
            let ordinal = self.shard.host.ordinal();
            let mut told = vec![ToShard::Command { from: LinkId(1), ordinal, command }];
            self.shard.host.clone().tell(0, &mut told);
        }
    }

    /// Whether it wants another turn.
    fn turn(&mut self) -> bool {
        let cx = &mut std::task::Context::from_waker(Waker::noop());
        self.shard.turn(cx, &mut Vec::new(), &mut Vec::new())
    }

    /// What each client has got since this was last asked. The loopback interface brings it at once.
    fn heard(&mut self) -> Vec<String> {
        let read = |mut client: &TcpStream| {
            let mut bytes = [0; 1024];
            match client.read(&mut bytes) {
                Ok(length) => String::from_utf8_lossy(&bytes[..length]).into_owned(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => String::new(),
                Err(error) => panic!("{error}"),
            }
        };
        self.clients.iter().map(read).collect()
    }

    fn count(&mut self) -> usize {
        self.heard().iter().filter(|heard| !heard.is_empty()).count()
    }
}

fn to_all(text: &str) -> Command {
    Command::SendToAll { to: Recipients::All, message: Message::text(text) }
}

#[tokio::test]
async fn a_message_for_many_is_written_to_a_few_at_a_time() {
    let mut stage = Stage::with(SLICE * 2 + 1).await;
    stage.is_told([to_all("news")]);
    for (more, written) in [(true, SLICE), (true, SLICE), (false, 1), (false, 0)] {
        assert_eq!(stage.turn(), more);
        assert_eq!(stage.count(), written);
    }
}

#[tokio::test]
async fn who_is_spoken_to_alone_does_not_wait_for_many() {
    let mut stage = Stage::with(SLICE * 3).await;
    let alone = Command::SendToClient { to: stage.last, message: Message::text("alone") };
    stage.is_told([to_all("first"), alone, to_all("second")]);
    assert!(stage.turn());
    let heard = stage.heard();
    assert_eq!(heard.last().unwrap(), "firstalonesecond", "in the order in which it was sent");
    assert_eq!(heard.iter().filter(|heard| !heard.is_empty()).count(), SLICE + 1);
    while stage.turn() {}
    let heard = stage.heard();
    assert_eq!(heard.iter().filter(|heard| *heard == "firstsecond").count(), SLICE * 2 - 1);
}

#[tokio::test]
async fn a_message_for_few_is_written_to_all_of_them() {
    let mut stage = Stage::with(SLICE).await;
    stage.is_told([to_all("news")]);
    assert!(!stage.turn());
    assert_eq!(stage.count(), SLICE);
}

#[tokio::test]
async fn heartbeat_looks_at_every_client_and_writes_to_a_few_at_a_time() {
    let flags = ["--ping-interval=1", "--ping-data=p", "--ping-not-response-limit=9"];
    let mut stage = Stage::with_flags(SLICE * 3 + 1, &flags).await;
    // One that is gone leaves its place.
    stage.is_told([Command::Destroy { client: stage.last }]);
    stage.turn();
    for tick in 0..8 {
        stage.shard.beat();
        let mut written = Vec::new();
        loop {
            let more = stage.turn();
            written.push(stage.count());
            if !more {
                break;
            }
        }
        let pings = if tick != 0 && tick % 2 == 0 { SLICE * 3 } else { 0 };
        assert_eq!(written.iter().sum::<usize>(), pings, "tick {tick}: {written:?}");
        assert!(written.iter().all(|written| *written <= SLICE), "tick {tick}: {written:?}");
    }
}
