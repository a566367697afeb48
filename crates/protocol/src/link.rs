//! Messages of the native protocol, exchanged on a link between a peer and a gateway.
//!
//! ```text
//! peer                                          gateway
//!   MAGIC ─────────────────────────────────────►
//!   ◄────── Challenge { nonce, gateway, instance }
//!   Hello { role, nonce, proof } ──────────────►
//!   ◄──── Welcome { proof, taken }, or Refused, then close
//!   Command, Query, EventAck, … ───────────────►   in any order, pipelined
//!   ◄──────────────── Event, Answer, CommandAck, …
//! ```
//!
//! The secret itself is never sent: each end proves possession of it, and the proof covers the
//! whole handshake before it, see [`Transcript`](crate::handshake::Transcript).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    Answer, CloseCodes, Command, ConnectionId, Context, Effect, Event, Group, InstanceId, Message,
    PresenceNotified, PresenceReport, Query, Session, Uid, UidLimit, bounded,
    handshake::{Nonce, Proof},
    inspect::{OpenTail, Tailed},
    presence::MAX_PREFIXES,
    standby::{StandbyClient, WorkerMessage},
    streaming::{MAX_GAPS, StreamGap},
};

pub use crate::{bounded::MAX_EFFECTS, role::Role};

/// The first bytes that a native peer sends. As a `GatewayWorker` frame length they would be over a
/// gigabyte, above the limit of such a frame: this is how a gateway detects the protocol.
pub const MAGIC: [u8; 4] = *b"GWN1";

/// A message from a peer to a gateway.
///
/// Variants are only ever appended: the codec numbers them by position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToGateway {
    /// Answers the challenge and states the peer's role. No other message is accepted before it.
    Hello { role: Role, nonce: Nonce, proof: Proof },
    /// Executes a command. `seq` numbers the peer's commands to this gateway instance from 1,
    /// across all links between the two. It increases; a command lost together with its link leaves
    /// a gap.
    Command { seq: u64, command: Command },
    /// Requests data. The peer chooses `request`; the answer carries it.
    Query { request: u64, query: Query },
    /// Acknowledges the events `first..=last` of a shard: their handlers have finished, and the
    /// commands that they sent are acknowledged. Ranges may arrive in any order; each event is
    /// acknowledged once.
    EventAck { shard: u16, first: u64, last: u64 },
    /// The peer drains: it receives no more events, finishes those in flight, and disconnects.
    Leaving,
    /// Answered with a [`ToPeer::Pong`] of the same token, after everything received before it.
    Ping { token: u64 },
    /// Answers a [`ToPeer::Ping`].
    Pong { token: u64 },
    /// This gateway instance was declared dead, and workers were notified that its clients are
    /// closed: it must terminate.
    Fenced,
    /// The events up to `through` of a shard have been started, as far as possible: those that are
    /// not acknowledged are running or waiting. An acknowledged event counts as started without
    /// this message.
    EventStarted { shard: u16, through: u64 },
    /// A handler is started for this event, which is marked as redelivered. `alone` means that the
    /// event is an [isolated delivery](ToPeer::IsolatedEvent), and that no other handler has
    /// started since, nor will. Sent again without `alone` once isolation ends.
    HandlerStarted { shard: u16, seq: u64, alone: bool },
    /// From a worker: forwarded to worker `to` if that is linked to the gateway, else dropped.
    Relay { to: InstanceId, message: WorkerMessage },
    /// A [`Command`](Self::Command) whose effect is requested: once the command has been applied to
    /// all clients, the gateway answers with an [`Answer::Effect`] that carries `request`, in the
    /// numbers of [`Query`](Self::Query), or with [`ToPeer::Effects`]. If the link is lost before,
    /// the effect stays unknown: the peer sends the command again without a request.
    ReportedCommand { seq: u64, request: u64, command: Command },
    /// Answers a [`ToPeer::CheckUid`]: every gateway has been asked, and every client over the limit
    /// is closed.
    UidChecked { check: u64, uid: Uid },
    /// From a worker: it watches the groups whose names begin with one of these prefixes, in place of
    /// those that it has watched. Without any it watches none, as after [`Leaving`](Self::Leaving).
    Watch {
        #[serde(deserialize_with = "bounded::list::<MAX_PREFIXES, _, _>")]
        prefixes: Vec<Group>,
    },
    /// From a worker, usually as the first message behind the handshake: the codes with which the
    /// gateway closes the clients of this worker from here on, in place of its own. A client keeps
    /// the codes of the first of its workers that has any.
    CloseCodes { codes: CloseCodes },
    /// Opens a tail, of which the peer gets [`ToPeer::Tailed`] until the tail or the link ends.
    Tail(Box<OpenTail>),
    /// Ends a tail. Some of its messages may be on their way.
    EndTail { tail: u64 },
    /// The peer answers [`ToPeer::StreamGaps`] from here on, or does not any more, as after
    /// [`Leaving`](Self::Leaving).
    ServeStreams { serves: bool },
    /// The peer waits for its commands so far to be acknowledged: the gateway sends the
    /// [`ToPeer::CommandAck`] at once, unless it has sent it already. Without this message it may
    /// wait for further commands.
    Acknowledge,
}

