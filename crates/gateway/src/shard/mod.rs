//! A shard: the clients of one thread, their indexes, and the events queued for workers.
//!
//! A shard owns its state exclusively: it takes no locks and never blocks. It applies a message
//! from the hub, or input from a socket, immediately; output is collected and written once the
//! thread has processed everything that was ready (see [`Shard::run_once`]). Threads exchange
//! messages in batches.
//!
//! Each folder is a part, or what joins parts: `connections`, `indexes` and `delivery` own sockets,
//! names and events; `clients` and `events` follow a client and its events through them; `commands`,
//! `pressure` and `standby` are what a shard does besides.

mod clients;
mod close_codes;
mod commands;
mod compression;
mod connections;
mod delivery;
mod event_loop;
mod events;
mod history;
mod indexes;
mod presence;
mod pressure;
mod report;
mod run;
mod schedule;
mod slot;
mod standby;
mod streams;
mod tails;
#[cfg(test)]
mod test_shard;
mod traces;
mod warnings;

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Instant};

use protocol::{ClientId, ConnectionId};
use runtime::{clock, net::TcpStream, token_bucket::Bucket};
use rustc_hash::FxHashSet;
use tokio::sync::Notify;

use self::{
    clients::{Admission, ConnectionIds, Drain, PingClock, Sweeps},
    close_codes::CodesOfWorkers,
    commands::Commands,
    compression::Compression,
    connections::{ClientRates, Connections},
    delivery::Delivery,
    history::History,
    indexes::{Directory, TokenHolders},
    presence::Presence,
    pressure::Pressure,
    report::Tally,
    schedule::Schedule,
    slot::SlotKey,
    standby::StandbyState,
    streams::Streams,
    tails::Tails,
    traces::Traces,
    warnings::Warnings,
};
use crate::{
    settings::{Listener, Settings},
    thread_messages::GatewayState,
};

pub(crate) use self::run::run;

/// The clients of one thread and their state: a composition of parts. A method that needs one part
/// only is a method of that part; methods of the shard join several.
#[derive(Debug)]
pub(crate) struct Shard {
    index: u16,
    started: Instant,
    gateway: Arc<GatewayState>,
    settings: Arc<Settings>,
    /// Connections that are to become clients.
    admission: Admission,
    connections: Connections,
    directory: Directory<SlotKey>,
    /// The tokens of clients that have one.
    token_holders: TokenHolders,
    /// The close codes that workers have declared.
    close_codes: CodesOfWorkers,
    /// Events on their way to workers.
    delivery: Delivery,
    /// Standbys of disconnected clients, and the sweep for clients that lack one.
    standby: StandbyState,
    /// Watched groups and their members.
    presence: Presence,
    /// Streams, and the clients that recover.
    streams: Streams,
    /// Memory that connections hold.
    pressure: Pressure,
    /// The compressor and the decompressor.
    compression: Compression,
    /// The connections that count for the limits of their addresses, if only some do.
    counted: FxHashSet<SlotKey>,
    /// The rates at which clients send, if they have limits.
    rates: Option<Box<ClientRates>>,
    /// Notified when the next client is resumed at another time.
    resume_timer: Rc<Notify>,
    /// The rate of accepted connections, at the shard with the listeners.
    handshakes: Bucket,
    /// Messages from the hub.
    commands: Commands,
    /// Sweeps for silent clients.
    sweeps: Sweeps,
    ping_clock: PingClock,
    schedule: Schedule,
    tally: Tally,
    /// The last lifecycle events.
    history: History,
    /// Messages for operators.
    tails: Tails,
    traces: Traces,
    warnings: Warnings,
    /// Set during graceful shutdown.
    drain: Option<Drain>,
}

/// A connection accepted for this shard.
#[derive(Debug)]
pub(crate) struct Accepted {
    stream: TcpStream,
    remote: SocketAddr,
    /// Index of the listener that accepted it.
    listener: usize,
}

impl Shard {
    pub(crate) fn new(
        index: u16,
        gateway: Arc<GatewayState>,
        settings: Arc<Settings>,
        listeners: Vec<Listener>,
        random: u32,
    ) -> Self {
        let (number, shards) = (u32::from(index), gateway.shards.len() as u32);
        let ids = match settings.compat_behavior.randomize_ids {
            true => ConnectionIds::random_start(number, shards, random),
            false => ConnectionIds::from_one(number, shards),
        };
        Self {
            index,
            started: clock::now(),
            admission: Admission::new(listeners, ids),
            connections: Connections::new(),
            directory: Directory::new(),
            token_holders: TokenHolders::default(),
            close_codes: CodesOfWorkers::default(),
            delivery: Delivery::new(index, gateway.address, Arc::clone(&settings)),
            standby: StandbyState::default(),
            presence: Presence::new(settings.memory),
            streams: Streams::new(settings.memory),
            pressure: Pressure::new(settings.memory),
            compression: Compression::new(settings.compression.as_ref()),
            counted: FxHashSet::default(),
            rates: ClientRates::new(settings.limits.of_client),
            resume_timer: Rc::default(),
            handshakes: Bucket::default(),
            commands: Commands::default(),
            sweeps: Sweeps::default(),
            ping_clock: PingClock::new(clock::now()),
            schedule: Schedule::default(),
            tally: Tally::default(),
            tails: Tails::default(),
            traces: Traces::default(),
            history: History::new(settings.event_ring, Arc::clone(&gateway)),
            warnings: Warnings::default(),
            drain: None,
            gateway,
            settings,
        }
    }

    /// The client id as it appears in logs and for peers.
    fn client_id(&self, id: ConnectionId) -> ClientId {
        ClientId::new(self.gateway.address, id)
    }

    /// Age of this shard in tenths of a second: precise enough for a client's session length, and
    /// compact.
    fn age(&self) -> u32 {
        let age = clock::now().saturating_duration_since(self.started).as_millis() / 100;
        u32::try_from(age).unwrap_or(u32::MAX)
    }
}
