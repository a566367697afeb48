//! What the shards run on. Every value has been checked.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    framing::Framing,
    http::Site,
    shard::{Heartbeat, Router},
};

/// What the shards run on.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The largest message of a client, in bytes.
    pub(crate) max_message_size: usize,
    /// How many bytes may be queued for a client before it counts as slow.
    pub(crate) send_buffer: usize,
    /// What becomes of a slow client.
    pub(crate) slow_client: SlowClient,
    /// How a client is given a worker.
    pub(crate) router: Router,
    /// Which origins may connect; any if empty.
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) heartbeat: Option<Heartbeat>,
    /// How long a request may take to come.
    pub(crate) handshake_timeout: Duration,
    /// How long a client's events may wait for a worker.
    pub(crate) no_worker_timeout: Option<Duration>,
    /// How long a native peer may be silent, though it is asked.
    pub(crate) peer_timeout: Duration,
    /// How many bytes of events a shard gives a worker before it must be done with some; also how
    /// many it holds while there is no worker.
    pub(crate) worker_window: usize,
    /// How many bytes clients may make a shard hold; any if `None`.
    pub(crate) memory: Option<usize>,
    /// How many connections may await a request, over all shards.
    pub(crate) max_requests: usize,
    /// How many connections there may be, over all shards; any if `None`.
    pub(crate) max_connections: Option<usize>,
    /// What a browser gets that asks for no WebSocket; nothing if `None`.
    pub(crate) site: Option<Arc<Site>>,
}

/// What becomes of a client that does not read what it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SlowClient {
    /// It is disconnected: a gap that it cannot see is worse than a reconnect.
    #[default]
    Disconnect,
    /// What does not fit is dropped, as `GatewayWorker` does.
    Drop,
}

/// One listener for clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// What is spoken there.
    pub(crate) framing: Framing,
}
