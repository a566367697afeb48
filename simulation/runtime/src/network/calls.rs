//! System calls of processes.

use std::{collections::VecDeque, io::ErrorKind, net::SocketAddr, task::Waker};

use rand::RngExt as _;

use super::{End, EndId, HostId, Listener, Network, Packet, WINDOW, host_of, watch};

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

    fn end(host: HostId, remote_host: HostId, local: SocketAddr, remote: SocketAddr) -> End {
        End {
            host,
            remote_host,
            local,
            remote,
            peer: None,
            connected: false,
            open: true,
            discarded: false,
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
        let remote_host = host_of(to).filter(|host| *host < self.hosts.len());
        let remote_host = remote_host.ok_or(ErrorKind::HostUnreachable)?;
        let (here, id) = (self.here, self.ends.len());
        let local = SocketAddr::from(([10, 0, 0, here as u8 + 1], self.port()));
        self.ends.push(Self::end(here, remote_host, local, to));
        self.send(id, Packet::Open);
        Ok(id)
    }

    /// A connection request has arrived.
    pub(super) fn opened(&mut self, from: EndId) {
        let &End { host, remote_host, local, remote, open, discarded, .. } = &self.ends[from];
        if discarded || !open {
            // The connecting process has closed it meanwhile.
            return;
        }
        let id = self.ends.len();
        let mut end = Self::end(remote_host, host, remote, local);
        (end.peer, end.connected) = (Some(from), true);
        let listener = self.listeners.get_mut(&remote).filter(|it| it.host == remote_host);
        let Some(listener) = listener else {
            (end.open, end.discarded) = (false, true);
            self.ends.push(end);
            return self.send(id, Packet::Refused);
        };
        listener.backlog.push_back(id);
        self.wakers.append(&mut listener.waiting);
        self.ends.push(end);
        self.send(id, Packet::Accepted(id));
    }

    /// The number of bytes that may be sent before the window is full.
    pub(crate) fn room(&self, id: EndId) -> usize {
        WINDOW.saturating_sub(self.ends[id].unread)
    }

    pub(crate) fn write(&mut self, id: EndId, bytes: &[u8]) {
        self.ends[id].unread += bytes.len();
        // Some writes arrive in two pieces, split anywhere.
        if 1 < bytes.len() && self.rng.random_ratio(1, 8) {
            let (one, other) = bytes.split_at(self.rng.random_range(1..bytes.len()));
            self.send(id, Packet::Data(one.to_vec()));
            self.send(id, Packet::Data(other.to_vec()));
        } else {
            self.send(id, Packet::Data(bytes.to_vec()));
        }
    }

    /// The process has read that many bytes.
    pub(crate) fn taken(&mut self, id: EndId, count: usize) {
        if !self.ends[id].discarded {
            self.send(id, Packet::Taken(count));
        }
    }

    pub(crate) fn shut(&mut self, id: EndId) {
        let end = &mut self.ends[id];
        if !end.discarded && !std::mem::replace(&mut end.shut, true) {
            self.send(id, Packet::End);
        }
    }

    /// The process closes it. If it has unread data, that is lost, and the peer receives a reset.
    pub(crate) fn close(&mut self, id: EndId) {
        let end = &mut self.ends[id];
        self.wakers.append(&mut end.readers);
        self.wakers.append(&mut end.writers);
        if !std::mem::replace(&mut end.open, false) || end.discarded {
            return;
        }
        if !end.connected {
            end.discarded = true;
        } else if end.inbox.is_empty() {
            self.shut(id);
        } else {
            self.reset(id);
        }
    }

    pub(super) fn reset(&mut self, id: EndId) {
        let end = &mut self.ends[id];
        if !end.discarded {
            (end.open, end.discarded) = (false, true);
            self.send(id, Packet::Reset);
        }
    }
}
