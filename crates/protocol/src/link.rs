//! What the two ends of a native link say to each other.
//!
//! ```text
//! peer                                          gateway
//!   MAGIC ─────────────────────────────────────►
//!   ◄────── Challenge { nonce, gateway, instance }
//!   Hello { role, nonce, proof } ──────────────►
//!   ◄──── Welcome { proof, taken }, or Refused and the end
//!   Command, Query, Done, … ───────────────────►   in any order, pipelined
//!   ◄───────────────────── Event, Answer, Taken, …
//! ```
//!
//! The secret itself is never sent: each end proves that it knows it, and the proof covers
//! everything that the two have said, see [`Transcript`](crate::handshake::Transcript).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    Answer, Command, ConnectionId, Context, Event, Instance, Message, Query, Session,
    handshake::{Nonce, Proof},
    standby::{StandbyClient, WorkerMessage},
};

/// What a native peer sends before anything else. Read as a `GatewayWorker` frame length it would
/// be over a gigabyte, which no such frame may have: that is how a gateway tells the two apart.
pub const MAGIC: [u8; 4] = *b"GWN1";

/// What a peer says to a gateway.
///
/// Variants are only ever appended: the codec numbers them by position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToGateway {
    /// Answers the challenge and says what the peer is. Nothing else is taken before it.
    Hello { role: Role, nonce: Nonce, proof: Proof },
    /// Do this. `seq` counts the peer's commands for this life of the gateway from 1, over all links
    /// between the two. It rises; where one was lost together with its link, it leaves out a number.
    Command { seq: u64, command: Command },
    /// Tell me this. `request` is the peer's to choose; the answer carries it.
    Query { request: u64, query: Query },
    /// The events `first..=last` of a shard are done with: their handlers have finished and what
    /// they pushed was taken. Ranges may come in any order; each event is named once.
    Done { shard: u16, first: u64, last: u64 },
    /// Send no more events: the peer finishes those it has and leaves.
    Leaving,
    /// Answered with a [`ToPeer::Pong`] of the same token, behind whatever came before it.
    Ping { token: u64 },
    /// Answers a [`ToPeer::Ping`].
    Pong { token: u64 },
    /// This life of yours was taken for over, and workers were told that its clients are gone: it
    /// must not go on.
    WrittenOff,
    /// The events up to `through` of a shard have been begun with, as far as that can be: what of them
    /// is not done runs, or waits for something. Those that are done were begun with without a word.
    Begun { shard: u16, through: u64 },
    /// From here on a handler runs for this event, which is marked as redelivered. `alone` says that
    /// it is a [trial](ToPeer::Trial), and that no other handler has started since, nor will. Said again
    /// without it once that is over.
    Trying { shard: u16, seq: u64, alone: bool },
    /// From a worker: pass this on to that other worker, if it is linked; dropped if not.
    Relay { to: Instance, message: WorkerMessage },
}

/// What a gateway says to a peer.
///
/// Variants are only ever appended: the codec numbers them by position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToPeer {
    /// Asks for a proof that the peer knows the secret, for this nonce. `gateway` is the inner
    /// address that the gateway announces, as text: the one its client ids carry. `instance` is its
    /// instance. Neither is trusted before [`Welcome`](Self::Welcome) has proved both.
    Challenge { nonce: Nonce, gateway: String, instance: Instance },
    /// The peer is accepted; `proof` shows that the gateway knows the secret too. `taken` is the
    /// `seq` of the last command that it has taken from this instance of the peer on earlier links,
    /// from none of which it takes any more; 0 if it remembers none.
    Welcome { proof: Proof, taken: u64 },
    /// You are not.
    Refused(Refusal),
    /// Something happened to a client.
    Event(Delivery),
    /// What a query brought.
    Answer { request: u64, answer: Answer },
    /// Every command up to this `seq` was taken: it takes effect unless the gateway itself dies.
    Taken { through: u64 },
    /// Answered with a [`ToGateway::Pong`] of the same token, behind whatever came before it.
    Ping { token: u64 },
    /// Answers a [`ToGateway::Ping`].
    Pong { token: u64 },
    /// The receiver is a standby of these clients. `holders` are all workers that are responsible for
    /// them, in order: the owner, which has their events, then the standbys, the receiver among them.
    /// Should the gateway be gone before the clients are, each closes them if those before it are gone
    /// too. `confirmed` is `false` while the owner, to which they were reassigned, may not know of them
    /// yet. Sent again when any of it has changed; the sessions that the receiver has stay.
    Standby { holders: Vec<Instance>, confirmed: bool, clients: Vec<StandbyClient> },
    /// These need no standby any more.
    Release { clients: Vec<ConnectionId> },
    /// Something happened to a client, and worker processes have ended while they handled it. Its
    /// handler is to run alone, so that it can be told whether it is the cause.
    Trial(Delivery),
    /// The gateway goes down in order: it closes its clients, waits for their last events to be handled,
    /// and ends. `clients` says how many it has.
    Draining { clients: u64 },
    /// The link ends, since another life of a worker with the same key has linked. `by` is where that
    /// connects from. If both live, one of them needs another name or id.
    Replaced { by: String },
    /// The session of a client that the receiver is a standby of, whenever it has changed, though not
    /// each time. It has none before.
    StandbySession { client: ConnectionId, session: Session },
    /// What another worker sent with [`ToGateway::Relay`].
    Relayed { from: Instance, message: WorkerMessage },
}

