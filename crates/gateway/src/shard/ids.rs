//! The names of connections.

use protocol::ConnectionId;

/// Gives out connection ids: those that leave the shard's index when divided by the number of
/// shards, so that an id tells its shard.
#[derive(Debug)]
pub(super) struct ConnectionIds {
    shard: u32,
    shards: u32,
    turn: u32,
}

impl ConnectionIds {
    /// They start anywhere.
    pub(super) fn anywhere(shard: u32, shards: u32, dice: u32) -> Self {
        Self { shard, shards, turn: dice % (u32::MAX / shards) }
    }

    /// They start with the shard's lowest, which for one of them is 1.
    pub(super) fn from_one(shard: u32, shards: u32) -> Self {
        Self { shard, shards, turn: u32::MAX / shards - 1 }
    }

    /// The next id that is not in use and not zero.
    pub(super) fn next(&mut self, in_use: impl Fn(ConnectionId) -> bool) -> ConnectionId {
        loop {
            self.turn = (self.turn + 1) % (u32::MAX / self.shards);
            let id = ConnectionId(self.turn * self.shards + self.shard);
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
    fn ids_that_begin_at_one_are_counted_and_tell_their_shard() {
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
