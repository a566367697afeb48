//! Control of hosts, links and time by the simulation.

use crate::{
    network::{Network, with},
    random,
};

/// The index of a host.
pub type Host = usize;

/// Starts a new world on this thread. Everything in it is derived from `seed`; with `lines`, the
/// trace keeps a line for every step.
pub fn begin(seed: u64, lines: bool) {
    random::seed(seed);
    Network::new(seed ^ 0x6e65_7477_6f72_6b00, lines).install();
}

/// Adds a host. The address of the first is 10.0.0.1, and so on.
#[must_use]
pub fn add_host() -> Host {
    with(Network::add_host)
}

/// Makes `host` the current host: calls of [`crate::net`] from now on are made by its process.
pub fn enter(host: Host) {
    with(|network| network.here = host);
}

/// The current host.
#[must_use]
pub fn here() -> Host {
    with(|network| network.here)
}

/// The time, in nanoseconds since the start of the world.
#[must_use]
pub fn now() -> u64 {
    with(|network| network.now)
}

/// The time of the next arrival.
#[must_use]
pub fn next_arrival() -> Option<u64> {
    with(|network| network.next_arrival())
}

/// Advances the time, and delivers everything that is due. Returns the hosts that received
/// something.
#[must_use]
pub fn advance(now: u64) -> Vec<Host> {
    with(|network| {
        network.advance(now);
        network.take_touched().into_iter().collect()
    })
}

/// Ends the process of a host: its kernel closes its sockets, with a FIN or a reset to peers.
pub fn end_process(host: Host) {
    with(|network| network.end_process(host));
}

/// A host loses power: it sends nothing any more.
pub fn switch_off(host: Host) {
    with(|network| network.switch_off(host));
}

/// Boots a host. It has no connections, and answers packets of old ones with resets.
pub fn switch_on(host: Host) {
    with(|network| network.switch_on(host));
}

/// Blocks packets from one host to another, until [`unblock`] is called as often.
pub fn block(from: Host, to: Host) {
    with(|network| network.block(from, to));
}

/// See [`block`]. Delayed packets arrive after the retransmission timeout.
pub fn unblock(from: Host, to: Host) {
    with(|network| network.unblock(from, to));
}

/// Adds a delay in nanoseconds, and jitter of up to half of it, to packets from one host to
/// another.
pub fn slow_down(from: Host, to: Host, extra: u64) {
    with(|network| network.slow_down(from, to, extra));
}

/// Breaks every connection between two hosts, at the end on `one`, on `other`, or at both. An end
/// that is not broken detects it when it sends.
pub fn cut(one: Host, other: Host, ends: [bool; 2]) {
    with(|network| network.cut(one, other, ends));
}

/// Adds an entry to the trace.
pub fn note(what: &str, numbers: &[u64]) {
    with(|network| {
        let now = network.now;
        network.trace.note(now, what, numbers, &[]);
    });
}

/// The digest of the trace, and its lines if they were requested.
#[must_use]
pub fn trace() -> (u64, Vec<String>) {
    with(|network| (network.trace.digest(), network.trace.take_lines()))
}
