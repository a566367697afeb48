//! Answers of a gateway to each query and their order, merged from any number of shards.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bytes::Bytes;
use protocol::{Answer, Command, ConnectionId, Fields, Filter, Group, Query, Row, Session};
use suite_tests::{
    Browser, Peer, Suite,
    names::{group, uid},
    on_one_and_three_threads,
};

on_one_and_three_threads!(
    online_status_is_reported,
    sessions_are_ordered_by_connection_and_within_a_group_by_join,
    clients_of_a_uid_are_ordered_by_bind,
    clients_and_members_are_counted,
    groups_exist_while_they_have_members,
    selected_fields_of_all_clients_are_ordered_by_connection,
    clients_selected_by_group_uid_or_id_are_listed_once,
    closed_clients_are_in_no_answer,
);

/// Clients of one gateway, enough for every shard to have some, and a peer that sends queries.
struct Scene {
    peer: Peer,
    worker: Peer,
    browsers: Vec<Browser>,
    ids: Vec<ConnectionId>,
    _suite: Suite,
}

const CLIENTS: usize = 12;

/// Two orders that differ from the connection order and from each other.
const ONE_ORDER: [usize; CLIENTS] = [5, 2, 11, 8, 0, 3, 10, 7, 1, 9, 4, 6];
const OTHER_ORDER: [usize; CLIENTS] = [9, 6, 3, 0, 10, 7, 4, 1, 11, 8, 5, 2];

impl Scene {
    async fn start(threads: usize) -> Self {
        let suite = Suite::builder().gateways(1).threads(threads).start().await;
        let mut worker = suite.worker_link(0, "w:1").await;
        let peer = suite.peer(0).await;
        let (browsers, ids) =
            suite.accepted_clients(&mut worker, CLIENTS).await.into_iter().unzip();
        Self { peer, worker, browsers, ids, _suite: suite }
    }

    async fn bind(&mut self, at: usize, name: &str) {
        let client = self.ids[at];
        self.peer.command(Command::BindUid { client, uid: uid(name) }).await;
    }

    async fn join(&mut self, at: usize, name: &str) {
        let client = self.ids[at];
        self.peer.command(Command::JoinGroup { client, group: group(name) }).await;
    }

    async fn remember(&mut self, at: usize, session: Session) {
        let client = self.ids[at];
        self.peer.command(Command::SetSession { client, edit: 0, session }).await;
    }

    fn ids(&self, order: &[usize]) -> Vec<ConnectionId> {
        order.iter().map(|at| self.ids[*at]).collect()
    }

    async fn query(&mut self, query: Query) -> Answer {
        self.peer.query(query).await
    }
}

async fn online_status_is_reported(threads: usize) {
    let mut scene = Scene::start(threads).await;
    for client in scene.ids.clone() {
        assert_eq!(scene.query(Query::IsOnline { client }).await, Answer::Online(true));
        let none = Answer::Session(Some(Session::default()));
        assert_eq!(scene.query(Query::Session { client }).await, none);
    }
    let client = ConnectionId(0);
    assert_eq!(scene.query(Query::IsOnline { client }).await, Answer::Online(false));
    assert_eq!(scene.query(Query::Session { client }).await, Answer::Session(None));
}

async fn sessions_are_ordered_by_connection_and_within_a_group_by_join(threads: usize) {
    let mut scene = Scene::start(threads).await;
    for at in ONE_ORDER {
        scene.remember(at, session(at)).await;
    }
    for at in OTHER_ORDER {
        scene.join(at, "r").await;
    }
    let row = |at: usize| (scene.ids[at], session(at));
    let all: Vec<_> = (0..CLIENTS).map(row).collect();
    let members: Vec<_> = OTHER_ORDER.map(row).into();
    assert_eq!(scene.query(Query::Sessions { group: None }).await, Answer::Sessions(all));
    let of_group = |name| Query::Sessions { group: Some(group(name)) };
    assert_eq!(scene.query(of_group("r")).await, Answer::Sessions(members));
    assert_eq!(scene.query(of_group("s")).await, Answer::Sessions(vec![]));
}

async fn clients_of_a_uid_are_ordered_by_bind(threads: usize) {
    let mut scene = Scene::start(threads).await;
    for at in ONE_ORDER {
        scene.bind(at, "one").await;
    }
    for at in [1, 0] {
        scene.bind(at, "two").await;
    }
    // A client that binds again is the last.
    scene.bind(1, "one").await;
    let mut ones: Vec<usize> = ONE_ORDER.into_iter().filter(|at| !matches!(at, 0 | 1)).collect();
    ones.push(1);
    let uids = ["two", "none", "one", "two"].map(uid).into();
    let clients = Answer::Clients(vec![
        (uid("two"), scene.ids(&[0])),
        (uid("none"), vec![]),
        (uid("one"), scene.ids(&ones)),
    ]);
    assert_eq!(scene.query(Query::ClientsOfUids { uids }).await, clients);
    assert_eq!(scene.query(Query::ClientsOfUids { uids: vec![] }).await, Answer::Clients(vec![]));
}

async fn clients_and_members_are_counted(threads: usize) {
    let mut scene = Scene::start(threads).await;
    for at in 0..5 {
        scene.join(at, "r").await;
    }
    scene.join(0, "s").await;
    let of_group = |name| Query::Count { group: Some(group(name)) };
    assert_eq!(scene.query(Query::Count { group: None }).await, Answer::Count(CLIENTS as u64));
    assert_eq!(scene.query(of_group("r")).await, Answer::Count(5));
    assert_eq!(scene.query(of_group("none")).await, Answer::Count(0));
    let groups = ["s", "none", "r", "s"].map(group).into();
    let counts = Answer::Counts(vec![(group("s"), 1), (group("none"), 0), (group("r"), 5)]);
    assert_eq!(scene.query(Query::Counts { groups }).await, counts);
}

