//! Pages of clients on one shard, and the size of what an idle client costs.

use protocol::{Command, Group, Query, Uid, inspect::ReadPause};

use super::*;
use crate::{
    shard::{connections::Pause, test_shard::TestShard},
    thread_messages::{LinkId, PartialAnswer, ToHub, ToShard, Token},
};

impl TestShard {
    /// Asks for a page, and returns it with the number of passes that it took.
    fn page(&mut self, filter: ClientFilter, limit: u32, after: u64) -> (ShardPage, usize) {
        let query = Query::Inspect(Box::new(Inspect { filter, limit, after }));
        let gateway = self.shard.gateway.clone();
        let query = ToShard::Query { token: Token(7), from: LinkId(1), query, in_php: false };
        gateway.send_to_shard(0, &mut vec![query]);
        let mut passes = 1;
        while self.run_once() {
            passes += 1;
        }
        let (mut messages, cx) =
            (Vec::new(), &mut std::task::Context::from_waker(std::task::Waker::noop()));
        let _ = gateway.hub.poll_take(cx, &mut messages);
        let page = messages.into_iter().find_map(|message| match message {
            ToHub::PartialAnswer { part: PartialAnswer::Details(page), .. } => Some(page),
            _ => None,
        });
        (page.unwrap(), passes)
    }

    fn ids(&self) -> Vec<ConnectionId> {
        self.keys.iter().map(|key| self.shard.connections[*key].id.unwrap()).collect()
    }
}

fn found(page: &ShardPage) -> Vec<ConnectionId> {
    page.clients.iter().map(|(_, details)| details.client).collect()
}

#[tokio::test]
async fn pages_follow_each_other_in_the_order_of_connecting() {
    let mut test = TestShard::with(5, "text://").await;
    let (ids, group) = (test.ids(), Group::new("r").unwrap());
    // In reverse order.
    let join = |at: usize| Command::JoinGroup { client: ids[at], group: Group::new("r").unwrap() };
    test.command((0..5).rev().map(join));
    while test.run_once() {}
    let of_group = ClientFilter { group: Some(group), ..ClientFilter::default() };
    for filter in [ClientFilter::default(), of_group] {
        let (mut after, mut all) = (0, Vec::new());
        for length in [2, 2, 1] {
            let (page, _) = test.page(filter.clone(), 2, after);
            assert_eq!((page.clients.len(), page.more), (length, length == 2), "{filter:?}");
            after = page.clients.last().unwrap().0.0;
            all.extend(found(&page));
        }
        assert_eq!(all, ids, "{filter:?}");
    }
    let (page, _) = test.page(ClientFilter::default(), 0, 0);
    assert_eq!(page.clients.len(), 1, "a page without clients would not end");
}

#[tokio::test]
async fn filter_selects_clients_that_match_all_criteria() {
    let mut test = TestShard::with(4, "text://").await;
    let ids = test.ids();
    let (uid, group) = (Uid::new("ann").unwrap(), Group::new("r").unwrap());
    for client in [ids[0], ids[2]] {
        test.command([Command::BindUid { client, uid: uid.clone() }]);
    }
    for client in [ids[2], ids[3]] {
        test.command([Command::JoinGroup { client, group: group.clone() }]);
    }
    while test.run_once() {}
    test.shard.connections[test.keys[1]].gate.pause(Pause::RateLimit);
    let none = ClientFilter::default;
    let (uid, group) = (Some(uid), Some(group));
    for (filter, expected) in [
        (ClientFilter { uid: uid.clone(), ..none() }, vec![0, 2]),
        (ClientFilter { group: group.clone(), ..none() }, vec![2, 3]),
        (ClientFilter { uid: uid.clone(), group, ..none() }, vec![2]),
        (ClientFilter { paused: true, ..none() }, vec![1]),
        (ClientFilter { queued: Some(0), ..none() }, vec![0, 1, 2, 3]),
        (ClientFilter { queued: Some(1), ..none() }, vec![]),
        (ClientFilter { ip: Some([127, 0, 0, 1].into()), ..none() }, vec![0, 1, 2, 3]),
        (ClientFilter { ip: Some([127, 0, 0, 2].into()), ..none() }, vec![]),
        (ClientFilter { worker: Some("w:1".to_owned()), ..none() }, vec![]),
        (ClientFilter { clients: Some(vec![ids[3], ids[0], ids[3]]), ..none() }, vec![0, 3]),
        (ClientFilter { clients: Some(vec![ids[3], ids[0]]), uid, ..none() }, vec![0]),
        (ClientFilter { clients: Some(vec![]), ..none() }, vec![]),
    ] {
        let (page, _) = test.page(filter.clone(), 10, 0);
        let expected: Vec<_> = expected.into_iter().map(|at: usize| ids[at]).collect();
        assert_eq!((found(&page), page.more), (expected, false), "{filter:?}");
    }
    let (page, _) = test.page(ClientFilter { paused: true, ..none() }, 1, 0);
    assert_eq!(page.clients[0].1.pauses, [ReadPause::RateLimit]);
}

#[tokio::test]
async fn query_about_many_names_is_processed_in_slices() {
    let mut test = TestShard::with(1, "text://").await;
    let clients = Some(vec![test.last(); 9000]);
    let (page, passes) = test.page(ClientFilter { clients, ..ClientFilter::default() }, 10, 0);
    assert_eq!(page.clients.len(), 1);
    assert!(8 <= passes, "{passes} passes for 9,000 names");
}

#[tokio::test]
async fn page_ends_at_its_bytes() {
    let mut test = TestShard::with_flags(3, "text://", &["--max-groups-per-client=100000"]).await;
    for client in test.ids() {
        let name = |at: usize| Group::new(format!("{at:0>200}")).unwrap();
        test.command((0..5000).map(|at| Command::JoinGroup { client, group: name(at) }));
    }
    while test.run_once() {}
    let (page, _) = test.page(ClientFilter::default(), 10, 0);
    let details = &page.clients[0].1;
    assert_eq!((details.groups.len(), details.group_count), (MAX_GROUPS, 5000));
    let weight: usize = details.groups.iter().map(Group::weight).sum();
    assert_eq!(page.clients.len(), 3.min(MAX_PAGE_BYTES / weight), "of {weight} bytes each");
}
