//! Lifecycle events of several gateways.

use std::net::{IpAddr, SocketAddr};

use protocol::{
    ClientId, Uid,
    inspect::{History as OnGateway, LifecycleEvent, LifecycleKind},
};

use crate::Error;

/// Selects lifecycle events: those that match all of its criteria. Of these, the last ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryFilter {
    /// Those of this client.
    pub client: Option<ClientId>,
    /// Those of the gateway with this inner address.
    pub gateway: Option<SocketAddr>,
    /// Those of clients that are or were bound to this uid.
    pub uid: Option<Uid>,
    /// Those of clients, and refused connections, from this address.
    pub ip: Option<IpAddr>,
    /// Those from this time on, in milliseconds since the Unix epoch, by the clock of each gateway.
    pub since: u64,
    /// Most events, at most 10,000.
    pub limit: u32,
}

impl Default for HistoryFilter {
    /// The last 1,000 events of all gateways.
    fn default() -> Self {
        Self { client: None, gateway: None, uid: None, ip: None, since: 0, limit: 1000 }
    }
}

impl HistoryFilter {
    /// Its criteria on one gateway; `None` if no event there can match.
    pub(crate) fn on(&self, gateway: SocketAddr) -> Option<OnGateway> {
        let client = self.client.map(|client| client.gateway);
        if client.or(Some(gateway)) != Some(gateway)
            || self.gateway.or(Some(gateway)) != Some(gateway)
        {
            return None;
        }
        Some(OnGateway {
            client: self.client.map(|client| client.connection),
            uid: self.uid.clone(),
            ip: self.ip,
            since: self.since,
            after: 0,
            limit: self.limit,
        })
    }
}

/// A lifecycle event of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryEvent {
    /// The inner address of the gateway.
    pub gateway: SocketAddr,
    /// Its number: later events of the same gateway have higher ones, until that is restarted.
    pub number: u64,
    /// When it happened, in milliseconds since the Unix epoch, by the gateway's clock.
    pub at: u64,
    /// The client, unless it concerns none.
    pub client: Option<ClientId>,
    /// Its kind, with the facts.
    pub kind: LifecycleKind,
}

impl HistoryEvent {
    fn new(gateway: SocketAddr, event: LifecycleEvent) -> Self {
        let LifecycleEvent { number, at, client, kind } = event;
        let client = client.map(|client| ClientId::new(gateway, client));
        Self { gateway, number, at, client, kind }
    }
}

/// Lifecycle events, oldest first.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ClusterHistory {
    /// The events, by the clocks of their gateways: events of two gateways may be in another order
    /// by as much as their clocks differ.
    pub events: Vec<HistoryEvent>,
    /// Gateways that were to be asked and have not answered, each with the reason. Their events are
    /// missing.
    pub unanswered: Vec<(String, Error)>,
}

impl ClusterHistory {
    /// Adds the events of a gateway, or why there are none.
    pub(crate) fn add(&mut self, gateway: SocketAddr, answer: Result<Vec<LifecycleEvent>, Error>) {
        match answer {
            Ok(events) => {
                self.events.extend(events.into_iter().map(|it| HistoryEvent::new(gateway, it)));
            }
            Err(error) => self.unanswered.push((gateway.to_string(), error)),
        }
    }

    /// Orders the events, and keeps the last `limit`.
    pub(crate) fn finish(&mut self, limit: u32) {
        self.events.sort_by_key(|event| (event.at, event.gateway, event.number));
        self.events.drain(..self.events.len().saturating_sub(limit as usize));
    }
}
