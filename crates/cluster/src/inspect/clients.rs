//! Clients and their details, a page at a time.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use protocol::{
    ClientId, Group, Uid,
    inspect::{ClientDetails, ClientFilter as OnGateway},
};
use thiserror::Error;

use crate::{Error, targets};

/// Selects clients: those that match all of its criteria. Without any, every client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilter {
    /// It is one of these.
    pub clients: Option<Vec<ClientId>>,
    /// It is connected to the gateway with this inner address.
    pub gateway: Option<SocketAddr>,
    /// It is bound to this uid.
    pub uid: Option<Uid>,
    /// It is in this group.
    pub group: Option<Group>,
    /// It connects from this address, of any port.
    pub ip: Option<IpAddr>,
    /// It is assigned to this worker: `ip:name:id`, or `name:id` on any host.
    pub worker: Option<String>,
    /// At least so many bytes are queued for it: it is a slow client.
    pub queued: Option<u64>,
    /// Its socket is not read, for any reason.
    pub paused: bool,
}

impl ClientFilter {
    /// Its criteria on one gateway; `None` if no client there can match.
    pub(crate) fn on(&self, gateway: SocketAddr) -> Option<OnGateway> {
        let clients = self.clients.as_ref().map(|clients| targets::on(gateway, clients));
        if self.gateway.is_some_and(|wanted| wanted != gateway)
            || clients.as_ref().is_some_and(Vec::is_empty)
        {
            return None;
        }
        Some(OnGateway {
            clients,
            uid: self.uid.clone(),
            group: self.group.clone(),
            ip: self.ip,
            worker: self.worker.clone(),
            queued: self.queued,
            paused: self.paused,
        })
    }
}

/// A client, and what its gateway knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InspectedClient {
    /// The client.
    pub client: ClientId,
    /// Its details.
    pub details: ClientDetails,
}

impl InspectedClient {
    pub(crate) fn new(gateway: SocketAddr, details: ClientDetails) -> Self {
        Self { client: ClientId::new(gateway, details.client), details }
    }
}

/// A page of clients, and where the next one begins.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ClientPage {
    /// The clients: by the inner address of their gateway, then in the order in which they have
    /// connected.
    pub clients: Vec<InspectedClient>,
    /// Gateways that were to be asked and have not answered, each with the reason. Their clients
    /// are missing. A gateway that is not linked is listed with the first page.
    pub unanswered: Vec<(String, Error)>,
    /// The start of the next page; `None` if this is the last one.
    pub next: Option<PageStart>,
}

/// Where a page of clients begins. As text, `10.0.0.1:2900/17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageStart {
    /// The first gateway of the page.
    pub(crate) gateway: SocketAddr,
    /// Its clients behind this one in the order in which they have connected.
    pub(crate) after: u64,
}

impl fmt::Display for PageStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.gateway, self.after)
    }
}

/// Not the start of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not the start of a page, such as 10.0.0.1:2900/17")]
pub struct InvalidPageStart;

impl FromStr for PageStart {
    type Err = InvalidPageStart;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (gateway, after) = text.rsplit_once('/').ok_or(InvalidPageStart)?;
        let gateway = gateway.parse().map_err(|_| InvalidPageStart)?;
        Ok(Self { gateway, after: after.parse().map_err(|_| InvalidPageStart)? })
    }
}