/// A message from a gateway to a peer.
///
/// Variants are only ever appended: the codec numbers them by position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToPeer {
    /// Requests a proof, for this nonce, that the peer has the secret. `gateway` is the inner
    /// address that the gateway announces, as text: the one its client ids carry. `instance` is its
    /// instance. Neither is trusted before [`Welcome`](Self::Welcome) has proved both.
    Challenge { nonce: Nonce, gateway: String, instance: InstanceId },
    /// The peer is accepted; `proof` shows that the gateway has the secret too. `taken` is the
    /// `seq` of the last command that the gateway accepted from this instance of the peer on
    /// earlier links, from which it accepts no more; 0 if it has no record of one.
    Welcome { proof: Proof, taken: u64 },
    /// The peer is refused.
    Refused(Refusal),
    /// An event of a client.
    Event(Delivery),
    /// The answer to a query, or the effect of a command.
    Answer { request: u64, answer: Answer },
    /// Acknowledges every command up to this `seq`: it takes effect unless the gateway itself dies.
    CommandAck { through: u64 },
    /// Answered with a [`ToGateway::Pong`] of the same token, after everything received before it.
    Ping { token: u64 },
    /// Answers a [`ToGateway::Ping`].
    Pong { token: u64 },
    /// The receiver is a standby of these clients. `holders` lists the workers responsible for
    /// them, in order: the owner, which receives their events, then the standbys, including the
    /// receiver. If the gateway dies before the clients are closed, each holder closes them if all
    /// holders before it are dead too. `confirmed` is `false` while the owner, to which they were
    /// reassigned, may not have received them yet. Sent again on any change; the receiver keeps its
    /// sessions.
    Standby { holders: Vec<InstanceId>, confirmed: bool, clients: Vec<StandbyClient> },
    /// These clients no longer need a standby.
    ReleaseStandby { clients: Vec<ConnectionId> },
    /// An isolated delivery of a suspect: worker processes have terminated while they handled this
    /// event. Its handler is to run alone, to determine whether the event is the cause.
    IsolatedEvent(Delivery),
    /// The gateway drains: it closes its clients, waits for their last events to be handled, and
    /// exits. `clients` is the number of its clients.
    Draining { clients: u64 },
    /// The link is closed, since another instance of a worker with the same key has linked. `by` is
    /// the address that it connects from. If both are running, one needs another name or id.
    Replaced { by: String },
    /// The session of a client that the receiver is a standby of. Sent after changes, though not
    /// after each one; empty until the first.
    StandbySession { client: ConnectionId, session: Session },
    /// A message that another worker sent with [`ToGateway::Relay`].
    Relayed { from: InstanceId, message: WorkerMessage },
    /// Asks a worker to close, in the whole cluster, the clients of a uid that are over the limit.
    /// Answered with a [`ToGateway::UidChecked`] of the same number, however long it takes. `clock`
    /// is passed on with [`Query::Bindings`].
    CheckUid { check: u64, uid: Uid, limit: UidLimit, clock: u64 },
    /// To the owner of a group: its state on a shard.
    Presence(Box<PresenceReport>),
    /// For this shard the receiver owns the group no longer: it gets no more reports about it.
    PresenceLost { group: Group, shard: u16 },
    /// Right before a part of a full report: of which of it an application was notified.
    PresenceNotified(Box<PresenceNotified>),
    /// The effects of several [commands with a request](ToGateway::ReportedCommand), by their
    /// requests: the same as an [`Answer::Effect`] for each. At most [`MAX_EFFECTS`].
    Effects {
        #[serde(deserialize_with = "bounded::list::<MAX_EFFECTS, _, _>")]
        effects: Vec<(u64, Effect)>,
    },
    /// Messages of a tail that the peer has opened.
    Tailed(Tailed),
    /// A shard asks for messages of streams. Each is answered with [`Command::Publish`] for this
    /// shard and then [`Command::StreamRead`], or with [`Command::ResetStream`]. If there is no
    /// answer, it asks another peer.
    StreamGaps {
        shard: u16,
        #[serde(deserialize_with = "bounded::list::<MAX_GAPS, _, _>")]
        gaps: Vec<StreamGap>,
    },
}

