//! Effect of each command on the clients of a gateway.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bytes::Bytes;
use protocol::{
    Answer, CloseFrame, Command, ConnectionId, Excluded, Message, Query, Recipients, Session,
    Target,
};
use suite_tests::{
    Browser, Peer, Received, Suite,
    names::{group, uid},
    on_one_and_three_threads,
};

on_one_and_three_threads!(
    message_to_one_client_is_sent_as_text_binary_or_raw,
    text_with_invalid_utf8_is_sent_as_binary,
    message_is_sent_to_all_some_or_all_except_some,
    uid_listed_twice_receives_twice,
    client_in_two_target_groups_receives_twice,
    closed_client_receives_queued_messages_then_the_final_one,
    close_by_uid_sends_its_code_behind_all_earlier_messages,
    excluded_uids_receive_nothing,
    destroyed_client_receives_no_close_frame,
    bind_replaces_the_uid_and_unbind_removes_it,
    joining_a_group_twice_is_idempotent,
    message_to_an_empty_group_reaches_no_client,
    session_is_replaced_or_updated,
    invalid_session_update_changes_nothing,
    commands_to_absent_clients_are_ignored,
);

/// Three clients of one gateway, a worker, and a peer that sends commands.
struct Scene {
    peer: Peer,
    worker: Peer,
    ann: Browser,
    bob: Browser,
    eve: Browser,
    ids: [ConnectionId; 3],
    // Last, so that a failing test still prints the logs of running processes.
    _suite: Suite,
}

const UNKNOWN: ConnectionId = ConnectionId(0);

impl Scene {
    async fn start(threads: usize) -> Self {
        let suite = Suite::builder().gateways(1).threads(threads).start().await;
        let mut worker = suite.worker_link(0, "w:1").await;
        let peer = suite.peer(0).await;
        let ann = suite.browser(0).await;
        let ann_id = worker.accept_client().await;
        let bob = suite.browser(0).await;
        let bob_id = worker.accept_client().await;
        let eve = suite.browser(0).await;
        let eve_id = worker.accept_client().await;
        Self { peer, worker, ann, bob, eve, ids: [ann_id, bob_id, eve_id], _suite: suite }
    }

    async fn command(&mut self, command: Command) {
        self.peer.command(command).await;
    }

    /// The messages that each of the three received since the last call. A mark sent to all of them delimits it.
    async fn received(&mut self) -> [Vec<Received>; 3] {
        let message = Message::text("mark");
        self.peer.command(Command::SendToAll { to: Recipients::All, message }).await;
        [
            until_mark(&mut self.ann).await,
            until_mark(&mut self.bob).await,
            until_mark(&mut self.eve).await,
        ]
    }

    async fn query(&mut self, query: Query) -> Answer {
        self.peer.query(query).await
    }
}

async fn until_mark(browser: &mut Browser) -> Vec<Received> {
    let mut received = Vec::new();
    loop {
        match browser.receive().await {
            Received::Text(text) if text == "mark" => return received,
            Received::Closed(code) => panic!("closed with {code:?}"),
            other => received.push(other),
        }
    }
}

async fn message_to_one_client_is_sent_as_text_binary_or_raw(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [_, to, _] = scene.ids;
    scene.command(Command::SendToClient { to, message: Message::text("héllo") }).await;
    scene.command(Command::SendToClient { to, message: Message::binary(vec![0xff]) }).await;
    let frame = Bytes::from_static(b"\x81\x02hi");
    let raw = Message::raw(frame);
    scene.command(Command::SendToClient { to, message: raw }).await;
    let all = vec!["héllo".into(), Received::Binary(Bytes::from_static(b"\xff")), "hi".into()];
    assert_eq!(scene.received().await, [vec![], all, vec![]]);
}

async fn text_with_invalid_utf8_is_sent_as_binary(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let no_text = Message { body: Bytes::from_static(b"\xff\xfe"), ..Message::default() };
    scene.command(Command::SendToClient { to: scene.ids[0], message: no_text }).await;
    let binary = Received::Binary(Bytes::from_static(b"\xff\xfe"));
    assert_eq!(scene.received().await, [vec![binary], vec![], vec![]]);
}

