//! How much of answers may be under way: decided before a query is put to the shards.

use protocol::{
    ConnectionId, Filter, Query,
    session::{MAX_PHP_SESSION, MAX_SESSION},
};

use crate::exchange::Content;

/// How many bytes of answers a peer may have waiting, under way or not read. A single answer may be
/// larger, if it is the only one.
pub(super) const PER_LINK: usize = 16 * 1024 * 1024;

/// The same of all peers together.
pub(super) const IN_ALL: usize = 256 * 1024 * 1024;

/// Up to this estimate an answer does not wait for those of other peers.
const SMALL: usize = 64 * 1024;

/// Bytes of answers, of one peer or of all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answers {
    /// Estimates of those that shards are working at.
    pub(super) under_way: usize,
    /// Those that wait to be written.
    pub(super) queued: usize,
}

impl Answers {
    /// Both together.
    pub(super) fn add(self, other: Self) -> Self {
        Self { under_way: self.under_way + other.under_way, queued: self.queued + other.queued }
    }

    fn has_room(self, estimate: usize, limit: usize) -> bool {
        let waiting = self.under_way + self.queued;
        waiting == 0 || waiting + estimate <= limit
    }
}

/// Whether a query with an answer of about that size may be put to the shards.
pub(super) fn admits(estimate: usize, of_link: Answers, in_all: impl FnOnce() -> Answers) -> bool {
    of_link.has_room(estimate, PER_LINK)
        && (estimate <= SMALL || in_all().has_room(estimate, IN_ALL))
}

/// What a row costs besides what is asked for.
const ROW: usize = 32;

/// How much longer JSON may become in PHP's form.
const IN_PHP: usize = 4;

/// About how many bytes the answer to a query has, at the most, on a gateway with that content.
pub(super) fn estimate(query: &Query, content: &Content, in_php: bool) -> usize {
    let sessions = |clients: Option<usize>| {
        let most =
            clients.map_or(usize::MAX, |clients| clients.saturating_mul(content.largest_session));
        let bytes = most.min(content.sessions);
        if in_php { bytes.saturating_mul(IN_PHP) } else { bytes }
    };
    let ids = content.clients.saturating_mul(size_of::<ConnectionId>() * 2);
    match query {
        Query::IsOnline { .. } | Query::Count { .. } => ROW,
        Query::Session { .. } => {
            let limit = if in_php { MAX_PHP_SESSION } else { MAX_SESSION.max(MAX_PHP_SESSION) };
            sessions(Some(1)).min(limit)
        }
        Query::Sessions { .. } => content.clients * ROW + sessions(None),
        // Each uid once, and each client for one of them.
        Query::ClientsOfUids { .. } => query.weight() + ids,
        Query::Counts { groups } => query.weight() + groups.len() * ROW,
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
    fn answer_of_any_size_is_admitted_if_it_is_the_only_one() {
        assert!(admits(usize::MAX / 2, NONE, || NONE));
        let queued = Answers { queued: 1, ..NONE };
        assert!(!admits(PER_LINK, queued, || NONE));
        assert!(!admits(IN_ALL, NONE, || queued));
        assert!(admits(PER_LINK - 1, queued, || queued));
    }

    #[test]
    fn small_answer_does_not_wait_for_other_peers() {
        let full = Answers { under_way: IN_ALL, queued: IN_ALL };
        assert!(admits(SMALL, NONE, || full));
        assert!(!admits(SMALL + 1, NONE, || full));
        assert!(!admits(SMALL, Answers { under_way: PER_LINK, queued: 0 }, || NONE));
    }

    #[test]
    fn estimate_follows_what_is_asked_for() {
        let content = Content {
            clients: 1000,
            uids: 10_000,
            memberships: 20_000,
            sessions: 200_000_000,
            largest_session: 200_000,
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