async fn groups_exist_while_they_have_members(threads: usize) {
    let mut scene = Scene::start(threads).await;
    assert_eq!(scene.query(Query::Groups).await, Answer::Groups(vec![]));
    let names: Vec<String> = ONE_ORDER.iter().map(|at| format!("g{at}")).collect();
    for (at, name) in OTHER_ORDER.into_iter().zip(&names) {
        scene.join(at, name).await;
    }
    let groups: Vec<Group> = names.iter().map(|name| group(name)).collect();
    assert_eq!(scene.query(Query::Groups).await, Answer::Groups(groups.clone()));
    let (client, left) = (scene.ids[OTHER_ORDER[0]], groups[0].clone());
    scene.peer.command(Command::LeaveGroup { client, group: left }).await;
    assert_eq!(scene.query(Query::Groups).await, Answer::Groups(groups[1..].to_vec()));
}

async fn selected_fields_of_all_clients_are_ordered_by_connection(threads: usize) {
    let mut scene = Scene::start(threads).await;
    for at in ONE_ORDER {
        scene.bind(at, &format!("u{at}")).await;
        scene.remember(at, session(at)).await;
    }
    for at in OTHER_ORDER {
        scene.join(at, "z").await;
        scene.join(at, "a").await;
    }
    let every = Fields { uid: true, groups: true, session: true };
    let rows: Vec<Row> = (0..CLIENTS)
        .map(|at| Row {
            client: scene.ids[at],
            uid: Some(uid(&format!("u{at}"))),
            groups: vec![group("z"), group("a")],
            session: Some(session(at)),
            joined: false,
        })
        .collect();
    let all = |fields| Query::Select { fields, filter: Filter::All };
    assert_eq!(scene.query(all(every)).await, Answer::Rows(rows.clone()));

    let bare: Vec<Row> = scene.ids.iter().map(|id| row(*id)).collect();
    assert_eq!(scene.query(all(Fields::default())).await, Answer::Rows(bare));
    let uids = Fields { uid: true, ..Fields::default() };
    let only_uids: Vec<Row> =
        rows.into_iter().map(|full| Row { uid: full.uid, ..row(full.client) }).collect();
    assert_eq!(scene.query(all(uids)).await, Answer::Rows(only_uids));
}

async fn clients_selected_by_group_uid_or_id_are_listed_once(threads: usize) {
    let mut scene = Scene::start(threads).await;
    for at in [7, 3, 5] {
        scene.join(at, "r").await;
    }
    for at in [3, 9] {
        scene.bind(at, "ann").await;
    }
    let mut chosen = async |groups: &[&str], uids: &[&str], clients: Vec<ConnectionId>| {
        let groups = groups.iter().map(|name| group(name)).collect();
        let uids = uids.iter().map(|name| uid(name)).collect();
        let filter = Filter::Any { groups, uids, clients };
        match scene.peer.query(Query::Select { fields: Fields::default(), filter }).await {
            Answer::Rows(rows) => {
                let mut found: Vec<ConnectionId> = rows.iter().map(|row| row.client).collect();
                found.sort();
                found
            }
            other => panic!("expected rows, received {other:?}"),
        }
    };
    let sorted = |order: &[usize]| {
        let mut ids: Vec<ConnectionId> = order.iter().map(|at| scene.ids[*at]).collect();
        ids.sort();
        ids
    };
    let (one, two) = (scene.ids[3], scene.ids[1]);
    assert_eq!(chosen(&["r"], &[], vec![]).await, sorted(&[3, 5, 7]));
    assert_eq!(chosen(&["r", "none"], &["ann"], vec![]).await, sorted(&[3, 5, 7, 9]));
    assert_eq!(chosen(&[], &["ann"], vec![two, one]).await, sorted(&[1, 3, 9]));
    assert_eq!(chosen(&[], &[], vec![ConnectionId(0)]).await, sorted(&[]));
    assert_eq!(chosen(&[], &[], vec![]).await, sorted(&[]));
}

async fn closed_clients_are_in_no_answer(threads: usize) {
    let mut scene = Scene::start(threads).await;
    for at in 0..CLIENTS {
        scene.join(at, "r").await;
        scene.bind(at, "ann").await;
    }
    // Every other client disconnects.
    let stay: Vec<usize> = (0..CLIENTS).filter(|at| at % 2 == 0).collect();
    let mut at = 0;
    scene.browsers.retain(|_| {
        at += 1;
        at % 2 == 1
    });
    for _ in 0..CLIENTS / 2 {
        scene.worker.event().await;
    }
    let ids = scene.ids(&stay);
    let clients = Answer::Clients(vec![(uid("ann"), ids.clone())]);
    assert_eq!(scene.query(Query::ClientsOfUids { uids: vec![uid("ann")] }).await, clients);
    let count = Query::Count { group: Some(group("r")) };
    assert_eq!(scene.query(count).await, Answer::Count(ids.len() as u64));
    let fields = Fields::default();
    let rows = ids.iter().map(|id| row(*id)).collect();
    let all = Query::Select { fields, filter: Filter::All };
    assert_eq!(scene.query(all).await, Answer::Rows(rows));
}

fn row(client: ConnectionId) -> Row {
    Row { client, uid: None, groups: vec![], session: None, joined: false }
}

fn session(at: usize) -> Session {
    Session::from_encoded(Bytes::from(format!(r#"{{"at":{at}}}"#))).unwrap()
}