async fn message_is_sent_to_all_some_or_all_except_some(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, bob, _] = scene.ids;
    let mut to = async |to, text| {
        let message = Message::text(text);
        scene.peer.command(Command::SendToAll { to, message }).await;
    };
    to(Recipients::All, "all").await;
    to(Recipients::Only(vec![ann, UNKNOWN]), "ann").await;
    to(Recipients::Only(vec![]), "no recipient").await;
    to(Recipients::Except(vec![bob, UNKNOWN]), "not bob").await;
    to(Recipients::Except(vec![]), "every client").await;
    let [ann, bob, eve] = scene.received().await;
    assert_eq!(ann, texts(&["all", "ann", "not bob", "every client"]));
    assert_eq!(bob, texts(&["all", "every client"]));
    assert_eq!(eve, texts(&["all", "not bob", "every client"]));
}

async fn uid_listed_twice_receives_twice(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, bob, eve] = scene.ids;
    for (client, name) in [(ann, "one"), (bob, "one"), (eve, "two")] {
        scene.command(Command::BindUid { client, uid: uid(name) }).await;
    }
    let mut to = async |uids: &[&str], text| {
        let uids = uids.iter().map(|name| uid(name)).collect();
        scene.peer.command(Command::SendToUids { uids, message: Message::text(text) }).await;
    };
    to(&["one"], "one").await;
    to(&["two", "one", "two", "none"], "both").await;
    to(&[], "no recipient").await;
    let [ann, bob, eve] = scene.received().await;
    assert_eq!(ann, texts(&["one", "both"]));
    assert_eq!(bob, ann);
    assert_eq!(eve, texts(&["both", "both"]));
}

async fn client_in_two_target_groups_receives_twice(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, bob, eve] = scene.ids;
    for (client, name) in [(ann, "r"), (ann, "s"), (bob, "r"), (eve, "s")] {
        scene.command(Command::JoinGroup { client, group: group(name) }).await;
    }
    let mut to = async |groups: &[&str], exclude: &[ConnectionId], text| {
        let (groups, exclude) = (groups.iter().map(|name| group(name)).collect(), exclude.to_vec());
        let message = Message::text(text);
        scene.peer.command(Command::SendToGroups { groups, exclude, message }).await;
    };
    to(&["r"], &[], "r").await;
    to(&["r", "s", "none"], &[], "both").await;
    to(&["r", "s"], &[ann, UNKNOWN], "not ann").await;
    to(&[], &[], "no recipient").await;
    let [ann, bob, eve] = scene.received().await;
    assert_eq!(ann, texts(&["r", "both", "both"]));
    assert_eq!(bob, texts(&["r", "both", "not ann"]));
    assert_eq!(eve, texts(&["both", "not ann"]));
}

async fn closed_client_receives_queued_messages_then_the_final_one(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, bob, _] = scene.ids;
    for at in 0..100 {
        scene.command(Command::SendToClient { to: ann, message: at.to_string().into() }).await;
    }
    scene.command(Command::Close { client: ann, farewell: Some("bye".into()) }).await;
    // It is removed at once, although its socket still has data to write.
    scene.command(Command::SendToClient { to: ann, message: "too late".into() }).await;
    assert_eq!(scene.query(Query::IsOnline { client: ann }).await, Answer::Online(false));
    for at in 0..100 {
        assert_eq!(scene.ann.receive_text().await, at.to_string());
    }
    assert_eq!(scene.ann.receive_text().await, "bye");
    assert_eq!(scene.ann.receive().await, Received::Closed(Some(1000)));
    assert_eq!(scene.query(Query::IsOnline { client: bob }).await, Answer::Online(true));
}

