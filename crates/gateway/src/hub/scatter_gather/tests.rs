//! Pages of clients over several shards.

use protocol::inspect::{ClientState, ListenerKind};

use super::*;

fn details(client: u32) -> ClientDetails {
    let addr = "127.0.0.1:1".parse().unwrap();
    ClientDetails {
        client: ConnectionId(client),
        remote: addr,
        proxy: None,
        listener: addr,
        kind: ListenerKind::Tcp,
        tls: false,
        compression: false,
        connected_at: 0,
        age: 0,
        uid: None,
        groups: Vec::new(),
        group_count: 0,
        session_bytes: 0,
        queue_bytes: 0,
        blocked: false,
        events: 0,
        silent: None,
        worker: None,
        waits: None,
        pauses: Vec::new(),
        state: ClientState::Open,
    }
}

/// A shard's part with these clients, whose ordinals are their ids.
fn part(clients: &[u32], more: bool) -> PartialAnswer {
    let clients = clients.iter().map(|id| (Ordinal(u64::from(*id)), details(*id))).collect();
    PartialAnswer::Details(ShardPage { clients, more })
}

fn merged(parts: Vec<PartialAnswer>, limit: u32) -> (Vec<u32>, Option<u64>) {
    let page = page(parts, limit);
    (page.clients.iter().map(|details| details.client.0).collect(), page.next)
}

#[test]
fn page_is_ordered_over_all_shards() {
    let parts = || vec![part(&[2, 5], false), part(&[1, 9], false), part(&[], false)];
    assert_eq!(merged(parts(), 10), (vec![1, 2, 5, 9], None));
    assert_eq!(merged(parts(), 4), (vec![1, 2, 5, 9], None), "as many as the limit, and no more");
    assert_eq!(merged(parts(), 3), (vec![1, 2, 5], Some(5)));
    assert_eq!(merged(vec![part(&[], false)], 3), (vec![], None));
}

#[test]
fn shard_with_more_clients_ends_the_page() {
    // The first has clients behind 5, maybe before 9.
    let parts = vec![part(&[2, 5], true), part(&[1, 9], false)];
    assert_eq!(merged(parts, 10), (vec![1, 2, 5], Some(5)));
    let parts = vec![part(&[2, 5], true), part(&[1, 3], true)];
    assert_eq!(merged(parts, 10), (vec![1, 2, 3], Some(3)));
}

#[test]
fn owner_of_another_shard_only_learns_nothing_about_departures() {
    let part = || PartialAnswer::Presence(PresenceAnswer { clients: 1, members: Vec::new() });
    let query =
        || Query::Presence { group: Group::new("room").unwrap(), members: Some(Vec::new()) };
    let Answer::Presence(both) = merge(query(), vec![part(), part()]) else { panic!() };
    assert_eq!(both.clients, 2);
    let refused = merge(query(), vec![part(), PartialAnswer::NotOwner]);
    assert_eq!(refused, Answer::Unavailable);
}
