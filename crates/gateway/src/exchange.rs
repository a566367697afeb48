//! What the gateway's threads hand each other.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use protocol::{Command, ConnectionId, Group, Instance, Query, Row, Session};
use service::{net::Released, rate_limit::Throttle};
use tokio_util::sync::CancellationToken;

use crate::{
    descriptors::Descriptors, farewell::Farewell, inbox::Inbox, metrics::Metrics,
    placement::Places, shard::Ordinal, sight::Sight,
};

/// A link of a peer, for as long as the gateway lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId(pub(crate) u64);

/// How the link of a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkEnd {
    /// It was closed or reset from the other side, as it is when the process there ends.
    Closed,
    /// By something that says nothing about the process: silence, a newer link, or our own doing.
    Other,
}

/// A question that the hub has put to shards and not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token(pub(crate) u64);

/// Which language a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// Ours.
    Native,
    /// `GatewayWorker`'s: its peers are workers and clients written in PHP.
    Php,
}

/// What all shards know of a connected worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) language: Language,
    /// Which life of the worker it is; PHP workers do not say.
    pub(crate) instance: Option<Instance>,
    /// Where it runs.
    pub(crate) ip: IpAddr,
    /// `ip:name:id`.
    pub(crate) key: String,
    /// How many clients of this gateway it has, over all shards.
    pub(crate) clients: AtomicUsize,
}

/// What a shard is told by whoever lets connections in, and by the hub. A shard does it all in the
/// order in which it was told, and the hub tells every shard in the order in which it was told itself: that is the order of arrival at this
/// host, over all links.
#[derive(Debug)]
pub(crate) enum ToShard {
    /// This connection is yours; it came in by that one of the doors.
    Accepted { stream: Released, remote: SocketAddr, door: usize },
    /// Carry this out. `from` is the link it came on.
    Command { from: LinkId, ordinal: Ordinal, command: Command },
    /// Say what you know; with sessions in PHP's form, if the peer speaks that.
    Query { token: Token, query: Query, in_php: bool },
    /// Say so once everything before this is carried out, and handed to the hub if it is for peers.
    Barrier { token: Token },
    /// A worker is there.
    WorkerUp { link: LinkId, worker: Arc<Worker> },
    /// A worker wants no more events.
    WorkerLeaving { link: LinkId },
    /// A worker is gone, and how its link ended.
    WorkerDown { link: LinkId, end: LinkEnd },
    /// A worker has begun with all events of yours up to this one.
    Begun { link: LinkId, through: u64 },
    /// The handler of an event of yours has started, which worker processes may have ended over.
    Trying { link: LinkId, seq: u64, alone: bool },
    /// A worker is done with events of yours.
    Done { link: LinkId, first: u64, last: u64 },
    /// What a worker was told by this shard as a standby is written up to here.
    StandbyWritten { link: LinkId, through: u64 },
    /// Close every client, well within `grace`: the gateway is going down.
    Drain { grace: Duration },
}

impl ToShard {
    /// Roughly how many bytes it keeps in memory until it is carried out.
    pub(crate) fn weight(&self) -> usize {
        let more = match self {
            Self::Command { command, .. } => command.weight(),
            Self::Query { query, .. } => query.weight(),
            _ => 0,
        };
        size_of::<Self>() + more
    }

    /// Whether it may take much longer than others of its kind.
    pub(crate) fn is_heavy(&self) -> bool {
        match self {
            Self::Command { command, .. } => command.session().is_some(),
            Self::WorkerUp { .. } | Self::WorkerLeaving { .. } | Self::WorkerDown { .. } => true,
            _ => false,
        }
    }
}

/// What a shard tells the hub.
#[derive(Debug)]
pub(crate) enum ToHub {
    /// Events for a worker, encoded in its language; those up to `last` of this shard.
    Events { link: LinkId, shard: u16, last: u64, frames: Bytes },
    /// What a worker is to know of other workers' clients, as a standby. The shard is to be told once
    /// this is written if it says up to where that is.
    Standby { link: LinkId, shard: u16, frames: Bytes, confirm: Option<u64> },
    /// What this shard knows.
    Part { token: Token, part: Part },
    /// Clients make the shard hold too much, or no longer do.
    Pressed { shard: u16, pressed: bool },
    /// The shard has no connections any more, and workers are done with all events that they have.
    Drained { shard: u16 },
}

/// One shard's part of an answer. The ordinals are what the parts are put in order by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Online(bool),
    Session(Option<Session>),
    Sessions(Vec<(Ordinal, ConnectionId, Session)>),
    /// For each asked uid.
    Clients(Vec<Vec<(Ordinal, ConnectionId)>>),
    Count([u64; 1]),
    /// For each asked group.
    Counts(Vec<u64>),
    Groups(Vec<(Ordinal, Group)>),
    /// With the position of what matched in the filter.
    Rows(Vec<(usize, Ordinal, Row)>),
    /// Everything before the barrier is done.
    Barrier,
}

