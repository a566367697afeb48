//! The limit of connections for each uid: closes what is over it here, and has workers check the
//! whole cluster.

use std::time::Duration;

use protocol::{
    Binding, ClientId, Command, ConnectionId, Query, Uid, link::ToPeer, rendezvous::rendezvous,
};
use runtime::clock;

use super::{
    Hub,
    scatter_gather::{Origin, ScatterGather},
};
use crate::thread_messages::{LinkId, Ordinal, ToShard, Token, UIDS_PER_SLICE};

/// The origin of commands and queries of the gateway itself.
const SELF: LinkId = LinkId(0);

/// How long a gateway is new: every worker has learned of it from the registers then.
const NEW: Duration = Duration::from_secs(60);

/// A search for every uid that is bound, one shard after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    shard: usize,
    /// Clients that connected up to here are found.
    after: Ordinal,
    /// Whether the shard's answer is awaited.
    waits: bool,
}

impl Hub {
    /// The ordinal of a command that has just arrived. With the limit, that of one that binds a client
    /// follows the clock.
    pub(super) fn ordinal_of(&self, command: &Command) -> Ordinal {
        let binds = matches!(command, Command::BindUid { .. } | Command::AcceptHandshake { .. });
        if binds && self.uid_checks.is_some() {
            self.gateway.advance_clock(clock::unix_nanos());
        }
        self.gateway.ordinal_of(command)
    }

    /// A shard has bound a client to the uid.
    pub(super) fn uid_bound(&mut self, uid: Uid) {
        if let Some(checks) = &mut self.uid_checks {
            checks.bound(uid);
            self.advance_uid_checks();
        }
    }

    /// Begins the checks for which there is room.
    fn advance_uid_checks(&mut self) {
        while let Some(uid) = self.uid_checks.as_mut().and_then(|checks| checks.next()) {
            self.last_id += 1;
            let (token, shards) = (Token(self.last_id), self.gateway.shards.len());
            let query = Query::Bindings { uid, clock: 0 };
            self.send_to_shards(None, || ToShard::Query {
                from: SELF,
                token,
                query: query.clone(),
                in_php: false,
            });
            let pending = ScatterGather::new(SELF, Origin::Gateway { query }, 0, shards);
            self.pending_queries.insert(token, pending);
        }
        self.search_uids();
        let pending = self.uid_checks.as_ref().map_or(0, |checks| checks.len());
        self.gateway.metrics.uid_checks_pending.set(pending as i64);
        self.schedule_run();
    }

    /// Closes clients of a uid that are over the limit on this gateway, and asks a worker for those
    /// on others.
    pub(super) fn uid_checked_here(&mut self, uid: &Uid, bindings: Vec<(ConnectionId, u64)>) {
        let worker = self.checker(uid);
        let Some(checks) = &mut self.uid_checks else {
            return;
        };
        let limit = checks.limit;
        let check = checks.checked_here(uid, !bindings.is_empty(), worker);
        let address = self.gateway.address;
        let bindings = bindings
            .into_iter()
            .map(|(client, since)| Binding { client: ClientId::new(address, client), since });
        for Binding { client, since } in limit.excess(bindings.collect()) {
            let (client, ordinal) = (client.connection, self.gateway.ordinal());
            let command = Command::CloseBinding { client, since, keep: limit.keep };
            let shard = self.gateway.shard_of(client);
            self.outgoing[shard].push(ToShard::Command { from: SELF, ordinal, command });
        }
        if let (Some(worker), Some(check)) = (worker, check) {
            let (uid, clock) = (uid.clone(), self.gateway.clock());
            self.gateway.metrics.uid_checks.inc();
            self.send(worker, &ToPeer::CheckUid { check, uid, limit, clock });
        }
        self.advance_uid_checks();
    }

    /// A worker has checked a uid.
    pub(super) fn uid_checked(&mut self, by: LinkId, check: u64, uid: &Uid) {
        if let Some(checks) = &mut self.uid_checks {
            checks.checked(by, check, uid);
            self.advance_uid_checks();
        }
    }

    /// A native worker is linked. If this gateway is new, the worker may have learned of it just
    /// now, and checked uids without it before: those that were bound here are checked again.
    pub(super) fn uid_checker_linked(&mut self) {
        if let Some(checks) = &mut self.uid_checks {
            checks.worker_linked();
            if clock::now() - self.started < NEW {
                checks.set_incomplete();
            }
            self.advance_uid_checks();
        }
    }

    /// The link of a worker has ended.
    pub(super) fn uid_checker_lost(&mut self, link: LinkId) {
        if let Some(checks) = &mut self.uid_checks {
            checks.link_ended(link);
            self.advance_uid_checks();
        }
    }

    /// The worker that checks a uid: the same one for each gateway that has these workers, so that
    /// checks of one uid are made one after the other.
    fn checker(&self, uid: &Uid) -> Option<LinkId> {
        let workers = self.workers.values().filter_map(|id| {
            let worker = self.links.get(id)?.worker.as_ref()?;
            Some((worker.instance.as_ref()?, *id))
        });
        rendezvous(uid.as_bytes(), workers)
    }

    /// Looks for the uids whose bindings were left out, while there is room for them and a worker
    /// to check them.
    fn search_uids(&mut self) {
        let is_due = self.uid_search.is_some()
            || self.uid_checks.as_ref().is_some_and(|checks| checks.is_incomplete());
        if !is_due {
            return;
        }
        let mut workers = self.links.values().filter_map(|link| link.worker.as_ref());
        if !workers.any(|worker| worker.instance.is_some()) {
            return;
        }
        let Some(checks) = &mut self.uid_checks else {
            return;
        };
        if self.uid_search.is_none() && checks.take_incomplete() {
            self.uid_search = Some(Search { shard: 0, after: Ordinal(0), waits: false });
        }
        if let Some(search) = &mut self.uid_search
            && !search.waits
            && checks.takes_more(UIDS_PER_SLICE)
        {
            search.waits = true;
            self.outgoing[search.shard].push(ToShard::FindUids { after: search.after });
        }
    }

    /// A shard has found uids; `next` is where to continue, unless that was all.
    pub(super) fn uids_found(&mut self, uids: Vec<Uid>, next: Option<Ordinal>) {
        if let Some(checks) = &mut self.uid_checks {
            uids.into_iter().for_each(|uid| checks.bound(uid));
        }
        let shards = self.gateway.shards.len();
        self.uid_search = self.uid_search.and_then(|search| match next {
            Some(after) => Some(Search { after, waits: false, ..search }),
            None if search.shard + 1 < shards => {
                Some(Search { shard: search.shard + 1, after: Ordinal(0), waits: false })
            }
            None => None,
        });
        self.advance_uid_checks();
    }
}
