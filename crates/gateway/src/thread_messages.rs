//! Messages between the gateway's threads, and the state that they share.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use inbox::Inbox;
use protocol::{
    CloseCodes, Command, ConnectionId, Effect, Grant, Group, InstanceId, Message, PresenceAnswer,
    Query, Renewal, Row, Session, Swap, Uid,
    inspect::{LifecycleEvent, OpenTail, Tailed},
    link::ToPeer,
    streaming,
};
use runtime::{net::Released, rate_limit::Throttle, sync::Mutex};
use tokio_util::sync::CancellationToken;

use crate::{
    descriptors::Descriptors,
    drain_summary::DrainSummary,
    in_flight::InFlight,
    inspection::{Operators, ShardPage, ShardStatus, ShardTrace},
    limits::{AddressLimit, Addresses},
    metrics::Metrics,
    placement::ShardLoads,
    register_outages::RegisterOutages,
};

/// A logical timestamp, counted over all shards of the gateway, so that results of several shards
/// can be merged in one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ordinal(pub(crate) u64);

/// Ordinals reserved for a command that adds the clients of a uid to a group, or those that wait to
/// join one, and so the most that it adds in one shard: more than a shard has, and few enough that the numbers last for ages.
pub(crate) const MOST_JOINED: u64 = 1 << 22;

/// The highest clock of a gateway that another one may state: half of what fits.
const MAX_CLOCK: u64 = 1 << 63;

/// Clients whose uids a shard finds at a time.
pub(crate) const UIDS_PER_SLICE: usize = 1024;

/// Number of ordinals that a grant needs: one for the uid, and one for each group.
fn grant_ordinals(grant: &Grant) -> u64 {
    1 + grant.groups().len() as u64
}

/// Id of a link, unique within the gateway process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId(pub(crate) u64);

/// How the link of a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkEnd {
    /// Closed or reset by the worker's side, as when the worker process ends.
    Closed,
    /// In a way that does not indicate whether the process ended: a timeout, a newer link, or
    /// closed by the gateway.
    Other,
}

/// Id of a pending query or barrier that the hub sent to shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token(pub(crate) u64);

/// The reader of the effect that a command has on the clients of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EffectFor {
    /// The peer itself, by the number of its request: no other shard is concerned.
    Peer { request: u64 },
    /// The hub, which adds up the effects of several shards.
    Hub(Token),
}

/// The effect of a command that concerned one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reported {
    pub(crate) link: LinkId,
    pub(crate) request: u64,
    pub(crate) effect: Effect,
}

/// The protocol of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerProtocol {
    /// The native protocol.
    Native,
    /// `GatewayWorker`'s protocol, used by PHP workers and back ends.
    Php,
}

/// A linked worker, shared by all shards.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) protocol: PeerProtocol,
    /// The worker's instance id; `None` for PHP workers, which do not send one.
    pub(crate) instance: Option<InstanceId>,
    /// IP address of the worker.
    pub(crate) ip: IpAddr,
    /// `ip:name:id`.
    pub(crate) key: String,
    /// Number of clients of this gateway assigned to it, over all shards.
    pub(crate) clients: AtomicUsize,
    /// Events that it has not acknowledged, over all shards.
    pub(crate) in_flight: InFlight,
}

impl Worker {
    /// Number of clients of this gateway assigned to it.
    pub(crate) fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }
}

/// A worker that watches groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watcher {
    pub(crate) link: LinkId,
    pub(crate) instance: InstanceId,
    /// The number of its declaration: with a new one it knows nothing of what was reported before.
    pub(crate) declaration: u64,
    /// Of the names of the groups; not empty.
    pub(crate) prefixes: Vec<Group>,
}

impl Watcher {
    /// Whether it watches this group.
    pub(crate) fn watches(&self, group: &Group) -> bool {
        self.prefixes.iter().any(|prefix| group.as_bytes().starts_with(prefix.as_bytes()))
    }
}

