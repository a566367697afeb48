//! What processes ask of their kernel.

use std::{collections::VecDeque, io::ErrorKind, net::SocketAddr, task::Waker};

use rand::RngExt as _;

use super::{End, EndId, Flight, HostId, Listener, Network, WINDOW, host_of, watch};

impl Network {
    pub(crate) fn listen(&mut self, mut addr: SocketAddr) -> Result<(SocketAddr, u64), ErrorKind> {
        if addr.port() == 0 {
            addr.set_port(self.port());
        }
        if self.listeners.contains_key(&addr) {
            return Err(ErrorKind::AddrInUse);
        }
        self.last_listener += 1;
        let (id, host) = (self.last_listener, self.here);
        let listener = Listener { id, host, backlog: VecDeque::new(), waiting: Vec::new() };
        self.listeners.insert(addr, listener);
        Ok((addr, id))
    }

    fn port(&mut self) -> u16 {
        let host = &mut self.hosts[self.here];
        host.last_port = host.last_port.checked_add(1).unwrap_or(32_768);
        host.last_port
    }

    pub(crate) fn close_listener(&mut self, addr: SocketAddr, id: u64) {
        if self.listeners.get(&addr).is_some_and(|listener| listener.id == id)
            && let Some(listener) = self.listeners.remove(&addr)
        {
            self.wakers.extend(listener.waiting);
            for end in listener.backlog {
                self.reset(end);
            }
        }
    }

    pub(crate) fn accept(&mut self, addr: SocketAddr, waker: &Waker) -> Option<EndId> {
        let listener = self.listeners.get_mut(&addr)?;
        let next = listener.backlog.pop_front();
        if next.is_none() {
            watch(&mut listener.waiting, waker);
        }
        next
    }

    fn end(host: HostId, there: HostId, local: SocketAddr, remote: SocketAddr) -> End {
        End {
            host,
            there,
            local,
            remote,
            peer: None,
            connected: false,
            open: true,
            gone: false,
            inbox: VecDeque::new(),
            ended: false,
            error: None,
            shut: false,
            unread: 0,
            pipe: VecDeque::new(),
            stuck: 0,
            arrival: 0,
            readers: Vec::new(),
            writers: Vec::new(),
        }
    }

    pub(crate) fn connect(&mut self, to: SocketAddr) -> Result<EndId, ErrorKind> {
        let there = host_of(to).filter(|host| *host < self.hosts.len());
        let there = there.ok_or(ErrorKind::HostUnreachable)?;
        let (here, id) = (self.here, self.ends.len());
        let local = SocketAddr::from(([10, 0, 0, here as u8 + 1], self.port()));
        self.ends.push(Self::end(here, there, local, to));
        self.send(id, Flight::Open);
        Ok(id)
    }

    /// Somebody asks for a connection.
    pub(super) fn opened(&mut self, from: EndId) {
        let &End { host, there, local, remote, open, gone, .. } = &self.ends[from];
        if gone || !open {
            // Given up meanwhile.
            return;
        }
        let id = self.ends.len();
        let mut end = Self::end(there, host, remote, local);
        (end.peer, end.connected) = (Some(from), true);
        let listener = self.listeners.get_mut(&remote).filter(|it| it.host == there);
        let Some(listener) = listener else {
            (end.open, end.gone) = (false, true);
            self.ends.push(end);
            return self.send(id, Flight::Refused);
        };
        listener.backlog.push_back(id);
        self.wakers.append(&mut listener.waiting);
        self.ends.push(end);
        self.send(id, Flight::Accepted(id));
    }

    /// How many bytes the other side has room for.
    pub(crate) fn room(&self, id: EndId) -> usize {
        WINDOW.saturating_sub(self.ends[id].unread)
    }

    pub(crate) fn write(&mut self, id: EndId, bytes: &[u8]) {
        self.ends[id].unread += bytes.len();
        // Messages come in pieces at times, cut anywhere.
        if 1 < bytes.len() && self.dice.random_ratio(1, 8) {
            let (one, other) = bytes.split_at(self.dice.random_range(1..bytes.len()));
            self.send(id, Flight::Data(one.to_vec()));
            self.send(id, Flight::Data(other.to_vec()));
        } else {
            self.send(id, Flight::Data(bytes.to_vec()));
        }
    }

    /// The process has taken that many bytes.
    pub(crate) fn taken(&mut self, id: EndId, count: usize) {
        if !self.ends[id].gone {
            self.send(id, Flight::Taken(count));
        }
    }

    pub(crate) fn shut(&mut self, id: EndId) {
        let end = &mut self.ends[id];
        if !end.gone && !std::mem::replace(&mut end.shut, true) {
            self.send(id, Flight::End);
        }
    }

    /// The process has no more use for it: what it has not read is lost, and the peer told so.
    pub(crate) fn close(&mut self, id: EndId) {
        let end = &mut self.ends[id];
        self.wakers.append(&mut end.readers);
        self.wakers.append(&mut end.writers);
        if !std::mem::replace(&mut end.open, false) || end.gone {
            return;
        }
        if !end.connected {
            end.gone = true;
        } else if end.inbox.is_empty() {
            self.shut(id);
        } else {
            self.reset(id);
        }
    }

    pub(super) fn reset(&mut self, id: EndId) {
        let end = &mut self.ends[id];
        if !end.gone {
            (end.open, end.gone) = (false, true);
            self.send(id, Flight::Reset);
        }
    }
}