/// Why a peer was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The proof is wrong: the peer and the gateway have different secrets.
    Secret,
    /// The gateway is shutting down.
    ShuttingDown,
    /// The worker key is empty or too long.
    Key,
}

/// One delivery of an event to a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The client of the event.
    pub client: ConnectionId,
    /// The gateway shard that sent it: event numbers count per link and shard.
    pub shard: u16,
    /// The event's number on this link and shard, from 1.
    pub seq: u64,
    /// The event's number among the client's own, from 1, across workers. With the client's id it
    /// identifies an event permanently, so that a handler can detect duplicates.
    pub number: u64,
    /// Whether another worker, or this one on an earlier link, may have received it already.
    pub redelivered: bool,
    /// A worker may keep a copy of the session and number its own edits of it from 1, for each
    /// client and link; edits that do not change its copy have the number 0, as have the edits of
    /// all other peers. This is the last one that the gateway had applied when it sent the event.
    /// Later edits are in flight: the session in `context`, if present, lacks them.
    pub edits: u64,
    /// Present in the first event of a client on this link, and after an edit of its session that
    /// the worker has not numbered.
    pub context: Option<Box<Context>>,
    /// The event itself.
    pub event: Event,
}

/// A message of a link: a header that the codec serializes, then at most one payload.
pub trait LinkMessage: Serialize + for<'de> Deserialize<'de> {
    /// The payload, which is not part of the serialized header.
    fn payload(&self) -> &[u8];
    /// Sets the payload after the header was decoded. `false` if the payload is not empty and the
    /// message cannot carry one.
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

impl ToGateway {
    /// The command, with or without a request for its effect.
    pub fn command(&self) -> Option<&Command> {
        match self {
            Self::Command { command, .. } | Self::ReportedCommand { command, .. } => Some(command),
            _ => None,
        }
    }

    /// The same command without a request for its effect; any other message is unchanged.
    #[must_use]
    pub fn without_request(self) -> Self {
        match self {
            Self::ReportedCommand { seq, command, .. } => Self::Command { seq, command },
            other => other,
        }
    }
}

impl LinkMessage for ToGateway {
    fn payload(&self) -> &[u8] {
        match self {
            Self::Command { command, .. } | Self::ReportedCommand { command, .. } => {
                command.message().map_or(&[], |message| &message.body)
            }
            Self::Hello { .. }
            | Self::Query { .. }
            | Self::EventAck { .. }
            | Self::Leaving
            | Self::Ping { .. }
            | Self::Pong { .. }
            | Self::Fenced
            | Self::EventStarted { .. }
            | Self::HandlerStarted { .. }
            | Self::Relay { .. }
            | Self::UidChecked { .. }
            | Self::Watch { .. }
            | Self::CloseCodes { .. }
            | Self::Tail(_)
            | Self::EndTail { .. }
            | Self::ServeStreams { .. }
            | Self::Acknowledge => &[],
        }
    }

    fn set_payload(&mut self, payload: Bytes) -> bool {
        match self {
            Self::Command { command, .. } | Self::ReportedCommand { command, .. } => {
                set(command.message_mut(), payload)
            }
            _ => payload.is_empty(),
        }
    }
}

impl LinkMessage for ToPeer {
    fn payload(&self) -> &[u8] {
        match self {
            Self::Event(Delivery { event: Event::Message(message), .. })
            | Self::IsolatedEvent(Delivery { event: Event::Message(message), .. }) => &message.body,
            Self::Answer { answer: Answer::Retained(Some(retained)), .. } => &retained.message.body,
            _ => &[],
        }
    }

    fn set_payload(&mut self, payload: Bytes) -> bool {
        match self {
            Self::Event(Delivery { event: Event::Message(message), .. })
            | Self::IsolatedEvent(Delivery { event: Event::Message(message), .. }) => {
                set(Some(message), payload)
            }
            Self::Answer { answer: Answer::Retained(Some(retained)), .. } => {
                set(Some(&mut retained.message), payload)
            }
            _ => payload.is_empty(),
        }
    }
}
