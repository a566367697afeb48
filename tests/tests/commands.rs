//! What each command does to the clients of a gateway.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bytes::Bytes;
use protocol::{
    Answer, Command, ConnectionId, Group, Message, MessageKind, Query, Recipients, Session, Uid,
};
use suite_tests::{Browser, Heard, Peer, Suite, on_one_and_three_threads};

on_one_and_three_threads!(
    a_message_goes_to_one_client_as_text_as_binary_or_as_it_is,
    a_text_that_is_none_goes_out_as_binary,
    a_message_goes_to_all_or_to_some_or_to_all_but_some,
    a_uid_named_twice_hears_twice,
    a_client_in_two_of_the_groups_hears_twice,
    a_closed_client_hears_what_was_queued_and_the_farewell_last,
    a_destroyed_client_hears_no_farewell,
    binding_replaces_and_unbinding_takes_away,
    joining_twice_is_being_in_once,
    a_group_without_members_is_heard_by_nobody,
    a_session_is_replaced_or_changed_in_part,
    a_session_change_that_makes_no_sense_changes_nothing,
    those_who_are_not_there_are_no_error,
);

/// Three clients of one gateway, a worker, and a peer that commands.
struct Scene {
    peer: Peer,
    worker: Peer,
    ann: Browser,
    bob: Browser,
    eve: Browser,
    ids: [ConnectionId; 3],
    // Last, so that a failing test still shows the logs of living processes.
    _suite: Suite,
}

const NOBODY: ConnectionId = ConnectionId(0);

impl Scene {
    async fn start(threads: usize) -> Self {
        let suite = Suite::builder().gateways(1).threads(threads).start().await;
        let mut worker = suite.worker_link(0, "w:1").await;
        let peer = suite.peer(0).await;
        let ann = suite.browser(0).await;
        let ann_id = worker.welcomes().await;
        let bob = suite.browser(0).await;
        let bob_id = worker.welcomes().await;
        let eve = suite.browser(0).await;
        let eve_id = worker.welcomes().await;
        Self { peer, worker, ann, bob, eve, ids: [ann_id, bob_id, eve_id], _suite: suite }
    }

    async fn does(&mut self, command: Command) {
        self.peer.command(command).await;
    }

    /// What each of the three heard since the last time: a mark goes to all of them, behind
    /// everything else.
    async fn heard(&mut self) -> [Vec<Heard>; 3] {
        let message = Message::text("mark");
        self.peer.command(Command::SendToAll { to: Recipients::All, message }).await;
        [
            until_mark(&mut self.ann).await,
            until_mark(&mut self.bob).await,
            until_mark(&mut self.eve).await,
        ]
    }

    async fn ask(&mut self, query: Query) -> Answer {
        self.peer.ask(query).await
    }
}

async fn until_mark(browser: &mut Browser) -> Vec<Heard> {
    let mut heard = Vec::new();
    loop {
        match browser.hears().await {
            Heard::Text(text) if text == "mark" => return heard,
            Heard::End(code) => panic!("the end, with {code:?}"),
            other => heard.push(other),
        }
    }
}

async fn a_message_goes_to_one_client_as_text_as_binary_or_as_it_is(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [_, to, _] = scene.ids;
    scene.does(Command::SendToClient { to, message: Message::text("héllo") }).await;
    scene.does(Command::SendToClient { to, message: Message::binary(vec![0xff]) }).await;
    let frame = Bytes::from_static(b"\x81\x02hi");
    let raw = Message { kind: MessageKind::Raw, body: frame };
    scene.does(Command::SendToClient { to, message: raw }).await;
    let all = vec!["héllo".into(), Heard::Binary(Bytes::from_static(b"\xff")), "hi".into()];
    assert_eq!(scene.heard().await, [vec![], all, vec![]]);
}

async fn a_text_that_is_none_goes_out_as_binary(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let no_text = Message { kind: MessageKind::Text, body: Bytes::from_static(b"\xff\xfe") };
    scene.does(Command::SendToClient { to: scene.ids[0], message: no_text }).await;
    let binary = Heard::Binary(Bytes::from_static(b"\xff\xfe"));
    assert_eq!(scene.heard().await, [vec![binary], vec![], vec![]]);
}

