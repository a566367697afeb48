//! What whoever simulates does to hosts, links and time.

use crate::{
    dice,
    network::{Network, with},
};

/// A host, by its place.
pub type Host = usize;

/// Begins a world in which nothing has happened, on this thread. All of it follows from `seed`;
/// `lines` has every step kept to be read.
pub fn begin(seed: u64, lines: bool) {
    dice::seed(seed);
    Network::new(seed ^ 0x6e65_7477_6f72_6b00, lines).install();
}

/// Adds a host. The address of the first is 10.0.0.1, and so on.
#[must_use]
pub fn add_host() -> Host {
    with(Network::add_host)
}

/// What runs from here on runs on that host.
pub fn enter(host: Host) {
    with(|network| network.here = host);
}

/// The host that runs at present.
#[must_use]
pub fn here() -> Host {
    with(|network| network.here)
}

/// The time, in nanoseconds since the beginning.
#[must_use]
pub fn now() -> u64 {
    with(|network| network.now)
}

/// When something arrives next.
#[must_use]
pub fn next_arrival() -> Option<u64> {
    with(|network| network.next_arrival())
}

/// Has everything arrive that is due by then, and says at which hosts something did.
#[must_use]
pub fn advance(now: u64) -> Vec<Host> {
    with(|network| {
        network.advance(now);
        network.take_touched().into_iter().collect()
    })
}

/// The process of a host ends: its kernel closes what it had, and peers hear of that.
pub fn end_process(host: Host) {
    with(|network| network.end_process(host));
}

/// A host loses power: nobody hears anything of it any more.
pub fn switch_off(host: Host) {
    with(|network| network.switch_off(host));
}

/// It is back, and knows nothing of its connections.
pub fn switch_on(host: Host) {
    with(|network| network.switch_on(host));
}

/// Nothing gets from one host to another, until it is unblocked as often.
pub fn block(from: Host, to: Host) {
    with(|network| network.block(from, to));
}

/// See [`block`]. What was sent meanwhile comes through, in a while.
pub fn unblock(from: Host, to: Host) {
    with(|network| network.unblock(from, to));
}

/// What is sent from one host to another takes that many nanoseconds more from now on, and up to
/// half as much again.
pub fn slow_down(from: Host, to: Host, extra: u64) {
    with(|network| network.slow_down(from, to, extra));
}

/// Every connection between two hosts breaks, for the end at the one, or at the other, or for both:
/// the other end finds out when it sends something.
pub fn cut(one: Host, other: Host, ends: [bool; 2]) {
    with(|network| network.cut(one, other, ends));
}

/// Writes something into the trace.
pub fn note(what: &str, numbers: &[u64]) {
    with(|network| {
        let now = network.now;
        network.trace.note(now, what, numbers, &[]);
    });
}

/// All that has happened as one number, and line by line if that was asked for.
#[must_use]
pub fn trace() -> (u64, Vec<String>) {
    with(|network| (network.trace.digest(), network.trace.take_lines()))
}