async fn close_by_uid_sends_its_code_behind_all_earlier_messages(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, bob, eve] = scene.ids;
    for (client, name) in [(ann, "one"), (bob, "one"), (eve, "two")] {
        scene.command(Command::BindUid { client, uid: uid(name) }).await;
    }
    for at in 0..100 {
        let message = at.to_string().into();
        scene.command(Command::SendToUids { uids: vec![uid("one")], message }).await;
    }
    let frame = CloseFrame::new(4403, "banned").unwrap();
    let farewell = Some("bye".into());
    let close = Command::CloseUid { uid: uid("one"), exclude: vec![], frame, farewell };
    scene.command(close).await;
    let uids = vec![uid("one")];
    assert_eq!(
        scene.query(Query::ClientsOfUids { uids }).await,
        Answer::Clients(vec![(uid("one"), vec![])])
    );
    for browser in [&mut scene.ann, &mut scene.bob] {
        for at in 0..100 {
            assert_eq!(browser.receive_text().await, at.to_string());
        }
        assert_eq!(browser.receive_text().await, "bye");
        assert_eq!(browser.receive_close().await, Some((4403, "banned".to_owned())));
    }
    let frame = CloseFrame::new(3000, "字".repeat(41)).unwrap();
    scene.command(Command::CloseWith { client: eve, frame, farewell: None }).await;
    assert_eq!(scene.eve.receive_close().await, Some((3000, "字".repeat(41))));
}

async fn excluded_uids_receive_nothing(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, bob, eve] = scene.ids;
    for (client, name) in [(ann, "one"), (bob, "one"), (eve, "two")] {
        scene.command(Command::BindUid { client, uid: uid(name) }).await;
        scene.command(Command::JoinGroup { client, group: group("r") }).await;
    }
    let mut to = async |to, clients, uids: &[&str], text| {
        let exclude = Excluded { clients, uids: uids.iter().map(|name| uid(name)).collect() };
        let message = Message::text(text);
        scene.peer.command(Command::SendExcept { to, exclude, message }).await;
    };
    to(Target::All, vec![], &["one", "none"], "not one").await;
    to(Target::All, vec![UNKNOWN], &[], "all").await;
    to(Target::Groups(vec![group("r"), group("none")]), vec![ann], &["two"], "bob").await;
    to(Target::Uids(vec![uid("one"), uid("one")]), vec![bob], &[], "ann twice").await;
    to(Target::Uids(vec![uid("one")]), vec![], &["one"], "no recipient").await;
    let [ann, bob, eve] = scene.received().await;
    assert_eq!(ann, texts(&["all", "ann twice", "ann twice"]));
    assert_eq!(bob, texts(&["all", "bob"]));
    assert_eq!(eve, texts(&["not one", "all"]));
}

async fn destroyed_client_receives_no_close_frame(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, ..] = scene.ids;
    scene.command(Command::Destroy { client: ann }).await;
    assert_eq!(scene.ann.receive().await, Received::Closed(None));
    assert_eq!(scene.query(Query::IsOnline { client: ann }).await, Answer::Online(false));
    assert_eq!(scene.query(Query::Count { group: None }).await, Answer::Count(2));
}

async fn bind_replaces_the_uid_and_unbind_removes_it(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, bob, eve] = scene.ids;
    for (client, name) in [(ann, "one"), (bob, "one"), (eve, "one"), (ann, "two")] {
        scene.command(Command::BindUid { client, uid: uid(name) }).await;
    }
    scene.command(Command::UnbindUid { client: bob }).await;
    let uids = vec![uid("one"), uid("two")];
    let clients = scene.query(Query::ClientsOfUids { uids }).await;
    assert_eq!(clients, Answer::Clients(vec![(uid("one"), vec![eve]), (uid("two"), vec![ann])]));
}

async fn joining_a_group_twice_is_idempotent(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, bob, _] = scene.ids;
    for client in [ann, ann, bob] {
        scene.command(Command::JoinGroup { client, group: group("r") }).await;
    }
    let (groups, exclude) = (vec![group("r")], vec![]);
    scene.command(Command::SendToGroups { groups, exclude, message: "r".into() }).await;
    assert_eq!(scene.received().await, [texts(&["r"]), texts(&["r"]), vec![]]);
    let count = Query::Count { group: Some(group("r")) };
    assert_eq!(scene.query(count.clone()).await, Answer::Count(2));
    scene.command(Command::LeaveGroup { client: ann, group: group("r") }).await;
    scene.command(Command::LeaveGroup { client: ann, group: group("r") }).await;
    assert_eq!(scene.query(count).await, Answer::Count(1));
}