async fn a_message_goes_to_all_or_to_some_or_to_all_but_some(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, bob, _] = scene.ids;
    let mut to = async |to, text| {
        let message = Message::text(text);
        scene.peer.command(Command::SendToAll { to, message }).await;
    };
    to(Recipients::All, "all").await;
    to(Recipients::Only(vec![ann, NOBODY]), "ann").await;
    to(Recipients::Only(vec![]), "nobody").await;
    to(Recipients::Except(vec![bob, NOBODY]), "not bob").await;
    to(Recipients::Except(vec![]), "everybody").await;
    let [ann, bob, eve] = scene.heard().await;
    assert_eq!(ann, texts(&["all", "ann", "not bob", "everybody"]));
    assert_eq!(bob, texts(&["all", "everybody"]));
    assert_eq!(eve, texts(&["all", "not bob", "everybody"]));
}

async fn a_uid_named_twice_hears_twice(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, bob, eve] = scene.ids;
    for (client, name) in [(ann, "one"), (bob, "one"), (eve, "two")] {
        scene.does(Command::BindUid { client, uid: uid(name) }).await;
    }
    let mut to = async |uids: &[&str], text| {
        let uids = uids.iter().map(|name| uid(name)).collect();
        scene.peer.command(Command::SendToUids { uids, message: Message::text(text) }).await;
    };
    to(&["one"], "one").await;
    to(&["two", "one", "two", "none"], "both").await;
    to(&[], "nobody").await;
    let [ann, bob, eve] = scene.heard().await;
    assert_eq!(ann, texts(&["one", "both"]));
    assert_eq!(bob, ann);
    assert_eq!(eve, texts(&["both", "both"]));
}

async fn a_client_in_two_of_the_groups_hears_twice(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, bob, eve] = scene.ids;
    for (client, name) in [(ann, "r"), (ann, "s"), (bob, "r"), (eve, "s")] {
        scene.does(Command::JoinGroup { client, group: group(name) }).await;
    }
    let mut to = async |groups: &[&str], exclude: &[ConnectionId], text| {
        let (groups, exclude) = (groups.iter().map(|name| group(name)).collect(), exclude.to_vec());
        let message = Message::text(text);
        scene.peer.command(Command::SendToGroups { groups, exclude, message }).await;
    };
    to(&["r"], &[], "r").await;
    to(&["r", "s", "none"], &[], "both").await;
    to(&["r", "s"], &[ann, NOBODY], "not ann").await;
    to(&[], &[], "nobody").await;
    let [ann, bob, eve] = scene.heard().await;
    assert_eq!(ann, texts(&["r", "both", "both"]));
    assert_eq!(bob, texts(&["r", "both", "not ann"]));
    assert_eq!(eve, texts(&["both", "not ann"]));
}

async fn a_closed_client_hears_what_was_queued_and_the_farewell_last(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, bob, _] = scene.ids;
    for at in 0..100 {
        scene.does(Command::SendToClient { to: ann, message: at.to_string().into() }).await;
    }
    scene.does(Command::Close { client: ann, farewell: Some("bye".into()) }).await;
    // It is gone for everybody at once, whatever its socket still has to say.
    scene.does(Command::SendToClient { to: ann, message: "too late".into() }).await;
    assert_eq!(scene.ask(Query::IsOnline { client: ann }).await, Answer::Online(false));
    for at in 0..100 {
        assert_eq!(scene.ann.hears_text().await, at.to_string());
    }
    assert_eq!(scene.ann.hears_text().await, "bye");
    assert_eq!(scene.ann.hears().await, Heard::End(Some(1000)));
    assert_eq!(scene.ask(Query::IsOnline { client: bob }).await, Answer::Online(true));
}

async fn a_destroyed_client_hears_no_farewell(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, ..] = scene.ids;
    scene.does(Command::Destroy { client: ann }).await;
    assert_eq!(scene.ann.hears().await, Heard::End(None));
    assert_eq!(scene.ask(Query::IsOnline { client: ann }).await, Answer::Online(false));
    assert_eq!(scene.ask(Query::Count { group: None }).await, Answer::Count(2));
}

async fn binding_replaces_and_unbinding_takes_away(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, bob, eve] = scene.ids;
    for (client, name) in [(ann, "one"), (bob, "one"), (eve, "one"), (ann, "two")] {
        scene.does(Command::BindUid { client, uid: uid(name) }).await;
    }
    scene.does(Command::UnbindUid { client: bob }).await;
    let uids = vec![uid("one"), uid("two")];
    let clients = scene.ask(Query::ClientsOfUids { uids }).await;
    assert_eq!(clients, Answer::Clients(vec![(uid("one"), vec![eve]), (uid("two"), vec![ann])]));
}

