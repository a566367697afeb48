//! A push to clients, and the time of each of its steps.

use std::{net::SocketAddr, time::Duration};

use protocol::{
    ClientId,
    inspect::{Traced, TracedFate},
};

use crate::Error;

/// The steps of a push, by gateway. Each time is measured by one clock: those of different hosts are
/// not compared.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ClusterTrace {
    /// The gateways that have answered, ordered by address.
    pub gateways: Vec<GatewayTrace>,
    /// Gateways that were to push and have not answered, each with the reason. They may have pushed.
    pub unanswered: Vec<(String, Error)>,
}

/// The steps of a push in a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewayTrace {
    /// The inner address of the gateway.
    pub gateway: SocketAddr,
    /// From the request of this process until the answer arrived here, without the time that the
    /// gateway has taken for it: both ways through the network and the queues of the link.
    pub network: Duration,
    /// From the arrival of the request at the gateway until it was passed to the threads of its
    /// clients.
    pub dispatch: Duration,
    /// From the arrival of the request at the gateway until its answer: as long as the slowest
    /// client, or the time to wait.
    pub total: Duration,
    /// Clients that the push was for.
    pub matched: u64,
    /// The clients; at most 1,000.
    pub clients: Vec<ClientTrace>,
}

/// The steps of a push to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientTrace {
    /// The client.
    pub client: ClientId,
    /// The number of its thread in the gateway.
    pub thread: u16,
    /// From the dispatch until its thread took the push.
    pub taken: Duration,
    /// From then until it was queued for the client, or dropped.
    pub queued: Duration,
    /// Bytes that were queued for the client before it.
    pub queue_bytes: u64,
    /// The fate of the push; times in microseconds.
    pub fate: TracedFate,
}

impl GatewayTrace {
    /// `round_trip` is the time from the request until the answer.
    pub(crate) fn new(gateway: SocketAddr, round_trip: Duration, traced: Traced) -> Self {
        let Traced { dispatch, total, matched, clients } = traced;
        let total = Duration::from_micros(total);
        let clients = clients.into_iter().map(|it| ClientTrace {
            client: ClientId::new(gateway, it.client),
            thread: it.thread,
            taken: Duration::from_micros(it.taken),
            queued: Duration::from_micros(it.queued),
            queue_bytes: it.queue_bytes,
            fate: it.fate,
        });
        Self {
            gateway,
            // Both clocks may count whole microseconds.
            network: round_trip.saturating_sub(total),
            dispatch: Duration::from_micros(dispatch),
            total,
            matched,
            clients: clients.collect(),
        }
    }
}

impl ClusterTrace {
    /// Adds the answer of a gateway.
    pub(crate) fn add(&mut self, gateway: SocketAddr, answer: Result<GatewayTrace, Error>) {
        match answer {
            Ok(trace) => self.gateways.push(trace),
            Err(error) => self.unanswered.push((gateway.to_string(), error)),
        }
    }
}
