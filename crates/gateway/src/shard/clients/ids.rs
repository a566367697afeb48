//! Connection ids.

use protocol::ConnectionId;

/// Generates connection ids whose remainder modulo the number of shards is the shard's index, so
/// that an id identifies its shard.
#[derive(Debug)]
pub(in crate::shard) struct ConnectionIds {
    shard: u32,
    shards: u32,
    counter: u32,
}

impl ConnectionIds {
    /// Starts at a random id.
    pub(in crate::shard) fn random_start(shard: u32, shards: u32, random: u32) -> Self {
        Self { shard, shards, counter: random % (u32::MAX / shards) }
    }

    /// Starts at the lowest id of the shard, which is 1 for one of the shards.
    pub(in crate::shard) fn from_one(shard: u32, shards: u32) -> Self {
        Self { shard, shards, counter: u32::MAX / shards - 1 }
    }

    /// The next id that is not in use and not zero.
    pub(super) fn next(&mut self, in_use: impl Fn(ConnectionId) -> bool) -> ConnectionId {
        loop {
            self.counter = (self.counter + 1) % (u32::MAX / self.shards);
            let id = ConnectionId(self.counter * self.shards + self.shard);
            if id.0 != 0 && !in_use(id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_from_one_are_consecutive_and_identify_their_shard() {
        let mut alone = ConnectionIds::from_one(0, 1);
        let mut next = |in_use: u32| alone.next(|id| id.0 == in_use).0;
        assert_eq!([next(0), next(0), next(3)], [1, 2, 4]);
        let first = |shard| {
            let mut ids = ConnectionIds::from_one(shard, 3);
            [ids.next(|_| false).0, ids.next(|_| false).0]
        };
        assert_eq!([first(0), first(1), first(2)], [[3, 6], [1, 4], [2, 5]]);
    }
}
