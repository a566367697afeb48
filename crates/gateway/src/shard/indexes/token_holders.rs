//! The clients that are connected with a token, or whose connections expire: a value. Other clients
//! cost nothing here.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use auth::Identity;
use protocol::ConnectionId;

/// The tokens of connected clients, and when their connections expire.
#[derive(Debug, Default)]
pub(in crate::shard) struct TokenHolders {
    holders: BTreeMap<ConnectionId, Holder>,
    /// Invariant: one entry for each holder that expires.
    expiries: BTreeSet<(u64, ConnectionId)>,
    /// Invariant: one entry for each holder of whose expiry its worker is not notified yet.
    notices: BTreeSet<(u64, ConnectionId)>,
}

/// When a connection expires, in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::shard) struct Expiry {
    /// `None`: never.
    pub(in crate::shard) at: Option<u64>,
    /// When its worker is notified of that; `None`: not any more.
    pub(in crate::shard) notice: Option<u64>,
}

impl Expiry {
    /// An expiry that is set at `now`, with the notice `lead` seconds before it. One that is nearer
    /// has its notice halfway: prolonged by little again and again, a connection would otherwise
    /// have a notice as soon as the last one is answered.
    pub(in crate::shard) fn new(at: Option<u64>, lead: Option<u64>, now: u64) -> Self {
        let left = at.map(|at| (at, at.saturating_sub(now)));
        let notice = left.filter(|(_, left)| 0 < *left).zip(lead);
        Self { at, notice: notice.map(|((at, left), lead)| at - lead.min(left / 2)) }
    }
}

#[derive(Debug)]
struct Holder {
    token: Option<Identity>,
    expiry: Expiry,
}

impl TokenHolders {
    /// Records a client's token, in place of its former one, and when its connection expires.
    pub(in crate::shard) fn insert(
        &mut self,
        client: ConnectionId,
        token: Identity,
        expiry: Expiry,
    ) {
        self.put(client, Holder { token: Some(token), expiry });
    }

    /// Records when the connection of a client expires. It keeps its token.
    pub(in crate::shard) fn set_expiry(&mut self, client: ConnectionId, expiry: Expiry) {
        let token = self.remove(client);
        if token.is_some() || expiry.at.is_some() {
            self.put(client, Holder { token, expiry });
        }
    }

    fn put(&mut self, client: ConnectionId, holder: Holder) {
        self.remove(client);
        self.expiries.extend(holder.expiry.at.map(|at| (at, client)));
        self.notices.extend(holder.expiry.notice.map(|at| (at, client)));
        self.holders.insert(client, holder);
    }

    /// Forgets a client. Returns its token.
    pub(in crate::shard) fn remove(&mut self, client: ConnectionId) -> Option<Identity> {
        let Holder { token, expiry } = self.holders.remove(&client)?;
        if let Some(at) = expiry.at {
            self.expiries.remove(&(at, client));
        }
        if let Some(at) = expiry.notice {
            self.notices.remove(&(at, client));
        }
        token
    }

    /// The token of a client.
    pub(in crate::shard) fn get(&self, client: ConnectionId) -> Option<&Identity> {
        self.holders.get(&client).and_then(|holder| holder.token.as_ref())
    }

    /// A client whose worker is to be notified at `time`, once, and when its connection expires.
    pub(in crate::shard) fn next_notice(&mut self, time: u64) -> Option<(ConnectionId, u64)> {
        let (at, client) = self.notices.first().copied().filter(|(at, _)| *at <= time)?;
        self.notices.remove(&(at, client));
        let expiry = &mut self.holders.get_mut(&client)?.expiry;
        expiry.notice = None;
        expiry.at.map(|at| (client, at))
    }

    /// A client whose connection has expired at `time`, the earliest first. It stays until it is
    /// removed.
    pub(in crate::shard) fn expired(&self, time: u64) -> Option<ConnectionId> {
        self.expiries.first().filter(|(at, _)| *at <= time).map(|(_, client)| *client)
    }

    /// Whether no connection expires.
    pub(in crate::shard) fn never_expire(&self) -> bool {
        self.expiries.is_empty()
    }

