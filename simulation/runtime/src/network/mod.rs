//! The network: hosts, listeners, connections, and packets in flight.
//!
//! Each end of a connection has a pipe of packets that its kernel has sent and the other kernel has
//! not received yet, so packets are not reordered. While a link is blocked or a host is off, they
//! wait in the pipe, as for a retransmission; a host that is switched off loses its pipes.

mod calls;

use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    io::ErrorKind,
    net::SocketAddr,
    task::Waker,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::trace::Trace;

/// The index of a host.
pub(crate) type HostId = usize;
/// The index of an end of a connection.
pub(crate) type EndId = usize;

/// Maximum number of bytes in flight or unread, per direction.
const WINDOW: usize = 128 * 1024;

/// Minimum delay of a packet, in nanoseconds.
const NEAR: u64 = 50_000;

/// Maximum time until a blocked packet is retransmitted, in nanoseconds.
const RETRANSMIT: u64 = 400_000_000;

thread_local! {
    static NETWORK: RefCell<Network> = RefCell::new(Network::new(0, false));
}

/// Calls `act` with the network of this thread, and then wakes the tasks that it made ready.
pub(crate) fn with<T>(act: impl FnOnce(&mut Network) -> T) -> T {
    let (result, wakers) = NETWORK.with_borrow_mut(|network| {
        let result = act(network);
        (result, std::mem::take(&mut network.wakers))
    });
    wakers.into_iter().for_each(Waker::wake);
    result
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) now: u64,
    /// The host whose process runs.
    pub(crate) here: HostId,
    pub(crate) trace: Trace,
    hosts: Vec<Host>,
    links: BTreeMap<(HostId, HostId), Link>,
    listeners: BTreeMap<SocketAddr, Listener>,
    last_listener: u64,
    pub(crate) ends: Vec<End>,
    events: BinaryHeap<Reverse<(u64, u64, EndId)>>,
    last_event: u64,
    wakers: Vec<Waker>,
    touched: BTreeSet<HostId>,
    rng: StdRng,
}

#[derive(Debug)]
struct Host {
    on: bool,
    last_port: u16,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    blocked: u32,
    /// Base delay and additional delay, in nanoseconds.
    delay: u64,
    extra: u64,
}

#[derive(Debug)]
struct Listener {
    id: u64,
    host: HostId,
    backlog: VecDeque<EndId>,
    waiting: Vec<Waker>,
}

/// An end of a connection: the state in the kernel of its host.
#[derive(Debug)]
pub(crate) struct End {
    host: HostId,
    remote_host: HostId,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    peer: Option<EndId>,
    /// Whether the remote kernel has accepted it.
    pub(crate) connected: bool,
    /// Whether the process has it open.
    open: bool,
    /// Whether the kernel has discarded it.
    discarded: bool,
    pub(crate) inbox: VecDeque<u8>,
    /// Whether a FIN was received: nothing follows the contents of the inbox.
    pub(crate) ended: bool,
    pub(crate) error: Option<ErrorKind>,
    pub(crate) shut: bool,
    /// Bytes that were sent, and not read by the remote process yet.
    unread: usize,
    pipe: VecDeque<Packet>,
    /// Number of packets of the pipe that wait for a retransmission.
    stuck: usize,
    arrival: u64,
    pub(crate) readers: Vec<Waker>,
    pub(crate) writers: Vec<Waker>,
}

#[derive(Debug)]
enum Packet {
    Open,
    Accepted(EndId),
    Refused,
    Data(Vec<u8>),
    Taken(usize),
    End,
    Reset,
}

/// The host with that address, whose last octet is its index plus one.
fn host_of(addr: SocketAddr) -> Option<HostId> {
    match addr.ip() {
        std::net::IpAddr::V4(ip) => usize::from(ip.octets()[3]).checked_sub(1),
        std::net::IpAddr::V6(_) => None,
    }
}

