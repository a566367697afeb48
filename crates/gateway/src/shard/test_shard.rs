//! A shard with sockets, for tests.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use prometheus_client::registry::Registry;
use protocol::{Command, ConnectionId, InstanceId};
use runtime::net;

use super::{Accepted, Shard, slot::SlotKey};
use crate::{
    config::{Args, Config},
    descriptors::Descriptors,
    metrics::Metrics,
    placement::ShardLoads,
    register_outages::RegisterOutages,
    thread_messages::{GatewayState, LinkId, ToShard},
};

/// A shard, and the clients of its connections in order of arrival.
pub(super) struct TestShard {
    pub(super) shard: Shard,
    pub(super) clients: Vec<TcpStream>,
    pub(super) keys: Vec<SlotKey>,
}

impl TestShard {
    /// Clients of a listener like `tcp://`.
    pub(super) async fn with(clients: usize, scheme: &str) -> Self {
        Self::with_flags(clients, scheme, &[]).await
    }

    /// The same, with more flags.
    pub(super) async fn with_flags(clients: usize, scheme: &str, flags: &[&str]) -> Self {
        let listen = format!("--listen={scheme}127.0.0.1:0");
        let flags = [&["gateway", &listen], flags].concat();
        let args = service::settings::load_from::<Args>(flags, |_| None).unwrap().args;
        let config = Config::try_from(args).unwrap();
        let gateway = GatewayState::new(
            config.lan_address,
            InstanceId::from_random(7),
            ShardLoads::new(1, 1),
            Metrics::register(&mut Registry::default()),
            RegisterOutages::new(Duration::from_secs(30)),
            Descriptors::share_out(None, 1, 1),
        );
        let shard =
            Shard::new(0, Arc::new(gateway), Arc::new(config.settings), config.listeners, 7);
        let mut test = Self { shard, clients: Vec::new(), keys: Vec::new() };
        let listener = net::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = net::polled(listener).unwrap();
        for _ in 0..clients {
            let client = TcpStream::connect(address).unwrap();
            client.set_nonblocking(true).unwrap();
            test.clients.push(client);
            let (stream, remote) = listener.accept().await.unwrap();
            stream.writable().await.unwrap();
            test.keys.push(test.shard.accept(Accepted { stream, remote, listener: 0 }).unwrap());
        }
        test
    }

    /// The id of the last client.
    pub(super) fn last(&self) -> ConnectionId {
        let key = *self.keys.last().unwrap();
        self.shard.connections[key].id.unwrap()
    }

    /// Sends the shard commands, as the hub does.
    pub(super) fn command(&mut self, commands: impl IntoIterator<Item = Command>) {
        for command in commands {
            let ordinal = self.shard.gateway.ordinal_of(&command);
            let mut messages = vec![ToShard::Command { from: LinkId(1), ordinal, command }];
            self.shard.gateway.clone().send_to_shard(0, &mut messages);
        }
    }

    /// Runs one pass. Returns whether there is more to do.
    pub(super) fn run_once(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        self.shard.run_once(cx, &mut Vec::new(), &mut Vec::new())
    }

    /// Polls the task of a connection once, when its socket is known to be readable.
    pub(super) async fn poll(&mut self, client: usize) {
        // The runtime updates readiness between two polls.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let cx = &mut Context::from_waker(Waker::noop());
        let _ = self.shard.poll(self.keys[client], cx);
    }

    /// Sends as many of these bytes from a client as the sockets accept.
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

    /// The messages that each client has received since the last call.
    #[expect(clippy::disallowed_methods, reason = "the kernel is waited for, in real time")]
    pub(super) fn received(&mut self) -> Vec<String> {
        let mut all = vec![Vec::new(); self.clients.len()];
        let mut passes_without = 0;
        // Loopback delivers what is sent at once, but for a busy machine, which may do so later.
        while passes_without < 3 {
            let reads = self.clients.iter().zip(&mut all);
            let length: usize = reads.map(|(client, all)| read(client, all)).sum();
            passes_without = if length == 0 { passes_without + 1 } else { 0 };
            std::thread::sleep(Duration::from_millis(1));
        }
        all.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }
}

/// Reads everything that has arrived, and returns its length.
fn read(mut client: &TcpStream, all: &mut Vec<u8>) -> usize {
    let mut bytes = [0; 1024];
    let before = all.len();
    loop {
        match client.read(&mut bytes) {
            Ok(0) => break,
            Ok(length) => all.extend_from_slice(&bytes[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    all.len() - before
}
