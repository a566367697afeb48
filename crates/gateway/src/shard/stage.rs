//! A shard with sockets, for tests.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use prometheus_client::registry::Registry;
use protocol::{Command, ConnectionId, Instance};
use service::net;

use super::{Arrival, Shard, connection::Key};
use crate::{
    config::{Args, Config},
    descriptors::Descriptors,
    exchange::{Host, LinkId, ToShard},
    metrics::Metrics,
    placement::Places,
    sight::Sight,
};

/// A shard, and the other ends of its clients' connections in the order in which they came.
pub(super) struct Stage {
    pub(super) shard: Shard,
    pub(super) clients: Vec<TcpStream>,
    pub(super) keys: Vec<Key>,
}

impl Stage {
    /// Clients of a listener like `tcp://`.
    pub(super) async fn with(clients: usize, scheme: &str) -> Self {
        Self::with_flags(clients, scheme, &[]).await
    }

    /// The same, of a gateway with more flags.
    pub(super) async fn with_flags(clients: usize, scheme: &str, flags: &[&str]) -> Self {
        let listen = format!("--listen={scheme}127.0.0.1:0");
        let flags = [&["gateway", &listen], flags].concat();
        let args = service::settings::load_from::<Args>(flags, |_| None).unwrap().args;
        let config = Config::try_from(args).unwrap();
        let host = Host::new(
            config.lan_address,
            Instance::from_dice(7),
            Places::new(1, 1),
            Metrics::register(&mut Registry::default()),
            Sight::new(Duration::from_secs(30)),
            Descriptors::share_out(None, 1, 1),
        );
        let shard = Shard::new(0, Arc::new(host), Arc::new(config.settings), config.doors, 7);
        let mut stage = Self { shard, clients: Vec::new(), keys: Vec::new() };
        let listener = net::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = net::polled(listener).unwrap();
        for _ in 0..clients {
            let client = TcpStream::connect(address).unwrap();
            client.set_nonblocking(true).unwrap();
            stage.clients.push(client);
            let (stream, remote) = listener.accept().await.unwrap();
            stream.writable().await.unwrap();
            stage.keys.push(stage.shard.accept(Arrival { stream, remote, door: 0 }).unwrap());
        }
        stage
    }

    /// The id of the client that came last.
    pub(super) fn last(&self) -> ConnectionId {
        let key = *self.keys.last().unwrap();
        self.shard.connections[key as usize].id.unwrap()
    }

    /// Hands the shard commands, as the hub does.
    pub(super) fn command(&mut self, commands: impl IntoIterator<Item = Command>) {
        for command in commands {
            let ordinal = self.shard.host.ordinal();
            let mut told = vec![ToShard::Command { from: LinkId(1), ordinal, command }];
            self.shard.host.clone().tell(0, &mut told);
        }
    }

    /// Runs the shard once. Whether it wants to be run again.
    pub(super) fn turn(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        self.shard.turn(cx, &mut Vec::new(), &mut Vec::new())
    }

    /// Lets the task of a connection run once, when its socket is known to be readable.
    pub(super) async fn poll(&mut self, client: usize) {
        // The runtime learns of readiness between two polls.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let cx = &mut Context::from_waker(Waker::noop());
        let _ = self.shard.poll(self.keys[client], cx);
    }

    /// Has a client send so much of these bytes as the sockets take.
    pub(super) fn send(&mut self, client: usize, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.clients[client].write(&bytes[sent..]) {
                Ok(length) => sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        sent
    }

    /// What each client has received since this was last asked. Loopback brings it at once.
    pub(super) fn received(&mut self) -> Vec<String> {
        let read = |mut client: &TcpStream| {
            let mut all = Vec::new();
            let mut bytes = [0; 1024];
            loop {
                match client.read(&mut bytes) {
                    Ok(0) => break,
                    Ok(length) => all.extend_from_slice(&bytes[..length]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
            String::from_utf8_lossy(&all).into_owned()
        };
        self.clients.iter().map(read).collect()
    }
}
