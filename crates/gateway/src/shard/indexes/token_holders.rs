//! The clients that are connected with a token: a value. Other clients cost nothing here.

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
}

#[derive(Debug)]
struct Holder {
    token: Identity,
    /// In seconds since the Unix epoch; `None`: never.
    expires_at: Option<u64>,
}

impl TokenHolders {
    /// Records a client's token, in place of its former one. Its connection expires at `expires_at`,
    /// in seconds since the Unix epoch, or never.
    pub(in crate::shard) fn insert(
        &mut self,
        client: ConnectionId,
        token: Identity,
        expires_at: Option<u64>,
    ) {
        self.remove(client);
        self.holders.insert(client, Holder { token, expires_at });
        self.expiries.extend(expires_at.map(|at| (at, client)));
    }

    /// Forgets a client.
    pub(in crate::shard) fn remove(&mut self, client: ConnectionId) {
        if let Some(Holder { expires_at: Some(at), .. }) = self.holders.remove(&client) {
            self.expiries.remove(&(at, client));
        }
    }

    /// The token of a client.
    pub(in crate::shard) fn get(&self, client: ConnectionId) -> Option<&Identity> {
        self.holders.get(&client).map(|holder| &holder.token)
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
            if is_revoked(&holder.token) {
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

    #[test]
    fn clients_expire_in_order_and_at_the_time_of_their_last_token() {
        let mut holders = TokenHolders::default();
        assert!(holders.never_expire());
        for (client, expires_at) in [(1, Some(30)), (2, Some(10)), (3, None), (4, Some(20))] {
            holders.insert(ConnectionId(client), token(client), expires_at);
        }
        holders.insert(ConnectionId(2), token(7), Some(40));
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
            holders.insert(ConnectionId(client), token(client % 1000), None);
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
