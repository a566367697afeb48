//! The peers that registers refuse: each query is a connection of its own.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::join_all;
use protocol::{
    codec::json_lines::Lines,
    discovery::{RefusedPeer, RefusedPeers, ToRegister},
};
use runtime::dial;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{Cluster, inspect::RegisterRefusals};

/// Time for the query of a register, from the connection to the answer.
const LIMIT: Duration = Duration::from_secs(2);

/// The longest answer, in bytes: with the most refused peers.
const MAX_LINE: usize = 256 * 1024;

impl Cluster {
    /// The peers that each register has refused lately, in the order of the settings: a gateway or
    /// worker with another secret or without TLS, or a gateway whose inner address is taken. A
    /// register that does not answer within two seconds is listed without any:
    /// [`status`](Self::status) and the errors of queries tell whether registers are connected, and
    /// why not.
    pub async fn refusals(&self) -> Vec<RegisterRefusals> {
        let addresses = self.shared.register_addresses();
        let asked = addresses.into_iter().map(async |address| {
            let peers = timeout(LIMIT, self.refused_by(&address)).await;
            RegisterRefusals::new(address, peers.ok().flatten())
        });
        join_all(asked).await
    }

    async fn refused_by(&self, address: &str) -> Option<Vec<RefusedPeer>> {
        let identity = &self.shared.identity;
        let mut stream = dial::connect(address, identity.tls.as_ref()).await.ok()?;
        let mut request = BytesMut::new();
        ToRegister::RefusedPeers { secret_key: Some(identity.secret.clone()) }.encode(&mut request);
        stream.write_all(&request).await.ok()?;
        let (mut lines, mut read) = (Lines::new(MAX_LINE), BytesMut::new());
        loop {
            if let Some(line) = lines.next(&mut read).ok()? {
                return RefusedPeers::parse(&line).ok().map(|peers| peers.0);
            }
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        }
    }
}
