//! The details of clients that match a filter: one page, found some clients at a time.

use std::collections::BTreeMap;

use protocol::{
    ConnectionId,
    inspect::{
        ClientDetails, ClientFilter, ClientState, Inspect, MAX_GROUPS, MAX_PAGE, MAX_PAGE_BYTES,
    },
};
use runtime::clock;

use super::targets::{Found, Targets};
use crate::{
    inspection::ShardPage,
    proxies::canonical,
    shard::{
        Shard,
        connections::{Connection, Phase},
        slot::SlotKey,
    },
    thread_messages::Ordinal,
};

/// A page in progress.
#[derive(Debug)]
pub(super) struct Inspection {
    filter: ClientFilter,
    targets: Targets,
    /// Whether `targets` are in the order of the page.
    in_order: bool,
    limit: usize,
    after: Ordinal,
    until: Ordinal,
    /// The first matching clients so far, by the time at which they have connected.
    found: BTreeMap<Ordinal, Entry>,
    /// Bytes of their names.
    bytes: usize,
    more: bool,
}

#[derive(Debug)]
struct Entry {
    details: ClientDetails,
    bytes: usize,
}

impl Inspection {
    /// Of clients that connected before `until`.
    pub(super) fn new(inspect: Inspect, until: Ordinal) -> Self {
        let Inspect { mut filter, limit, after } = inspect;
        let after = Ordinal(after);
        // The criterion that the fewest clients meet.
        let (targets, in_order) = match (filter.clients.take(), &filter.uid, &filter.group) {
            (Some(clients), ..) => (Targets::clients(clients), false),
            (None, Some(uid), _) => (Targets::uids(vec![uid.clone()], until), false),
            (None, None, Some(group)) => (Targets::groups(vec![group.clone()], until), false),
            (None, None, None) => (Targets::all_clients_after(after, until), true),
        };
        Self {
            filter,
            targets,
            in_order,
            limit: limit.clamp(1, MAX_PAGE) as usize,
            after,
            until,
            found: BTreeMap::new(),
            bytes: 0,
            more: false,
        }
    }

    fn add(&mut self, since: Ordinal, details: ClientDetails) {
        let names = details.groups.iter().map(|group| group.weight()).sum::<usize>();
        let bytes = names + details.uid.as_ref().map_or(0, |uid| uid.weight());
        // A client may be named twice.
        if let Some(known) = self.found.insert(since, Entry { details, bytes }) {
            self.bytes -= known.bytes;
        }
        self.bytes += bytes;
        while self.limit < self.found.len() || (MAX_PAGE_BYTES < self.bytes && 1 < self.found.len())
        {
            if let Some((_, last)) = self.found.pop_last() {
                self.bytes -= last.bytes;
                self.more = true;
            }
        }
    }

    /// The page.
    pub(super) fn into_page(self) -> ShardPage {
        let clients = self.found.into_iter().map(|(since, entry)| (since, entry.details));
        ShardPage { clients: clients.collect(), more: self.more }
    }
}

impl Shard {
    /// Looks at the next clients. Returns whether there may be more.
    pub(super) fn inspect(&mut self, inspection: &mut Inspection, most: usize) -> bool {
        let mut found = std::mem::take(&mut self.commands.found);
        let more = inspection.targets.next(&self.directory, most, &mut found);
        for Found { id, handle, .. } in found.drain(..) {
            self.inspect_client(inspection, id, handle);
        }
        self.commands.found = found;
        more && !(inspection.in_order && inspection.more)
    }

    fn inspect_client(&self, inspection: &mut Inspection, id: ConnectionId, key: SlotKey) {
        let Some(client) = self.directory.get(id) else { return };
        let (since, filter) = (client.since(), &inspection.filter);
        if since <= inspection.after || inspection.until <= since {
            return;
        }
        // Full already, and this one is behind all of it.
        if inspection.more
            && inspection.found.last_key_value().is_some_and(|(last, _)| *last < since)
        {
            return;
        }
        let connection = &self.connections[key];
        let matches = filter.uid.as_ref().is_none_or(|uid| client.uid() == Some(uid))
            && filter.group.as_ref().is_none_or(|group| client.is_in(group))
            && filter
                .ip
                .is_none_or(|ip| connection.remote.ip().to_canonical() == ip.to_canonical())
            && filter.queued.is_none_or(|bytes| bytes <= connection.queued() as u64)
            && !(filter.paused && connection.gate.may_read())
            && filter.selects_worker(self.worker_key(connection));
        if matches && let Some(details) = self.details(id, connection) {
            inspection.add(since, details);
        }
    }

    fn worker_key(&self, connection: &Connection) -> Option<&str> {
        connection.route.and_then(|link| self.delivery.workers.key(link))
    }

    fn details(&self, id: ConnectionId, connection: &Connection) -> Option<ClientDetails> {
        let client = self.directory.get(id)?;
        let age = u64::from(self.age().saturating_sub(connection.since)) * 100;
        let peer = self.settings.proxies.any().then(|| connection.peer()).flatten().map(canonical);
        let ping = self.settings.websocket_ping.filter(|_| connection.gate.may_read());
        let waits =
            connection.held_since.map(|since| clock::now().saturating_duration_since(since));
        Some(ClientDetails {
            client: id,
            remote: connection.remote,
            proxy: peer.filter(|peer| *peer != connection.remote),
            listener: connection.listener.addr,
            kind: connection.listener.kind(),
            tls: connection.listener.tls,
            compression: connection.deflate.is_some(),
            connected_at: clock::unix_millis().saturating_sub(age),
            age,
            uid: client.uid().cloned(),
            groups: client.groups().take(MAX_GROUPS).cloned().collect(),
            group_count: client.group_count() as u64,
            session_bytes: client.session_len() as u64,
            queue_bytes: connection.queued() as u64,
            blocked: connection.is_blocked() && 0 < connection.queued(),
            events: connection.events,
            silent: ping.map(|ping| ping.silent(connection.silence).as_millis() as u64),
            worker: self.worker_key(connection).map(str::to_owned),
            waits: waits.map(|time| time.as_millis() as u64),
            pauses: connection.gate.pauses().collect(),
            state: match connection.phase {
                Phase::ProxyHeader(_) | Phase::Request(_) | Phase::Undecided(_) => {
                    ClientState::Handshake
                }
                Phase::Open(_) => ClientState::Open,
                Phase::Leaving(_) | Phase::Closing { .. } | Phase::Over => ClientState::Leaving,
            },
        })
    }
}

#[cfg(test)]
mod tests;