/// What a peer is to its gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Events come to it. `key` is `name:id`; the gateway puts the peer's IP in front, and a newer
    /// link of the same key replaces the older. `instance` is the life of the worker.
    Worker { key: String, instance: Instance },
    /// It only commands and asks. `instance` is the life of it.
    Client { instance: Instance },
}

impl Role {
    /// Which life of the peer this is.
    pub const fn instance(&self) -> &Instance {
        match self {
            Self::Worker { instance, .. } | Self::Client { instance } => instance,
        }
    }
}

/// Why a peer was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The proof was wrong: the two do not share a secret.
    Secret,
    /// The gateway is going down.
    ShuttingDown,
    /// The worker key is empty or too long.
    Key,
}

/// One event on its way to a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Whose event.
    pub client: ConnectionId,
    /// Which of the gateway's shards sent it: event numbers count per link and shard.
    pub shard: u16,
    /// The event's number on this link and shard, from 1.
    pub seq: u64,
    /// The event's number among the client's own, from 1, whichever worker it goes to: with the
    /// client's id it names an event for good, so that a handler can tell that it has had it.
    pub number: u64,
    /// Whether another worker, or an earlier link of this one, may have had it already.
    pub redelivered: bool,
    /// A worker may keep a copy of the session, and number its own edits of it from 1, for each
    /// client and link; edits that it makes without changing its copy have the number 0, as have
    /// everybody else's. This is the last one that the gateway had carried out when it sent the
    /// event. Later ones are on their way: the session in `context`, if there is one, lacks them.
    pub edits: u64,
    /// With the first event of a client on this link, and after an edit of its session that the
    /// worker has not numbered.
    pub context: Option<Box<Context>>,
    /// What happened.
    pub event: Event,
}

/// A message of a link: a header that the codec serializes, and at most one payload behind it.
pub trait LinkMessage: Serialize + for<'de> Deserialize<'de> {
    /// The payload, which is not part of the serialized header.
    fn payload(&self) -> &[u8];
    /// Puts the payload back in its place after the header was decoded. `false` if the message
    /// has no place for one.
    fn set_payload(&mut self, payload: Bytes) -> bool;
}

fn set(message: Option<&mut Message>, payload: Bytes) -> bool {
    match message {
        Some(message) => {
            message.body = payload;
            true
        }
        None => payload.is_empty(),
    }
}

impl LinkMessage for ToGateway {
    fn payload(&self) -> &[u8] {
        match self {
            Self::Command { command, .. } => command.message().map_or(&[], |message| &message.body),
            Self::Hello { .. }
            | Self::Query { .. }
            | Self::Done { .. }
            | Self::Leaving
            | Self::Ping { .. }
            | Self::Pong { .. }
            | Self::WrittenOff
            | Self::Begun { .. }
            | Self::Trying { .. }
            | Self::Relay { .. } => &[],
        }
    }

    fn set_payload(&mut self, payload: Bytes) -> bool {
        match self {
            Self::Command { command, .. } => set(command.message_mut(), payload),
            _ => payload.is_empty(),
        }
    }
}

impl LinkMessage for ToPeer {
    fn payload(&self) -> &[u8] {
        match self {
            Self::Event(Delivery { event: Event::Message(message), .. })
            | Self::Trial(Delivery { event: Event::Message(message), .. }) => &message.body,
            _ => &[],
        }
    }

    fn set_payload(&mut self, payload: Bytes) -> bool {
        match self {
            Self::Event(Delivery { event: Event::Message(message), .. })
            | Self::Trial(Delivery { event: Event::Message(message), .. }) => {
                set(Some(message), payload)
            }
            _ => payload.is_empty(),
        }
    }
}