/// Messages to a shard, from the acceptor and the hub. A shard processes them in order, and the hub
/// sends them in the order in which it received them, which is the order of arrival at this gateway
/// over all links.
#[derive(Debug)]
pub(crate) enum ToShard {
    /// A new connection, accepted on the listener with index `listener`.
    Accepted { stream: Released, remote: SocketAddr, listener: usize },
    /// A command to execute, received on link `from`.
    Command { from: LinkId, ordinal: Ordinal, command: Command },
    /// The same, with its effect on the clients of the shard as the answer.
    ReportedCommand { effect_for: EffectFor, from: LinkId, ordinal: Ordinal, command: Command },
    /// The retained message of a group, which the command `sent` has sent to its members: for a
    /// client that was none then. The effect is the answer, if it is reported.
    SendRetained {
        reported: Option<(LinkId, EffectFor)>,
        client: ConnectionId,
        group: Group,
        sent: Ordinal,
        message: Message,
    },
    /// A query to answer, with sessions in PHP's encoding if `in_php`.
    Query { token: Token, from: LinkId, query: Query, in_php: bool },
    /// To be answered once all earlier messages are processed and their output is sent to the hub.
    Barrier { token: Token },
    /// A worker has linked.
    WorkerUp { link: LinkId, worker: Arc<Worker> },
    /// A worker has declared codes for its clients.
    CloseCodes { link: LinkId, codes: CloseCodes },
    /// A worker accepts no more events.
    WorkerLeaving { link: LinkId },
    /// A worker's link has ended.
    WorkerDown { link: LinkId, end: LinkEnd },
    /// A worker has started all events of this shard up to this one.
    EventStarted { link: LinkId, through: u64 },
    /// The handler of a suspect event of this shard has started. Worker processes may have ended
    /// because of that event.
    HandlerStarted { link: LinkId, seq: u64, alone: bool },
    /// A worker has acknowledged events of this shard.
    EventAck { link: LinkId, first: u64, last: u64 },
    /// Standby updates of this shard are written to the worker's link up to here.
    StandbyWritten { link: LinkId, through: u64 },
    /// All workers that watch groups.
    Watchers(Arc<[Watcher]>),
    /// The workers that can be asked for messages of streams.
    StreamServers(Arc<[LinkId]>),
    /// So many bytes of reports of this shard are written to the worker's link.
    PresenceWritten { link: LinkId, bytes: usize },
    /// The commands before it arrived at this time: the time until their messages are written is
    /// measured.
    Measure { arrived: Instant },
    /// To be answered with the uids of the next clients that connected after `after`.
    FindUids { after: Ordinal },
    /// A peer opens a tail.
    Tail { link: LinkId, open: Arc<OpenTail> },
    /// A tail of a link has ended, or all of them.
    EndTail { link: LinkId, tail: Option<u64> },
    /// The gateway shuts down: close every client, well within `grace`.
    Drain { grace: Duration },
}

impl ToShard {
    /// Approximate memory in bytes until it is processed.
    pub(crate) fn weight(&self) -> usize {
        let more = match self {
            Self::Command { command, .. } | Self::ReportedCommand { command, .. } => {
                command.weight()
            }
            Self::Query { query, .. } => query.weight(),
            // The message is the hub's.
            Self::SendRetained { group, .. } => group.weight(),
            _ => 0,
        };
        size_of::<Self>() + more
    }

    /// Whether processing it may take much longer than usual.
    pub(crate) fn is_heavy(&self) -> bool {
        match self {
            Self::Command { command, .. } | Self::ReportedCommand { command, .. } => {
                command.edits_session() || matches!(command, Command::JoinPresence { .. })
            }
            Self::Query { query: Query::SwapSession { .. }, .. } => true,
            Self::WorkerUp { .. }
            | Self::CloseCodes { .. }
            | Self::WorkerLeaving { .. }
            | Self::WorkerDown { .. }
            | Self::Watchers(_) => true,
            _ => false,
        }
    }
}

/// Messages from a shard to the hub.
#[derive(Debug)]
pub(crate) enum ToHub {
    /// Events of this shard up to `last`, encoded in the worker's protocol.
    Events { link: LinkId, shard: u16, last: u64, frames: Bytes },
    /// Standby updates about clients of other workers. If `confirm` is set, the hub reports to the
    /// shard once they are written.
    Standby { link: LinkId, shard: u16, frames: Bytes, confirm: Option<u64> },
    /// Reports of watched groups. The hub confirms to the shard that they are written.
    Presence { link: LinkId, shard: u16, frames: Bytes },
    /// A worker is asked for messages of streams.
    StreamGaps { link: LinkId, message: ToPeer },
    /// A client is to be sent the retained message of a group, or this one if there is none.
    SendRetained { client: ConnectionId, group: Group, message: Message },
    /// This shard's part of an answer.
    PartialAnswer { token: Token, part: PartialAnswer },
    /// The effects of commands in this pass, in their order.
    Effects(Vec<Reported>),
    /// A client was bound to the uid. Sent with `--max-connections-per-uid`.
    Bound { uid: Uid },
    /// The uids of [`UIDS_PER_SLICE`] clients, and where to continue unless that was all.
    Uids { uids: Vec<Uid>, next: Option<Ordinal> },
    /// Messages of a tail.
    Tailed { link: LinkId, tailed: Tailed },
    /// The shard's memory budget is exceeded, or no longer.
    Pressed { shard: u16, pressed: bool },
    /// The shard has no connections left, and workers have acknowledged all events.
    Drained { shard: u16 },
}