impl Network {
    pub(crate) fn new(seed: u64, lines: bool) -> Self {
        Self {
            now: 0,
            here: 0,
            trace: Trace::new(lines),
            hosts: Vec::new(),
            links: BTreeMap::new(),
            listeners: BTreeMap::new(),
            last_listener: 0,
            ends: Vec::new(),
            events: BinaryHeap::new(),
            last_event: 0,
            wakers: Vec::new(),
            touched: BTreeSet::new(),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Replaces the network of this thread.
    pub(crate) fn install(self) {
        let old = NETWORK.replace(self);
        drop(old);
    }

    pub(crate) fn add_host(&mut self) -> HostId {
        let new = self.hosts.len();
        self.hosts.push(Host { on: true, last_port: 32_768 });
        for other in 0..new {
            // From within one data center to between two.
            let most = self.rng.random_range(1..2_000_000);
            let delay = NEAR + self.rng.random_range(0..most);
            let link = Link { blocked: 0, delay, extra: 0 };
            self.links.insert((new, other), link);
            self.links.insert((other, new), link);
        }
        new
    }

    // --- faults -------------------------------------------------------------------------------

    /// The process of a host ends, and its kernel closes its sockets.
    pub(crate) fn end_process(&mut self, host: HostId) {
        self.trace.note(self.now, "end", &[host as u64], &[]);
        let own: Vec<_> = self.listeners.iter().filter(|(_, it)| it.host == host).collect();
        let ids: Vec<_> = own.into_iter().map(|(addr, it)| (*addr, it.id)).collect();
        for (addr, id) in ids {
            self.close_listener(addr, id);
        }
        for end in 0..self.ends.len() {
            if self.ends[end].host == host && self.ends[end].open {
                self.close(end);
            }
        }
    }

    /// A host loses power: it sends nothing any more.
    pub(crate) fn switch_off(&mut self, host: HostId) {
        self.trace.note(self.now, "off", &[host as u64], &[]);
        self.hosts[host].on = false;
        self.listeners.retain(|_, listener| listener.host != host);
        for end in self.ends.iter_mut().filter(|end| end.host == host) {
            (end.open, end.discarded) = (false, true);
            end.pipe.clear();
            end.stuck = 0;
        }
    }

    /// A host boots, without connections.
    pub(crate) fn switch_on(&mut self, host: HostId) {
        self.trace.note(self.now, "on", &[host as u64], &[]);
        self.hosts[host].on = true;
        for other in 0..self.hosts.len() {
            self.retransmit(other, host);
        }
    }

    /// Blocks packets from one host to another, until it is unblocked as often.
    pub(crate) fn block(&mut self, from: HostId, to: HostId) {
        if let Some(link) = self.links.get_mut(&(from, to)) {
            link.blocked += 1;
        }
    }

    pub(crate) fn unblock(&mut self, from: HostId, to: HostId) {
        if let Some(link) = self.links.get_mut(&(from, to)) {
            link.blocked -= 1;
        }
        self.retransmit(from, to);
    }

    /// Sets the additional delay of packets from one host to another, in nanoseconds.
    pub(crate) fn slow_down(&mut self, from: HostId, to: HostId, extra: u64) {
        if let Some(link) = self.links.get_mut(&(from, to)) {
            link.extra = extra;
        }
    }

    /// Breaks connections between two hosts, at the selected ends.
    pub(crate) fn cut(&mut self, one: HostId, other: HostId, ends: [bool; 2]) {
        for id in 0..self.ends.len() {
            let end = &self.ends[id];
            let hit = (end.host, end.remote_host) == (one, other) && ends[0]
                || (end.host, end.remote_host) == (other, one) && ends[1];
            if hit && !end.discarded {
                self.fail(id, ErrorKind::ConnectionReset);
            }
        }
    }

    fn passes(&self, from: HostId, to: HostId) -> bool {
        self.hosts[to].on && self.links.get(&(from, to)).is_none_or(|link| link.blocked == 0)
    }

    fn retransmit(&mut self, from: HostId, to: HostId) {
        if !self.passes(from, to) {
            return;
        }
        for id in 0..self.ends.len() {
            let end = &mut self.ends[id];
            if (end.host, end.remote_host) == (from, to) && end.stuck != 0 {
                let stuck = std::mem::take(&mut end.stuck);
                let later = self.rng.random_range(0..RETRANSMIT);
                for _ in 0..stuck {
                    self.schedule(id, later);
                }
            }
        }
    }

    // --- time ---------------------------------------------------------------------------------

    /// The time of the next arrival.
    pub(crate) fn next_arrival(&self) -> Option<u64> {
        self.events.peek().map(|Reverse((at, ..))| *at)
    }

    /// Advances the time, and delivers everything that is due by `now`.
    pub(crate) fn advance(&mut self, now: u64) {
        while let Some(Reverse((at, _, end))) = self.events.peek().copied() {
            if now < at {
                break;
            }
            self.events.pop();
            self.now = self.now.max(at);
            self.arrive(end);
        }
        self.now = self.now.max(now);
    }

    /// The hosts that have received something since the last call.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<HostId> {
        std::mem::take(&mut self.touched)
    }

    fn schedule(&mut self, id: EndId, later: u64) {
        let end = &self.ends[id];
        let delay = match self.links.get(&(end.host, end.remote_host)) {
            Some(link) => {
                let jitter = (link.delay + link.extra) / 2;
                link.delay + link.extra + self.rng.random_range(0..=jitter)
            }
            None => NEAR,
        };
        let end = &mut self.ends[id];
        end.arrival = end.arrival.max(self.now + delay + later);
        self.last_event += 1;
        self.events.push(Reverse((end.arrival, self.last_event, id)));
    }

    fn send(&mut self, from: EndId, packet: Packet) {
        self.ends[from].pipe.push_back(packet);
        self.schedule(from, 0);
    }

    /// Delivers the next packet of an end's pipe to the remote end.
    fn arrive(&mut self, from: EndId) {
        let end = &mut self.ends[from];
        if end.pipe.is_empty() {
            return;
        }
        let (here, remote_host) = (end.host, end.remote_host);
        if !self.passes(here, remote_host) {
            self.ends[from].stuck += 1;
            return;
        }
        let Some(packet) = self.ends[from].pipe.pop_front() else { return };
        self.touched.insert(remote_host);
        let numbers = [here as u64, remote_host as u64, from as u64];
        let peer = self.ends[from].peer;
        match packet {
            Packet::Open => {
                self.trace.note(self.now, "open", &numbers, &[]);
                self.opened(from);
            }
            Packet::Accepted(theirs) => {
                self.trace.note(self.now, "accepted", &numbers, &[]);
                let Some(peer) = peer else { return };
                let end = &mut self.ends[peer];
                end.peer = Some(theirs);
                if end.discarded || !end.open {
                    return self.send(peer, Packet::Reset);
                }
                end.connected = true;
                self.wake(peer);
            }
            Packet::Refused => {
                self.trace.note(self.now, "refused", &numbers, &[]);
                if let Some(peer) = peer {
                    self.fail(peer, ErrorKind::ConnectionRefused);
                }
            }
            Packet::Data(bytes) => {
                self.trace.note(self.now, "data", &numbers, &bytes);
                let Some(peer) = peer else { return };
                let end = &mut self.ends[peer];
                if end.discarded || !end.open {
                    return self.send(peer, Packet::Reset);
                }
                end.inbox.extend(bytes);
                self.wakers.append(&mut end.readers);
            }
            Packet::Taken(count) => {
                let Some(peer) = peer else { return };
                let end = &mut self.ends[peer];
                end.unread -= count.min(end.unread);
                self.wakers.append(&mut end.writers);
            }
            Packet::End => {
                self.trace.note(self.now, "fin", &numbers, &[]);
                let Some(peer) = peer else { return };
                self.ends[peer].ended = true;
                self.wakers.append(&mut self.ends[peer].readers);
            }
            Packet::Reset => {
                self.trace.note(self.now, "reset", &numbers, &[]);
                if let Some(peer) = peer {
                    self.fail(peer, ErrorKind::ConnectionReset);
                }
            }
        }
    }

    fn wake(&mut self, id: EndId) {
        let end = &mut self.ends[id];
        self.wakers.append(&mut end.readers);
        self.wakers.append(&mut end.writers);
    }

    fn fail(&mut self, id: EndId, error: ErrorKind) {
        let end = &mut self.ends[id];
        if end.discarded {
            return;
        }
        end.discarded = true;
        end.error.get_or_insert(error);
        self.touched.insert(end.host);
        self.wake(id);
    }
}

/// Registers a waker, unless it is registered already.
pub(crate) fn watch(waiting: &mut Vec<Waker>, waker: &Waker) {
    if !waiting.iter().any(|known| known.will_wake(waker)) {
        waiting.push(waker.clone());
    }
}
