//! Queries of registers, over a connection of their own.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::join_all;
use protocol::{
    codec::json_lines::Lines,
    discovery::{AboutRegister, FromRegister, ToRegister, WorkerConnect},
};
use runtime::dial;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{Cluster, inspect::RegisterReport};

/// The longest line that is read: a list of about five thousand gateways.
const MAX_LINE: usize = 1024 * 1024;

/// Registers.
impl Cluster {
    /// Asks each register of the configuration for its version, its uptime, and its certificates,
    /// over a new connection, for at most `time`.
    pub async fn registers(&self, time: Duration) -> Vec<RegisterReport> {
        let addresses = self.shared.register_addresses();
        let asked = addresses.into_iter().map(async |address| {
            let about = match timeout(time, self.ask_register(&address)).await {
                Ok(Ok(about)) => Ok(about),
                Ok(Err(reason)) => Err(reason),
                Err(_) => Err("no answer in time".to_owned()),
            };
            RegisterReport { address, about }
        });
        join_all(asked).await
    }

    /// `None` from a register that does not support it.
    async fn ask_register(&self, address: &str) -> Result<Option<AboutRegister>, String> {
        let identity = &self.shared.identity;
        let connected = dial::connect(address, identity.tls.as_ref()).await;
        let mut stream = connected.map_err(|error| format!("cannot connect: {error}"))?;
        let mut out = BytesMut::new();
        let secret_key = Some(identity.secret.clone());
        let request = WorkerConnect { secret_key, about: true, ..WorkerConnect::default() };
        ToRegister::WorkerConnect(request).encode(&mut out);
        let lost = |error: std::io::Error| format!("connection lost: {error}");
        stream.write_all(&out).await.map_err(lost)?;
        let (mut lines, mut read) = (Lines::new(MAX_LINE), BytesMut::new());
        loop {
            if let Some(line) = lines.next(&mut read).map_err(|error| error.to_string())? {
                if let Some(about) = AboutRegister::parse(&line) {
                    return Ok(Some(about));
                }
                // The list comes after what was asked for.
                FromRegister::parse(&line).map_err(|error| error.to_string())?;
                return Ok(None);
            }
            if stream.read_buf(&mut read).await.map_err(lost)? == 0 {
                return Err("closed by the register; the secret keys may differ".to_owned());
            }
        }
    }
}
