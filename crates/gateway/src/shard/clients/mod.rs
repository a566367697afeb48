//! The life of a connection: accepted, registered as a client, read, written, closed.
//!
//! Methods of [`Shard`](super::Shard): each step changes several of its parts.

mod admission;
mod closing;
mod drain;
mod handshakes;
mod heartbeat_sweep;
mod ids;
mod limits;
mod output;
mod pages;
mod ping_clock;
mod proxy_header;
mod reading;
mod requests;
mod tick;
mod tokens;

pub(super) use self::{
    admission::Admission, drain::Drain, heartbeat_sweep::Sweeps, ids::ConnectionIds,
    ping_clock::PingClock, tokens::RevokedClients,
};