/// One shard's part of an answer. Rows of several shards are merged in the order of their ordinals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PartialAnswer {
    Online(bool),
    Session(Option<Session>),
    Sessions(Vec<(Ordinal, ConnectionId, Session)>),
    /// One list per uid in the query.
    Clients(Vec<Vec<(Ordinal, ConnectionId)>>),
    Count([u64; 1]),
    /// One count per group in the query.
    Counts(Vec<u64>),
    Groups(Vec<(Ordinal, Group)>),
    /// Each with the position of the filter entry that matched.
    Rows(Vec<(usize, Ordinal, Row)>),
    /// Everything before the barrier is processed.
    Barrier,
    /// The effect of a command.
    Effect(Effect),
    /// One number per item of the query.
    Numbers(Vec<u64>),
    /// The number of members of each group that has any.
    GroupCounts(Vec<(Ordinal, Group, u64)>),
    /// Uids, each once, with the ordinal of its first client.
    Uids(Vec<(Ordinal, Uid)>),
    Swap(Swap),
    Renewal([Renewal; 1]),
    RevocationsFull,
    Presence(PresenceAnswer),
    Held([streaming::Held; 1]),
    Released([streaming::Released; 1]),
    /// Another worker owns the group.
    NotOwner,
    Status(Box<ShardStatus>),
    Details(ShardPage),
    /// Lifecycle events, oldest first.
    Events(Vec<LifecycleEvent>),
    Trace(Box<ShardTrace>),
}

/// Amount of data on a shard that queries can return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// Number of clients.
    pub(crate) clients: usize,
    /// Total bytes of their uids.
    pub(crate) uids: usize,
    /// Total bytes of their group names, counted per member.
    pub(crate) memberships: usize,
    /// Total bytes of their sessions.
    pub(crate) sessions: usize,
    /// Bytes of the largest session so far, including closed clients.
    pub(crate) largest_session: usize,
    /// Approximate bytes of the members of watched groups.
    pub(crate) presence: usize,
}

impl Content {
    /// Sum of both.
    pub(crate) fn add(self, other: Self) -> Self {
        Self {
            clients: self.clients + other.clients,
            uids: self.uids + other.uids,
            memberships: self.memberships + other.memberships,
            sessions: self.sessions + other.sessions,
            largest_session: self.largest_session.max(other.largest_session),
            presence: self.presence + other.presence,
        }
    }
}

/// The last published content of a shard.
#[derive(Debug, Default)]
struct SharedContent {
    clients: AtomicUsize,
    uids: AtomicUsize,
    memberships: AtomicUsize,
    sessions: AtomicUsize,
    largest_session: AtomicUsize,
    presence: AtomicUsize,
}

/// State shared by all threads of a gateway.
#[derive(Debug)]
pub(crate) struct GatewayState {
    /// The inner address that the gateway announces.
    pub(crate) address: SocketAddr,
    /// The instance id of this gateway process.
    pub(crate) instance: InstanceId,
    /// Cancelled when a worker reports that this instance was declared dead.
    pub(crate) fenced: CancellationToken,
    /// The means by which operators act on the process.
    pub(crate) operators: Operators,
    /// Times during which no register listed this gateway.
    pub(crate) register_outages: RegisterOutages,
    pub(crate) hub: Inbox<ToHub>,
    pub(crate) shards: Vec<Inbox<ToShard>>,
    /// Bytes of messages that each shard has not processed yet.
    pub(crate) ahead: Vec<AtomicUsize>,
    /// The content of each shard.
    content: Vec<SharedContent>,
    pub(crate) metrics: Metrics,
    pub(crate) drain_summary: DrainSummary,
    pub(crate) shard_loads: ShardLoads,
    /// Limits for each kind of connection.
    pub(crate) descriptors: Descriptors,
    /// Connections and handshake rates of addresses.
    pub(crate) addresses: Addresses,
    /// Rate limits for warnings about refused handshakes, over all shards: one for each limit of
    /// addresses, and one for all other reasons.
    refusal_warnings: Mutex<BTreeMap<Option<AddressLimit>, Throttle>>,
    ordinals: AtomicU64,
}

