//! Ordering of commands and events across shards and links.

use protocol::{Answer, Command, ConnectionId, Event, Message, Query, Recipients};
use suite_tests::{
    Browser, Peer, Suite,
    names::{group, uid},
    on_one_and_three_threads,
};

on_one_and_three_threads!(
    direct_messages_and_broadcasts_of_one_worker_arrive_in_its_order,
    command_acknowledged_on_one_link_is_visible_on_another,
    commands_are_applied_in_arrival_order_across_links,
    join_on_one_link_affects_a_later_send_on_another,
    slow_handler_receives_events_of_its_clients_in_order,
);

const TRIES: u64 = 150;

async fn direct_messages_and_broadcasts_of_one_worker_arrive_in_its_order(threads: usize) {
    let (suite, mut worker, mut clients) = connect_clients(threads, 4).await;
    let ids: Vec<ConnectionId> = clients.iter().map(|(_, id)| *id).collect();
    for client in ids.clone() {
        worker.command(Command::BindUid { client, uid: uid("all") }).await;
        worker.command(Command::JoinGroup { client, group: group("all") }).await;
    }
    for at in 0..TRIES {
        let message = Message::text(at.to_string());
        match at % 5 {
            0 | 3 => {
                for to in ids.clone() {
                    let message = message.clone();
                    worker.command(Command::SendToClient { to, message }).await;
                }
            }
            1 => worker.command(Command::SendToAll { to: Recipients::All, message }).await,
            2 => {
                let (groups, exclude) = (vec![group("all")], vec![]);
                worker.command(Command::SendToGroups { groups, exclude, message }).await;
            }
            _ => worker.command(Command::SendToUids { uids: vec![uid("all")], message }).await,
        }
    }
    for (browser, id) in &mut clients {
        for at in 0..TRIES {
            assert_eq!(browser.receive_text().await, at.to_string(), "at {id}");
        }
    }
    drop(suite);
}

async fn command_acknowledged_on_one_link_is_visible_on_another(threads: usize) {
    let (suite, _worker, clients) = connect_clients(threads, 4).await;
    let (mut one, mut other) = (suite.peer(0).await, suite.peer(0).await);
    for at in 0..TRIES {
        let (_, client) = clients[at as usize % clients.len()];
        one.command(Command::JoinGroup { client, group: group(&format!("g{at}")) }).await;
        one.acknowledged().await;
        let count = other.query(Query::Count { group: Some(group(&format!("g{at}"))) }).await;
        assert_eq!(count, Answer::Count(1), "try {at}");
    }
}

/// PHP workers do this: they join a group on the event link and count its members on another.
async fn commands_are_applied_in_arrival_order_across_links(threads: usize) {
    let (suite, mut worker, clients) = connect_clients(threads, 4).await;
    let mut other = suite.peer(0).await;
    for at in 0..TRIES {
        let (_, client) = clients[at as usize % clients.len()];
        worker.command(Command::JoinGroup { client, group: group(&format!("g{at}")) }).await;
        let count = other.query(Query::Count { group: Some(group(&format!("g{at}"))) }).await;
        assert_eq!(count, Answer::Count(1), "try {at}");
    }
}

async fn join_on_one_link_affects_a_later_send_on_another(threads: usize) {
    let (suite, mut worker, mut clients) = connect_clients(threads, 4).await;
    let mut other = suite.peer(0).await;
    for at in 0..TRIES {
        let group = group(&format!("g{at}"));
        let which = at as usize % clients.len();
        let (browser, client) = &mut clients[which];
        worker.command(Command::JoinGroup { client: *client, group: group.clone() }).await;
        let (groups, exclude) = (vec![group], vec![]);
        let message = Message::text(at.to_string());
        other.command(Command::SendToGroups { groups, exclude, message }).await;
        assert_eq!(browser.receive_text().await, at.to_string());
    }
}

/// The worker receives everything before it acknowledges anything, in another order.
async fn slow_handler_receives_events_of_its_clients_in_order(threads: usize) {
    let (suite, mut worker, mut clients) = connect_clients(threads, 3).await;
    for at in 0..50 {
        for (browser, _) in &mut clients {
            browser.send(at.to_string()).await;
        }
    }
    let mut deliveries = Vec::new();
    for _ in 0..50 * clients.len() {
        deliveries.push(worker.event().await);
    }
    for (_, id) in &clients {
        let of_client = deliveries.iter().filter(|delivery| delivery.client == *id);
        let received: Vec<_> = of_client.map(|delivery| delivery.event.clone()).collect();
        let order: Vec<_> = (0..50).map(|at| Event::Message(at.to_string().into())).collect();
        assert_eq!(received, order);
    }
    for delivery in deliveries.iter().rev() {
        worker.ack(delivery).await;
    }
    let (browser, id) = &mut clients[0];
    browser.send("on and on").await;
    assert_eq!(worker.event_of(*id).await, Event::Message("on and on".into()));
    drop(suite);
}

async fn connect_clients(
    threads: usize,
    count: usize,
) -> (Suite, Peer, Vec<(Browser, ConnectionId)>) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let clients = suite.accepted_clients(&mut worker, count).await;
    (suite, worker, clients)
}