async fn message_to_an_empty_group_reaches_no_client(threads: usize) {
    let mut scene = Scene::start(threads).await;
    for client in scene.ids {
        scene.command(Command::JoinGroup { client, group: group("r") }).await;
        scene.command(Command::JoinGroup { client, group: group("s") }).await;
    }
    scene.command(Command::Ungroup { group: group("r") }).await;
    let (groups, exclude) = (vec![group("r")], vec![]);
    scene.command(Command::SendToGroups { groups, exclude, message: "r".into() }).await;
    assert_eq!(scene.received().await, [const { Vec::new() }; 3]);
    assert_eq!(scene.query(Query::Groups).await, Answer::Groups(vec![group("s")]));
}

async fn session_is_replaced_or_updated(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [client, ..] = scene.ids;
    let first = session(r#"{"room":1,"n":{"a":1,"b":2}}"#);
    scene.command(Command::SetSession { client, edit: 0, session: first.clone() }).await;
    assert_eq!(scene.query(Query::Session { client }).await, Answer::Session(Some(first)));
    let changes = session(r#"{"n":{"b":3},"new":true}"#);
    scene.command(Command::UpdateSession { client, edit: 0, changes }).await;
    let merged = session(r#"{"room":1,"n":{"a":1,"b":3},"new":true}"#);
    assert_eq!(scene.query(Query::Session { client }).await, Answer::Session(Some(merged)));
    scene.command(Command::SetSession { client, edit: 0, session: Session::default() }).await;
    let none = Answer::Session(Some(Session::default()));
    assert_eq!(scene.query(Query::Session { client }).await, none);
}

async fn invalid_session_update_changes_nothing(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [client, ..] = scene.ids;
    let kept = session(r#"{"a":1}"#);
    scene.command(Command::SetSession { client, edit: 0, session: kept.clone() }).await;
    for garbage in ["[1", "5", "\"x\"", "\u{0}"] {
        scene.command(Command::UpdateSession { client, edit: 0, changes: session(garbage) }).await;
    }
    assert_eq!(scene.query(Query::Session { client }).await, Answer::Session(Some(kept)));
}

async fn commands_to_absent_clients_are_ignored(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, ..] = scene.ids;
    scene.command(Command::Destroy { client: ann }).await;
    for client in [ann, UNKNOWN, ConnectionId(u32::MAX)] {
        let message = || Message::text("hello?");
        let (name, group) = (uid("one"), group("r"));
        for command in [
            Command::SendToClient { to: client, message: message() },
            Command::SendToAll { to: Recipients::Only(vec![client]), message: message() },
            Command::BindUid { client, uid: name },
            Command::UnbindUid { client },
            Command::JoinGroup { client, group: group.clone() },
            Command::LeaveGroup { client, group: group.clone() },
            Command::SetSession { client, edit: 0, session: session("{}") },
            Command::UpdateSession { client, edit: 0, changes: session("{}") },
            Command::Close { client, farewell: Some(message()) },
            Command::Destroy { client },
            Command::CloseWith {
                client,
                frame: CloseFrame::new(4000, "").unwrap(),
                farewell: Some(message()),
            },
            Command::CloseUid {
                uid: uid("none"),
                exclude: vec![client],
                frame: CloseFrame::default(),
                farewell: Some(message()),
            },
            Command::JoinGroupByUid { uid: uid("none"), group: group.clone() },
            Command::LeaveGroupByUid { uid: uid("none"), group: group.clone() },
            Command::Ungroup { group },
        ] {
            scene.command(command).await;
        }
    }
    scene.peer.acknowledged().await;
    assert_eq!(scene.query(Query::Groups).await, Answer::Groups(vec![]));
    assert_eq!(scene.query(Query::Session { client: ann }).await, Answer::Session(None));
    // The worker receives one close event for Ann, and nothing else.
    let close = scene.worker.event().await;
    assert_eq!(close.client, ann);
    assert!(scene.worker.has_no_event().await);
}

fn texts(texts: &[&str]) -> Vec<Received> {
    texts.iter().map(|text| Received::from(*text)).collect()
}

fn session(text: &str) -> Session {
    Session::from_encoded(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}