async fn joining_twice_is_being_in_once(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, bob, _] = scene.ids;
    for client in [ann, ann, bob] {
        scene.does(Command::JoinGroup { client, group: group("r") }).await;
    }
    let (groups, exclude) = (vec![group("r")], vec![]);
    scene.does(Command::SendToGroups { groups, exclude, message: "r".into() }).await;
    assert_eq!(scene.heard().await, [texts(&["r"]), texts(&["r"]), vec![]]);
    let count = Query::Count { group: Some(group("r")) };
    assert_eq!(scene.ask(count.clone()).await, Answer::Count(2));
    scene.does(Command::LeaveGroup { client: ann, group: group("r") }).await;
    scene.does(Command::LeaveGroup { client: ann, group: group("r") }).await;
    assert_eq!(scene.ask(count).await, Answer::Count(1));
}

async fn a_group_without_members_is_heard_by_nobody(threads: usize) {
    let mut scene = Scene::start(threads).await;
    for client in scene.ids {
        scene.does(Command::JoinGroup { client, group: group("r") }).await;
        scene.does(Command::JoinGroup { client, group: group("s") }).await;
    }
    scene.does(Command::Ungroup { group: group("r") }).await;
    let (groups, exclude) = (vec![group("r")], vec![]);
    scene.does(Command::SendToGroups { groups, exclude, message: "r".into() }).await;
    assert_eq!(scene.heard().await, [const { Vec::new() }; 3]);
    assert_eq!(scene.ask(Query::Groups).await, Answer::Groups(vec![group("s")]));
}

async fn a_session_is_replaced_or_changed_in_part(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [client, ..] = scene.ids;
    let first = session(r#"{"room":1,"n":{"a":1,"b":2}}"#);
    scene.does(Command::SetSession { client, edit: 0, session: first.clone() }).await;
    assert_eq!(scene.ask(Query::Session { client }).await, Answer::Session(Some(first)));
    let changes = session(r#"{"n":{"b":3},"new":true}"#);
    scene.does(Command::UpdateSession { client, edit: 0, changes }).await;
    let merged = session(r#"{"room":1,"n":{"a":1,"b":3},"new":true}"#);
    assert_eq!(scene.ask(Query::Session { client }).await, Answer::Session(Some(merged)));
    scene.does(Command::SetSession { client, edit: 0, session: Session::default() }).await;
    let none = Answer::Session(Some(Session::default()));
    assert_eq!(scene.ask(Query::Session { client }).await, none);
}

async fn a_session_change_that_makes_no_sense_changes_nothing(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [client, ..] = scene.ids;
    let kept = session(r#"{"a":1}"#);
    scene.does(Command::SetSession { client, edit: 0, session: kept.clone() }).await;
    for garbage in ["[1", "5", "\"x\"", "\u{0}"] {
        scene.does(Command::UpdateSession { client, edit: 0, changes: session(garbage) }).await;
    }
    assert_eq!(scene.ask(Query::Session { client }).await, Answer::Session(Some(kept)));
}

async fn those_who_are_not_there_are_no_error(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let [ann, ..] = scene.ids;
    scene.does(Command::Destroy { client: ann }).await;
    for client in [ann, NOBODY, ConnectionId(u32::MAX)] {
        let message = || Message::text("is anybody there?");
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
            Command::Ungroup { group },
        ] {
            scene.does(command).await;
        }
    }
    scene.peer.taken().await;
    assert_eq!(scene.ask(Query::Groups).await, Answer::Groups(vec![]));
    assert_eq!(scene.ask(Query::Session { client: ann }).await, Answer::Session(None));
    // The worker hears of Ann's end once, and of nothing else.
    let close = scene.worker.event().await;
    assert_eq!(close.client, ann);
    assert!(scene.worker.has_no_event().await);
}

fn texts(texts: &[&str]) -> Vec<Heard> {
    texts.iter().map(|text| Heard::from(*text)).collect()
}

fn uid(name: &str) -> Uid {
    Uid::new(name).unwrap()
}

fn group(name: &str) -> Group {
    Group::new(name).unwrap()
}

fn session(text: &str) -> Session {
    Session::from_encoded(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}
