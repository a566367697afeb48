//! The network: hosts, listeners, connections, and what is on its way between them.
//!
//! Each end of a connection has a pipe of what its kernel has sent and the other's has not had yet,
//! so nothing overtakes anything else on it. Where a link is blocked or a host is off, it waits in
//! the pipe, as it would be sent again and again; a host that is switched off loses its pipes.

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

/// A host, by its place.
pub(crate) type HostId = usize;
/// An end of a connection.
pub(crate) type EndId = usize;

/// How many bytes may be under way, or unread, in one direction.
const WINDOW: usize = 128 * 1024;

/// How long, in nanoseconds, a byte is under way at the least.
const NEAR: u64 = 50_000;

/// How long it may take until what was sent in vain is sent again.
const AGAIN: u64 = 400_000_000;

thread_local! {
    static NETWORK: RefCell<Network> = RefCell::new(Network::new(0, false));
}

/// The network of this thread. Whoever waits is woken when `act` is through.
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
    dice: StdRng,
}

#[derive(Debug)]
struct Host {
    on: bool,
    last_port: u16,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    blocked: u32,
    /// What bytes take, and by how much that varies, in nanoseconds.
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

/// An end of a connection, as the kernel of its host has it.
#[derive(Debug)]
pub(crate) struct End {
    host: HostId,
    there: HostId,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    peer: Option<EndId>,
    /// Whether the other side has accepted it.
    pub(crate) connected: bool,
    /// Whether the process still has it.
    open: bool,
    /// Whether the kernel has forgotten it.
    gone: bool,
    pub(crate) inbox: VecDeque<u8>,
    /// Whether nothing comes behind what is in the inbox.
    pub(crate) ended: bool,
    pub(crate) error: Option<ErrorKind>,
    pub(crate) shut: bool,
    /// Bytes that were sent, and not taken by the other process yet.
    unread: usize,
    pipe: VecDeque<Flight>,
    /// How many of the pipe wait until they get through.
    stuck: usize,
    arrival: u64,
    pub(crate) readers: Vec<Waker>,
    pub(crate) writers: Vec<Waker>,
}

#[derive(Debug)]
enum Flight {
    Open,
    Accepted(EndId),
    Refused,
    Data(Vec<u8>),
    Taken(usize),
    End,
    Reset,
}

/// Ten hosts to a network is enough; the number of one is the last part of its address.
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
            dice: StdRng::seed_from_u64(seed),
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
            // Of one data centre, or of two.
            let most = self.dice.random_range(1..2_000_000);
            let delay = NEAR + self.dice.random_range(0..most);
            let link = Link { blocked: 0, delay, extra: 0 };
            self.links.insert((new, other), link);
            self.links.insert((other, new), link);
        }
        new
    }

    // --- what is done to it -------------------------------------------------------------------

    /// The process of a host ends, and its kernel says so to everybody.
    pub(crate) fn end_process(&mut self, host: HostId) {
        self.trace.note(self.now, "end", &[host as u64], &[]);
        let theirs: Vec<_> = self.listeners.iter().filter(|(_, it)| it.host == host).collect();
        let ids: Vec<_> = theirs.into_iter().map(|(addr, it)| (*addr, it.id)).collect();
        for (addr, id) in ids {
            self.close_listener(addr, id);
        }
        for end in 0..self.ends.len() {
            if self.ends[end].host == host && self.ends[end].open {
                self.close(end);
            }
        }
    }

    /// A host loses power: nobody hears anything of it.
    pub(crate) fn switch_off(&mut self, host: HostId) {
        self.trace.note(self.now, "off", &[host as u64], &[]);
        self.hosts[host].on = false;
        self.listeners.retain(|_, listener| listener.host != host);
        for end in self.ends.iter_mut().filter(|end| end.host == host) {
            (end.open, end.gone) = (false, true);
            end.pipe.clear();
            end.stuck = 0;
        }
    }

    /// It is back, and knows of no connection.
    pub(crate) fn switch_on(&mut self, host: HostId) {
        self.trace.note(self.now, "on", &[host as u64], &[]);
        self.hosts[host].on = true;
        for other in 0..self.hosts.len() {
            self.send_again(other, host);
        }
    }

    /// Nothing gets from one host to another, until it is unblocked as often.
    pub(crate) fn block(&mut self, from: HostId, to: HostId) {
        if let Some(link) = self.links.get_mut(&(from, to)) {
            link.blocked += 1;
        }
    }

    pub(crate) fn unblock(&mut self, from: HostId, to: HostId) {
        if let Some(link) = self.links.get_mut(&(from, to)) {
            link.blocked -= 1;
        }
        self.send_again(from, to);
    }

    /// What bytes from one host to another take, beside what they always do, in nanoseconds.
    pub(crate) fn slow_down(&mut self, from: HostId, to: HostId, extra: u64) {
        if let Some(link) = self.links.get_mut(&(from, to)) {
            link.extra = extra;
        }
    }

    /// Connections between two hosts break, for the ends that the dice choose.
    pub(crate) fn cut(&mut self, one: HostId, other: HostId, ends: [bool; 2]) {
        for id in 0..self.ends.len() {
            let end = &self.ends[id];
            let hit = (end.host, end.there) == (one, other) && ends[0]
                || (end.host, end.there) == (other, one) && ends[1];
            if hit && !end.gone {
                self.fail(id, ErrorKind::ConnectionReset);
            }
        }
    }

    fn passes(&self, from: HostId, to: HostId) -> bool {
        self.hosts[to].on && self.links.get(&(from, to)).is_none_or(|link| link.blocked == 0)
    }

    fn send_again(&mut self, from: HostId, to: HostId) {
        if !self.passes(from, to) {
            return;
        }
        for id in 0..self.ends.len() {
            let end = &mut self.ends[id];
            if (end.host, end.there) == (from, to) && end.stuck != 0 {
                let stuck = std::mem::take(&mut end.stuck);
                let later = self.dice.random_range(0..AGAIN);
                for _ in 0..stuck {
                    self.schedule(id, later);
                }
            }
        }
    }

    // --- time ---------------------------------------------------------------------------------

    /// When something arrives next.
    pub(crate) fn next_arrival(&self) -> Option<u64> {
        self.events.peek().map(|Reverse((at, ..))| *at)
    }

    /// Has everything arrive that is due by `now`.
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

    /// Hosts at which something has arrived since this was asked.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<HostId> {
        std::mem::take(&mut self.touched)
    }

    fn schedule(&mut self, id: EndId, later: u64) {
        let end = &self.ends[id];
        let delay = match self.links.get(&(end.host, end.there)) {
            Some(link) => {
                let jitter = (link.delay + link.extra) / 2;
                link.delay + link.extra + self.dice.random_range(0..=jitter)
            }
            None => NEAR,
        };
        let end = &mut self.ends[id];
        end.arrival = end.arrival.max(self.now + delay + later);
        self.last_event += 1;
        self.events.push(Reverse((end.arrival, self.last_event, id)));
    }

    fn send(&mut self, from: EndId, flight: Flight) {
        self.ends[from].pipe.push_back(flight);
        self.schedule(from, 0);
    }

    /// The next of an end's pipe comes to its other side.
    fn arrive(&mut self, from: EndId) {
        let end = &mut self.ends[from];
        if end.pipe.is_empty() {
            return;
        }
        let (here, there) = (end.host, end.there);
        if !self.passes(here, there) {
            self.ends[from].stuck += 1;
            return;
        }
        let Some(flight) = self.ends[from].pipe.pop_front() else { return };
        self.touched.insert(there);
        let numbers = [here as u64, there as u64, from as u64];
        let peer = self.ends[from].peer;
        match flight {
            Flight::Open => {
                self.trace.note(self.now, "open", &numbers, &[]);
                self.opened(from);
            }
            Flight::Accepted(theirs) => {
                self.trace.note(self.now, "accepted", &numbers, &[]);
                let Some(peer) = peer else { return };
                let end = &mut self.ends[peer];
                end.peer = Some(theirs);
                if end.gone || !end.open {
                    return self.send(peer, Flight::Reset);
                }
                end.connected = true;
                self.wake(peer);
            }
            Flight::Refused => {
                self.trace.note(self.now, "refused", &numbers, &[]);
                if let Some(peer) = peer {
                    self.fail(peer, ErrorKind::ConnectionRefused);
                }
            }
            Flight::Data(bytes) => {
                self.trace.note(self.now, "data", &numbers, &bytes);
                let Some(peer) = peer else { return };
                let end = &mut self.ends[peer];
                if end.gone || !end.open {
                    return self.send(peer, Flight::Reset);
                }
                end.inbox.extend(bytes);
                self.wakers.append(&mut end.readers);
            }
            Flight::Taken(count) => {
                let Some(peer) = peer else { return };
                let end = &mut self.ends[peer];
                end.unread -= count.min(end.unread);
                self.wakers.append(&mut end.writers);
            }
            Flight::End => {
                self.trace.note(self.now, "fin", &numbers, &[]);
                let Some(peer) = peer else { return };
                self.ends[peer].ended = true;
                self.wakers.append(&mut self.ends[peer].readers);
            }
            Flight::Reset => {
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
        if end.gone {
            return;
        }
        end.gone = true;
        end.error.get_or_insert(error);
        self.touched.insert(end.host);
        self.wake(id);
    }
}

/// Remembers whom to wake.
pub(crate) fn watch(waiting: &mut Vec<Waker>, waker: &Waker) {
    if !waiting.iter().any(|known| known.will_wake(waker)) {
        waiting.push(waker.clone());
    }
}