impl GatewayState {
    pub(crate) fn new(
        address: SocketAddr,
        instance: InstanceId,
        shard_loads: ShardLoads,
        metrics: Metrics,
        register_outages: RegisterOutages,
        descriptors: Descriptors,
    ) -> Self {
        let shards = shard_loads.threads();
        let ahead = (0..shards).map(|_| AtomicUsize::new(0)).collect();
        let content = (0..shards).map(|_| SharedContent::default()).collect();
        let shards = (0..shards).map(|_| Inbox::new()).collect();
        Self {
            address,
            instance,
            fenced: CancellationToken::new(),
            operators: Operators::default(),
            register_outages,
            hub: Inbox::new(),
            shards,
            ahead,
            content,
            metrics,
            drain_summary: DrainSummary::default(),
            shard_loads,
            descriptors,
            addresses: Addresses::default(),
            refusal_warnings: Mutex::default(),
            ordinals: AtomicU64::new(0),
        }
    }

    /// Whether a warning about a refused handshake is logged now, and how many were suppressed.
    pub(crate) fn admit_refusal_warning(&self, reason: &'static str, now: Instant) -> Option<u64> {
        let mut warnings = self.refusal_warnings.lock();
        let limit = AddressLimit::named(reason);
        warnings.entry(limit).or_insert(const { Throttle::per_second() }).admit(now)
    }

    /// The next ordinal, larger than all earlier ones on every thread.
    pub(crate) fn ordinal(&self) -> Ordinal {
        self.ordinals(1)
    }

    /// The ordinal of a command that has just arrived, the first of [`MOST_JOINED`] if each client
    /// that it applies to gets one.
    pub(crate) fn ordinal_of(&self, command: &Command) -> Ordinal {
        self.ordinals(match command {
            Command::JoinGroupByUid { .. } | Command::PresenceView { last: true, .. } => {
                MOST_JOINED
            }
            Command::AcceptHandshake { grant, .. } => grant_ordinals(grant),
            _ => 1,
        })
    }

    /// The first ordinal of a grant that is applied now: one for its uid, and one for each group.
    pub(crate) fn ordinal_of_grant(&self, grant: &Grant) -> Ordinal {
        self.ordinals(grant_ordinals(grant))
    }

    /// The highest ordinal so far.
    pub(crate) fn clock(&self) -> u64 {
        self.ordinals.load(Ordering::Relaxed)
    }

    /// Assigns only higher ordinals from here on, so that the bindings of several gateways have one
    /// order: that of their clocks, and of cause and effect where clocks differ.
    pub(crate) fn advance_clock(&self, clock: u64) {
        self.ordinals.fetch_max(clock.min(MAX_CLOCK), Ordering::Relaxed);
    }

    fn ordinals(&self, count: u64) -> Ordinal {
        // No other memory access depends on this counter.
        Ordinal(self.ordinals.fetch_add(count, Ordering::Relaxed) + 1)
    }

    /// Publishes the content of a shard. The counts are relaxed: a slightly stale estimate
    /// suffices.
    pub(crate) fn set_content(&self, shard: usize, content: &Content) {
        let Content { clients, uids, memberships, sessions, largest_session, presence } = *content;
        let shared = &self.content[shard];
        for (shared, now) in [
            (&shared.clients, clients),
            (&shared.uids, uids),
            (&shared.memberships, memberships),
            (&shared.sessions, sessions),
            (&shared.largest_session, largest_session),
            (&shared.presence, presence),
        ] {
            shared.store(now, Ordering::Relaxed);
        }
    }

    /// The content of all shards.
    pub(crate) fn content(&self) -> Content {
        let load = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let each = self.content.iter().map(|shared| Content {
            clients: load(&shared.clients),
            uids: load(&shared.uids),
            memberships: load(&shared.memberships),
            sessions: load(&shared.sessions),
            largest_session: load(&shared.largest_session),
            presence: load(&shared.presence),
        });
        each.fold(Content::default(), Content::add)
    }

    /// Sends messages to a shard, and adds their weight to its backlog.
    pub(crate) fn send_to_shard(&self, shard: usize, messages: &mut Vec<ToShard>) {
        let weight = messages.iter().map(ToShard::weight).sum();
        self.ahead[shard].fetch_add(weight, Ordering::Relaxed);
        self.shards[shard].push_all(messages);
    }

    /// The shard of a connection id, if the connection exists on this gateway.
    pub(crate) fn shard_of(&self, id: ConnectionId) -> usize {
        id.0 as usize % self.shards.len()
    }
}