/// How much a shard holds of what peers may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// How many clients there are.
    pub(crate) clients: usize,
    /// Bytes of their uids.
    pub(crate) uids: usize,
    /// Bytes of the names of their groups, for each member.
    pub(crate) memberships: usize,
    /// Bytes of their sessions.
    pub(crate) sessions: usize,
    /// Bytes of the largest session that there ever was.
    pub(crate) largest_session: usize,
}

impl Content {
    /// Both together.
    pub(crate) fn add(self, other: Self) -> Self {
        Self {
            clients: self.clients + other.clients,
            uids: self.uids + other.uids,
            memberships: self.memberships + other.memberships,
            sessions: self.sessions + other.sessions,
            largest_session: self.largest_session.max(other.largest_session),
        }
    }
}

/// The content of a shard, as it has told others.
#[derive(Debug, Default)]
struct SharedContent {
    clients: AtomicUsize,
    uids: AtomicUsize,
    memberships: AtomicUsize,
    sessions: AtomicUsize,
    largest_session: AtomicUsize,
}

/// What all threads of a gateway share.
#[derive(Debug)]
pub(crate) struct Host {
    /// The inner address that the gateway announces.
    pub(crate) address: SocketAddr,
    /// Which life of the gateway this is.
    pub(crate) instance: Instance,
    /// Cancelled when this life was taken for over.
    pub(crate) written_off: CancellationToken,
    /// When no register knew of it.
    pub(crate) sight: Sight,
    pub(crate) hub: Inbox<ToHub>,
    pub(crate) shards: Vec<Inbox<ToShard>>,
    /// How far each shard is behind, in bytes of what it was told.
    pub(crate) ahead: Vec<AtomicUsize>,
    /// What each shard holds.
    content: Vec<SharedContent>,
    pub(crate) metrics: Metrics,
    pub(crate) farewell: Farewell,
    pub(crate) places: Places,
    /// How many connections of each kind there may be.
    pub(crate) descriptors: Descriptors,
    /// Limits the warnings about refused handshakes, over all shards.
    pub(crate) refusal_warnings: Mutex<Throttle>,
    ordinals: AtomicU64,
}

impl Host {
    pub(crate) fn new(
        address: SocketAddr,
        instance: Instance,
        places: Places,
        metrics: Metrics,
        sight: Sight,
        descriptors: Descriptors,
    ) -> Self {
        let shards = places.threads();
        let ahead = (0..shards).map(|_| AtomicUsize::new(0)).collect();
        let content = (0..shards).map(|_| SharedContent::default()).collect();
        let shards = (0..shards).map(|_| Inbox::new()).collect();
        Self {
            address,
            instance,
            written_off: CancellationToken::new(),
            sight,
            hub: Inbox::new(),
            shards,
            ahead,
            content,
            metrics,
            farewell: Farewell::default(),
            places,
            descriptors,
            refusal_warnings: Mutex::new(Throttle::per_second()),
            ordinals: AtomicU64::new(0),
        }
    }

    /// The next ordinal: larger than all before, whoever asks.
    pub(crate) fn ordinal(&self) -> Ordinal {
        // Nothing else is ordered by this count, so it needs no stronger ordering.
        Ordinal(self.ordinals.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Tells others what a shard holds. Nothing is ordered by these counts: an estimate that is a moment
    /// old will do.
    pub(crate) fn set_content(&self, shard: usize, content: &Content) {
        let Content { clients, uids, memberships, sessions, largest_session } = *content;
        let shared = &self.content[shard];
        for (shared, now) in [
            (&shared.clients, clients),
            (&shared.uids, uids),
            (&shared.memberships, memberships),
            (&shared.sessions, sessions),
            (&shared.largest_session, largest_session),
        ] {
            shared.store(now, Ordering::Relaxed);
        }
    }

    /// What all shards hold.
    pub(crate) fn content(&self) -> Content {
        let load = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let each = self.content.iter().map(|shared| Content {
            clients: load(&shared.clients),
            uids: load(&shared.uids),
            memberships: load(&shared.memberships),
            sessions: load(&shared.sessions),
            largest_session: load(&shared.largest_session),
        });
        each.fold(Content::default(), Content::add)
    }

    /// Hands a shard what it is told, and counts how far it is behind.
    pub(crate) fn tell(&self, shard: usize, messages: &mut Vec<ToShard>) {
        let weight = messages.iter().map(ToShard::weight).sum();
        self.ahead[shard].fetch_add(weight, Ordering::Relaxed);
        self.shards[shard].push_all(messages);
    }

    /// The shard that a connection is on, if it is on this gateway at all.
    pub(crate) fn shard_of(&self, id: ConnectionId) -> usize {
        id.0 as usize % self.shards.len()
    }
}
