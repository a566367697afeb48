//! Limits for answers in flight, checked before a query is sent to the shards.

use protocol::{
    ConnectionId, Filter, Query,
    inspect::{MAX_EVENTS, MAX_PAGE, MAX_PAGE_BYTES, MAX_TRACED},
    session::{MAX_PHP_SESSION, MAX_SESSION},
};

use crate::thread_messages::Content;

/// Maximum bytes of answers per peer, pending or not read. A single answer may exceed it if it is
/// the only one.
pub(super) const PER_LINK: usize = 16 * 1024 * 1024;

/// The same for all peers together.
pub(super) const IN_ALL: usize = 256 * 1024 * 1024;

/// Answers with an estimate up to this size do not wait for those of other peers, in bytes.
const SMALL: usize = 64 * 1024;

/// Bytes of answers, of one peer or of all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answers {
    /// Estimated bytes of answers that shards are computing.
    pub(super) under_way: usize,
    /// Bytes of answers to be written.
    pub(super) queued: usize,
}

impl Answers {
    /// Sum of both.
    pub(super) fn add(self, other: Self) -> Self {
        Self { under_way: self.under_way + other.under_way, queued: self.queued + other.queued }
    }

    fn has_room(self, estimate: usize, limit: usize) -> bool {
        let waiting = self.under_way + self.queued;
        waiting == 0 || waiting + estimate <= limit
    }
}

/// Whether a query with an answer of that estimated size may be sent to the shards.
pub(super) fn admits(estimate: usize, of_link: Answers, total: impl FnOnce() -> Answers) -> bool {
    of_link.has_room(estimate, PER_LINK)
        && (estimate <= SMALL || total().has_room(estimate, IN_ALL))
}

/// Overhead of a row in bytes.
const ROW: usize = 32;

/// Size of the details of a client in bytes, without its names.
const DETAILS: usize = 256;

/// Size of the steps of a push to a client in bytes.
const TRACED: usize = 48;

/// Size of a lifecycle event in bytes, usually.
const EVENT: usize = 128;

/// Size of the status of a gateway in bytes, with some hundred peers.
const STATUS: usize = 64 * 1024;

/// Maximum growth factor of JSON in PHP's serialization.
const IN_PHP: usize = 4;

/// Estimated maximum size of the answer to a query in bytes, on a gateway with that content.
pub(super) fn estimate(query: &Query, content: &Content, in_php: bool) -> usize {
    let sessions = |clients: Option<usize>| {
        let most =
            clients.map_or(usize::MAX, |clients| clients.saturating_mul(content.largest_session));
        let bytes = most.min(content.sessions);
        if in_php { bytes.saturating_mul(IN_PHP) } else { bytes }
    };
    let ids = content.clients.saturating_mul(size_of::<ConnectionId>() * 2);
    match query {
        Query::IsOnline { .. }
        | Query::Count { .. }
        | Query::RenewToken { .. }
        | Query::HoldStream(_)
        | Query::ReleaseStream(_)
        | Query::Revoke(_) => ROW,
        Query::Session { .. } => {
            let limit = if in_php { MAX_PHP_SESSION } else { MAX_SESSION.max(MAX_PHP_SESSION) };
            sessions(Some(1)).min(limit)
        }
        Query::Sessions { .. } => content.clients * ROW + sessions(None),
        // Each uid occurs once, and each client under one uid.
        Query::ClientsOfUids { .. } => query.weight() + ids,
        Query::Presence { .. } => ROW + content.presence,
        Query::Drain => ROW,
        Query::Gateway | Query::LogFilter { .. } | Query::Settings | Query::Certificates => STATUS,
        Query::Trace(_) => content.clients.min(MAX_TRACED) * TRACED,
        Query::History(history) => history.limit.min(MAX_EVENTS) as usize * EVENT,
        Query::Inspect(inspect) => {
            let names = (content.uids + content.memberships).min(2 * MAX_PAGE_BYTES);
            content.clients.min(inspect.limit.min(MAX_PAGE) as usize) * DETAILS + names
        }
        // Its size is that of one message, which the hub has.
        Query::Retained { .. } => ROW,
        Query::Bindings { .. } => content.clients.saturating_mul(ROW),
        Query::Counts { groups } => query.weight() + groups.len() * ROW,
        Query::Online { clients } => clients.len() * size_of::<u64>(),
        Query::CountsOfUids { uids } => uids.len() * size_of::<u64>(),
        Query::CountsOfAllGroups => content.memberships.saturating_mul(2),
        // Shards answer with their uids, of which one may be in each.
        Query::UidCount { .. } | Query::Uids { .. } => content.uids,
        Query::SwapSession { .. } => sessions(Some(1)).min(MAX_PHP_SESSION),
        Query::Groups => content.memberships,
        Query::Select { fields, filter } => {
            let named = match filter {
                Filter::Any { groups, uids, clients } if groups.is_empty() && uids.is_empty() => {
                    Some(clients.len())
                }
                Filter::All | Filter::Any { .. } => None,
            };
            let rows = named.unwrap_or(content.clients).min(content.clients);
            let uids = if fields.uid { content.uids } else { 0 };
            let groups = if fields.groups { content.memberships } else { 0 };
            let sessions = if fields.session { sessions(named) } else { 0 };
            rows * ROW + uids + groups + sessions
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::Fields;

    use super::*;

    const NONE: Answers = Answers { under_way: 0, queued: 0 };

    #[test]
    fn single_answer_of_any_size_is_admitted() {
        assert!(admits(usize::MAX / 2, NONE, || NONE));
        let queued = Answers { queued: 1, ..NONE };
        assert!(!admits(PER_LINK, queued, || NONE));
        assert!(!admits(IN_ALL, NONE, || queued));
        assert!(admits(PER_LINK - 1, queued, || queued));
    }

    #[test]
    fn small_answer_is_admitted_despite_other_peers() {
        let full = Answers { under_way: IN_ALL, queued: IN_ALL };
        assert!(admits(SMALL, NONE, || full));
        assert!(!admits(SMALL + 1, NONE, || full));
        assert!(!admits(SMALL, Answers { under_way: PER_LINK, queued: 0 }, || NONE));
    }

    #[test]
    fn estimate_depends_on_query() {
        let content = Content {
            clients: 1000,
            uids: 10_000,
            memberships: 20_000,
            sessions: 200_000_000,
            largest_session: 200_000,
            presence: 0,
        };
        let select = |fields, clients: usize| {
            let clients = vec![ConnectionId(1); clients];
            let filter = Filter::Any { groups: vec![], uids: vec![], clients };
            estimate(&Query::Select { fields, filter }, &content, false)
        };
        let session = Fields { session: true, ..Fields::default() };
        assert!(select(session, 3) <= 3 * (200_000 + ROW));
        assert!(select(Fields::default(), 3) <= 3 * ROW);
        assert!(select(Fields { uid: true, ..Fields::default() }, 3) <= 11_000);
        let all = Query::Sessions { group: None };
        assert!(content.sessions <= estimate(&all, &content, false));
        assert!(content.sessions * 2 <= estimate(&all, &content, true));
        assert!(estimate(&Query::Count { group: None }, &content, true) <= 64);
        assert_eq!(estimate(&Query::Groups, &content, true), 20_000);
    }
}
