//! Requests of operators to one gateway.

use std::{net::SocketAddr, sync::Arc};

use protocol::{Answer, ClientId, ConnectionId, Query, inspect::CertificateStatus};

use crate::{Cluster, Error, link::Link};

/// Requests to the gateway with an inner address, as in [`gateways`](Self::gateways). All fail with
/// [`Error::Unreachable`] if there is no such gateway.
impl Cluster {
    /// Has a gateway drain, as SIGTERM does: it accepts no more clients, closes those that it has
    /// with 1001 within its `--grace`, and exits with 0. Returns the number of its clients. Without
    /// effect on a gateway that drains already.
    ///
    /// A supervisor that restarts processes whatever their exit code starts it again.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn drain(&self, gateway: SocketAddr) -> Result<u64, Error> {
        match self.ask_gateway(gateway, Query::Drain).await? {
            (_, Answer::Count(clients)) => Ok(clients),
            (link, _) => Err(link.mismatch()),
        }
    }

    /// The filter of a gateway's log, as in `--log-level`.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn log_filter(&self, gateway: SocketAddr) -> Result<String, Error> {
        self.change_log_filter(gateway, None).await
    }

    /// Replaces the filter of a gateway's log until it exits, or reads its settings again. Returns
    /// the filter before.
    ///
    /// # Errors
    /// [`Error::LogFilter`] if it is invalid: nothing has changed then. Also those of
    /// [queries](Error#queries).
    pub async fn set_log_filter(
        &self,
        gateway: SocketAddr,
        filter: impl Into<String>,
    ) -> Result<String, Error> {
        self.change_log_filter(gateway, Some(filter.into())).await
    }

    async fn change_log_filter(
        &self,
        gateway: SocketAddr,
        replacement: Option<String>,
    ) -> Result<String, Error> {
        match self.ask_gateway(gateway, Query::LogFilter { replacement }).await? {
            (_, Answer::LogFilter(Ok(filter))) => Ok(filter),
            (_, Answer::LogFilter(Err(reason))) => {
                Err(Error::LogFilter { gateway: gateway.to_string(), reason })
            }
            (link, _) => Err(link.mismatch()),
        }
    }

    /// The effective settings of a gateway as TOML, without secrets, as its `--check` prints them.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn gateway_settings(&self, gateway: SocketAddr) -> Result<String, Error> {
        match self.ask_gateway(gateway, Query::Settings).await? {
            (_, Answer::Settings(settings)) => Ok(settings),
            (link, _) => Err(link.mismatch()),
        }
    }

    /// The certificates that a gateway uses: of its client listeners, and of links to other processes.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn certificates(&self, gateway: SocketAddr) -> Result<Vec<CertificateStatus>, Error> {
        match self.ask_gateway(gateway, Query::Certificates).await? {
            (_, Answer::Certificates(certificates)) => Ok(certificates),
            (link, _) => Err(link.mismatch()),
        }
    }

    async fn ask_gateway(
        &self,
        gateway: SocketAddr,
        query: Query,
    ) -> Result<(Arc<Link>, Answer), Error> {
        // Any client of it.
        let client = ClientId::new(gateway, ConnectionId(1));
        let asked = self.ask(client, query).await?;
        asked.ok_or_else(|| Error::Unreachable { gateway: gateway.to_string() })
    }
}
