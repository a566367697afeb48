//! Live messages of clients.

use std::{fmt, net::SocketAddr, sync::Arc};

use protocol::{
    ClientId, Group, MessageKind, Uid,
    inspect::{Direction, TailTarget as OnGateway, Tailed},
    link::ToGateway,
};
use tokio::sync::mpsc;

use crate::link::Link;

/// The clients whose messages are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TailTarget {
    /// One client.
    Client(ClientId),
    /// The clients that are bound to a uid when the message passes.
    Uid(Uid),
    /// The clients that are in a group when the message passes.
    Group(Group),
}

impl TailTarget {
    /// The target on one gateway; `None` if it has none there.
    pub(crate) fn on(&self, gateway: SocketAddr) -> Option<OnGateway> {
        match self {
            Self::Client(client) => {
                (client.gateway == gateway).then_some(OnGateway::Client(client.connection))
            }
            Self::Uid(uid) => Some(OnGateway::Uid(uid.clone())),
            Self::Group(group) => Some(OnGateway::Group(group.clone())),
        }
    }
}

/// Messages of a gateway, in the order in which it has processed those of each client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TailBatch {
    /// The inner address of the gateway.
    pub gateway: SocketAddr,
    /// The messages.
    pub frames: Vec<TailFrame>,
    /// Messages that are missing before these: there were too many, or they were not read fast
    /// enough here.
    pub dropped: u64,
}

impl TailBatch {
    pub(crate) fn new(gateway: SocketAddr, tailed: Tailed) -> Self {
        let frames = tailed.frames.into_iter().map(|frame| TailFrame {
            at: frame.at,
            client: ClientId::new(gateway, frame.client),
            direction: frame.direction,
            kind: frame.kind,
            size: frame.size,
            payload: frame.payload,
        });
        Self { gateway, frames: frames.collect(), dropped: tailed.dropped }
    }
}

/// A message from or to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TailFrame {
    /// When its gateway has processed it, in microseconds since the Unix epoch, by that clock.
    pub at: u64,
    /// The client.
    pub client: ClientId,
    /// Its way.
    pub direction: Direction,
    /// How it is framed.
    pub kind: MessageKind,
    /// Bytes of its payload.
    pub size: u64,
    /// The beginning of its payload, if requested.
    pub payload: Vec<u8>,
}

/// An open tail. Dropping it ends it.
pub struct Tail {
    number: u64,
    batches: mpsc::Receiver<TailBatch>,
    links: Vec<Arc<Link>>,
    unreachable: Vec<String>,
}

impl Tail {
    pub(crate) const fn new(
        number: u64,
        batches: mpsc::Receiver<TailBatch>,
        links: Vec<Arc<Link>>,
        unreachable: Vec<String>,
    ) -> Self {
        Self { number, batches, links, unreachable }
    }

    /// The next messages; `None` once the links to all of its gateways have ended.
    pub async fn next(&mut self) -> Option<TailBatch> {
        self.batches.recv().await
    }

    /// The gateways that were not linked when it was opened: messages of their clients are missing.
    pub fn unreachable(&self) -> &[String] {
        &self.unreachable
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        for link in &self.links {
            link.tails().remove(self.number);
            // If its queue is full, the gateway drops the messages once they are not read.
            let _ = link.offer(&mut ToGateway::EndTail { tail: self.number });
        }
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("number", &self.number).finish_non_exhaustive()
    }
}