    /// Adds to `found` the next clients behind `after` whose token `is_revoked`: at most `most` of
    /// them, from [`CONSIDERED`] at most. Returns the last client that it has considered, if there
    /// may be more.
    pub(in crate::shard) fn revoked(
        &self,
        after: Option<ConnectionId>,
        most: usize,
        is_revoked: impl Fn(&Identity) -> bool,
        found: &mut Vec<ConnectionId>,
    ) -> Option<ConnectionId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut considered = 0;
        for (client, holder) in self.holders.range((from, Bound::Unbounded)) {
            if holder.token.as_ref().is_some_and(&is_revoked) {
                found.push(*client);
            }
            considered += 1;
            if considered == CONSIDERED || most <= found.len() {
                return Some(*client);
            }
        }
        None
    }
}

/// Clients compared with a revocation in one slice.
const CONSIDERED: usize = 1024;

#[cfg(test)]
mod tests {
    use protocol::Uid;

    use super::*;

    fn token(uid: u32) -> Identity {
        Identity { uid: Some(Uid::from(uid)), ..Identity::default() }
    }

    fn expiry(at: Option<u64>) -> Expiry {
        Expiry { at, notice: None }
    }

    #[test]
    fn notice_is_once_for_each_expiry_and_before_it() {
        for (at, now, notice) in [
            (Some(1000), 0, Some(970)),
            (Some(1000), 950, Some(975)),
            (Some(1000), 999, Some(1000)),
            (Some(1000), 1000, None),
            (Some(1000), 2000, None),
            (None, 0, None),
        ] {
            assert_eq!(Expiry::new(at, Some(30), now), Expiry { at, notice }, "{at:?} at {now}");
        }
        assert_eq!(Expiry::new(Some(9), None, 0), expiry(Some(9)), "no notice is asked for");
        let mut holders = TokenHolders::default();
        let with_notice = |at| Expiry { at: Some(at), notice: Some(at - 5) };
        holders.insert(ConnectionId(1), token(1), with_notice(20));
        holders.set_expiry(ConnectionId(2), with_notice(10));
        assert_eq!((holders.next_notice(4), holders.get(ConnectionId(2))), (None, None));
        assert_eq!(holders.next_notice(99), Some((ConnectionId(2), 10)));
        assert_eq!(holders.next_notice(99), Some((ConnectionId(1), 20)));
        assert_eq!(holders.next_notice(99), None, "each once");
        holders.set_expiry(ConnectionId(1), with_notice(30));
        assert_eq!(holders.get(ConnectionId(1)), Some(&token(1)), "the token stays");
        assert_eq!(
            (holders.expired(20), holders.next_notice(25)),
            (Some(ConnectionId(2)), Some((ConnectionId(1), 30)),)
        );
        holders.set_expiry(ConnectionId(2), Expiry::default());
        holders.set_expiry(ConnectionId(1), Expiry::default());
        assert!(holders.never_expire() && holders.holders.len() == 1, "one has a token");
    }

    #[test]
    fn clients_expire_in_order_and_at_the_time_of_their_last_token() {
        let mut holders = TokenHolders::default();
        assert!(holders.never_expire());
        for (client, expires_at) in [(1, Some(30)), (2, Some(10)), (3, None), (4, Some(20))] {
            holders.insert(ConnectionId(client), token(client), expiry(expires_at));
        }
        holders.insert(ConnectionId(2), token(7), expiry(Some(40)));
        assert_eq!(holders.get(ConnectionId(2)), Some(&token(7)));
        assert_eq!(holders.expired(19), None);
        let mut all = Vec::new();
        while let Some(client) = holders.expired(40) {
            holders.remove(client);
            all.push(client.0);
        }
        assert_eq!(all, [4, 1, 2]);
        assert!(holders.never_expire() && holders.get(ConnectionId(3)).is_some());
        holders.remove(ConnectionId(3));
        holders.remove(ConnectionId(3));
        assert!(holders.holders.is_empty() && holders.expiries.is_empty());
    }

    #[test]
    fn revoked_clients_are_found_in_slices_each_once() {
        let mut holders = TokenHolders::default();
        let count = 3 * CONSIDERED as u32;
        for client in 0..count {
            holders.insert(ConnectionId(client), token(client % 1000), expiry(None));
        }
        for most in [1, 2, 1000] {
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                let mut found = Vec::new();
                after = holders.revoked(after, most, |it| *it == token(1), &mut found);
                assert!(found.len() <= most);
                all.extend(found);
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(all, [1, 1001, 2001, 3001].map(ConnectionId), "{most} at a time");
        }
    }
}
