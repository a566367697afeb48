//! What the frames of peers say, with all that PHP reads into them.

use bytes::Bytes;
use protocol::{
    Command, ConnectionId, Fields, Filter, Message, MessageKind, Query, Recipients,
    codec::gateway_worker::{
        BODY_IS_FRAMED, BODY_IS_SCALAR, Frame, Opcode,
        from_peer::{Hello, Ignored, Refused, Said, read},
    },
    name::MAX_NAME,
    session::MAX_PHP_SESSION,
};

use crate::{frame, group, id, php, uid};

fn said(frame: &Frame) -> Said {
    read(frame).unwrap()
}

#[track_caller]
fn command(frame: &Frame) -> Command {
    match said(frame) {
        Said::Command(command) => command,
        other => panic!("no command: {other:?}"),
    }
}

#[track_caller]
fn query(opcode: Opcode, ext: &'static str) -> Query {
    match said(&frame(opcode, 2, ext)) {
        Said::Query(query, _) => query,
        other => panic!("no query: {other:?}"),
    }
}

#[track_caller]
fn ignored(frame: &Frame) -> Ignored {
    match said(frame) {
        Said::Ignored(why) => why,
        other => panic!("not ignored: {other:?}"),
    }
}

/// A frame with a message in it.
fn sending(opcode: Opcode, ext: &'static str) -> Frame {
    Frame { body: Bytes::from_static(b"hi"), ..frame(opcode, 7, ext) }
}

fn hi() -> Message {
    Message::text("hi")
}

fn introduction(opcode: Opcode, body: &'static str) -> Frame {
    Frame { body: Bytes::from_static(body.as_bytes()), ..frame(opcode, 0, "") }
}

#[test]
fn peers_introduce_themselves() {
    let worker =
        introduction(Opcode::WorkerConnect, r#"{"worker_key":"BW:0","secret_key":"s\/k"}"#);
    assert!(worker.is_hello());
    let Said::Hello(hello) = said(&worker) else { panic!() };
    assert_eq!(hello, Hello::Worker { key: "BW:0".into(), secret: "s/k".into() });
    assert_eq!(format!("{hello:?}"), r#"Worker("BW:0")"#, "the secret is not printed");
    let client = introduction(Opcode::GatewayClientConnect, r#"{"secret_key":""}"#);
    assert!(client.is_hello());
    let Said::Hello(hello) = said(&client) else { panic!() };
    assert_eq!(hello, Hello::Client { secret: String::new() });
    let unnamed = introduction(Opcode::WorkerConnect, r#"{"secret_key":"k"}"#);
    let Said::Hello(hello) = said(&unnamed) else { panic!() };
    assert_eq!(hello, Hello::Worker { key: String::new(), secret: "k".into() });
    assert!(!frame(Opcode::IsOnline, 1, "").is_hello());
}

#[test]
fn an_introduction_without_a_secret_ends_the_link_even_where_none_is_needed() {
    for body in [
        "",
        "{",
        "null",
        "5",
        "[]",
        "\"s\"",
        r#"{"worker_key":"BW:0"}"#,
        r#"{"secret_key":5}"#,
        r#"{"secret_key":null}"#,
        r#"{"secret_key":["s"]}"#,
        r#"{"secret_key":"s","worker_key":["BW:0"]}"#,
    ] {
        let refused = read(&introduction(Opcode::WorkerConnect, body)).unwrap_err();
        assert_eq!(refused, Refused::Hello, "{body}");
    }
    for body in ["a:1:{s:10:\"secret_key\";s:1:\"s\";}", "N;", "b:0;", "garbage"] {
        let serialized = Frame { flag: 0, ..introduction(Opcode::WorkerConnect, body) };
        assert_eq!(read(&serialized).unwrap_err(), Refused::Hello, "{body}");
    }
}

#[test]
fn a_message_for_one_client() {
    let to = id(7);
    let sent = sending(Opcode::SendToOne, "");
    assert_eq!(command(&sent), Command::SendToClient { to, message: hi() });
    let framed = Frame { flag: BODY_IS_SCALAR | BODY_IS_FRAMED, ..sent };
    let message = Message { kind: MessageKind::Raw, ..hi() };
    assert_eq!(command(&framed), Command::SendToClient { to, message });
    let array = Frame { flag: BODY_IS_FRAMED, body: Bytes::from_static(b"a:0:{}"), ..framed };
    assert!(matches!(ignored(&array), Ignored::Unframed));
}

#[test]
fn a_broadcast_names_clients_by_values_and_excludes_by_keys() {
    let only = |ids: &[u32]| Recipients::Only(ids.iter().copied().map(ConnectionId).collect());
    let except = |ids: &[u32]| Recipients::Except(ids.iter().copied().map(ConnectionId).collect());
    for (ext, to) in [
        ("", Recipients::All),
        ("0", Recipients::All),
        ("zzz", Recipients::All),
        ("{\"connections\":[1,", Recipients::All),
        ("5", Recipients::All),
        ("[]", Recipients::All),
        (r#"{"connections":null}"#, Recipients::All),
        (r#"{"connections":{"7":7}}"#, only(&[7])),
        (r#"{"connections":{"1":7,"2":"8","3":9.9,"4":true}}"#, only(&[7, 8, 9, 1])),
        (r#"{"connections":[7,7]}"#, only(&[7, 7])),
        (r#"{"connections":[0,-1,"07","x",null,[8],4294967296,4294967295]}"#, only(&[u32::MAX])),
        (r#"{"connections":[]}"#, only(&[])),
        (r#"{"connections":7}"#, only(&[])),
        (r#"{"connections":{"7":7},"exclude":{"7":7}}"#, only(&[7])),
        (r#"{"exclude":{"7":7}}"#, except(&[7])),
        (r#"{"exclude":{"7":0,"8":"","9":false}}"#, except(&[7, 8, 9])),
        (r#"{"exclude":{"7":null}}"#, Recipients::All),
        (r#"{"exclude":[1,2]}"#, except(&[1])),
        (r#"{"exclude":["x"]}"#, Recipients::All),
        (r#"{"exclude":[]}"#, Recipients::All),
        (r#"{"exclude":7}"#, Recipients::All),
        (r#"{"exclude":{"07":1,"x":1,"-7":1}}"#, Recipients::All),
    ] {
        let expected = Command::SendToAll { to, message: hi() };
        assert_eq!(command(&sending(Opcode::SendToAll, ext)), expected, "{ext}");
    }
}

#[test]
fn a_message_for_uids() {
    let uids = |ext| match said(&sending(Opcode::SendToUid, ext)) {
        Said::Command(Command::SendToUids { uids, message }) if message == hi() => uids,
        Said::Ignored(Ignored::Nobody) => vec![],
        other => panic!("{other:?}"),
    };
    assert_eq!(uids(r#"["alice",7]"#), [uid("alice"), uid("7")]);
    assert_eq!(uids(r#"[1,"1"]"#), [uid("1"), uid("1")], "twice, as asked");
    assert_eq!(uids(r#"{"a":"\u4e2d\/","b":5}"#), [uid("中/"), uid("5")]);
    assert_eq!(uids("[1.5,true,\"05\",5.0]"), [uid("1"), uid("1"), uid("05"), uid("5")]);
    assert_eq!(uids(r#"[["a"],{"a":1},null,""]"#), []);
    for none in ["", "zzz", "5", "\"alice\"", "[", "[]", "{}", "[1,]"] {
        assert_eq!(uids(none), [], "{none}");
    }
}

#[test]
fn a_message_for_groups() {
    let groups = |ext| match said(&sending(Opcode::SendToGroup, ext)) {
        Said::Command(Command::SendToGroups { groups, exclude, message }) if message == hi() => {
            (groups, exclude)
        }
        Said::Ignored(Ignored::Nobody) => (vec![], vec![]),
        other => panic!("{other:?}"),
    };
    let of = |ext| groups(ext).0;
    assert_eq!(
        groups(r#"{"group":["g",5],"exclude":null}"#),
        (vec![group("g"), group("5")], vec![])
    );
    assert_eq!(groups(r#"{"group":["g"],"exclude":{"7":7}}"#), (vec![group("g")], vec![id(7)]));
    assert_eq!(groups(r#"{"group":["g"],"exclude":[5,6]}"#), (vec![group("g")], vec![id(1)]));
    assert_eq!(of(r#"{"group":{"x":"g"}}"#), [group("g")]);
    assert_eq!(of(r#"{"group":["g","g",["h"]]}"#), [group("g"), group("g")]);
    for none in ["", "zzz", r#"{"group":"g"}"#, r#"{"groups":["g"]}"#, r#"{"group":[]}"#, "[]"] {
        assert_eq!(of(none), [], "{none}");
    }
}

#[test]
fn names_that_are_empty_to_php_are_none() {
    let long: &'static str = "x".repeat(MAX_NAME + 1).leak();
    for opcode in [Opcode::BindUid, Opcode::JoinGroup, Opcode::LeaveGroup, Opcode::Ungroup] {
        for name in ["", "0"] {
            assert!(matches!(ignored(&frame(opcode, 7, name)), Ignored::EmptyName), "{name:?}");
        }
        assert!(matches!(ignored(&frame(opcode, 7, long)), Ignored::Name(_)));
        for name in ["0.0", "00", " ", "false"] {
            assert!(matches!(said(&frame(opcode, 7, name)), Said::Command(_)), "{name:?}");
        }
    }
}

#[test]
fn one_client_and_a_name() {
    let client = id(7);
    let of = |opcode, ext| command(&frame(opcode, 7, ext));
    assert_eq!(of(Opcode::BindUid, "alice"), Command::BindUid { client, uid: uid("alice") });
    for any in ["alice", "", "0"] {
        assert_eq!(of(Opcode::UnbindUid, any), Command::UnbindUid { client });
    }
    assert_eq!(of(Opcode::JoinGroup, "5"), Command::JoinGroup { client, group: group("5") });
    assert_eq!(of(Opcode::LeaveGroup, "5"), Command::LeaveGroup { client, group: group("5") });
    assert_eq!(of(Opcode::Ungroup, "5"), Command::Ungroup { group: group("5") });
    assert_eq!(of(Opcode::Destroy, ""), Command::Destroy { client });
}

#[test]
fn a_farewell_may_be_empty_and_may_be_missing() {
    let client = id(7);
    let kick = |flag, body: &'static str| {
        let body = Bytes::from_static(body.as_bytes());
        command(&Frame { flag, body, ..frame(Opcode::Kick, 7, "") })
    };
    let farewell = |text: &str| Command::Close { client, farewell: Some(Message::text(text)) };
    assert_eq!(kick(1, "bye"), farewell("bye"));
    assert_eq!(kick(1, ""), farewell(""));
    assert_eq!(kick(0, "N;"), Command::Close { client, farewell: None });
    assert_eq!(kick(0, "a:1:{i:0;i:1;}"), farewell("[1]"));
    assert_eq!(kick(0, "garbage"), farewell(""));
    // PHP frames it whatever the flag says.
    assert_eq!(kick(3, "bye"), farewell("bye"));
}

#[test]
fn sessions_pass_unread() {
    let client = id(7);
    for text in ["", "0", "a:1:{s:1:\"k\";i:1;}", "garbage"] {
        let session = php(text);
        let set = command(&frame(Opcode::SetSession, 7, text));
        assert_eq!(set, Command::SetSession { client, edit: 0, session: session.clone() });
        let update = command(&frame(Opcode::UpdateSession, 7, text));
        assert_eq!(update, Command::UpdateSession { client, edit: 0, changes: session });
    }
    let long = vec![b'x'; MAX_PHP_SESSION + 1];
    assert!(matches!(ignored(&frame(Opcode::SetSession, 7, long)), Ignored::Session(_)));
}

#[test]
fn a_session_does_not_hold_on_to_the_buffer_it_came_in() {
    let buffer = Bytes::from(vec![b'x'; 1000]);
    let set = frame(Opcode::SetSession, 7, buffer.slice(10..20));
    let Command::SetSession { session, .. } = command(&set) else { panic!() };
    assert!(!buffer.as_ptr_range().contains(&session.as_encoded().as_ptr()));
}

#[test]
fn simple_questions() {
    assert_eq!(query(Opcode::IsOnline, ""), Query::IsOnline { client: id(2) });
    assert_eq!(query(Opcode::GetSessionByClientId, ""), Query::Session { client: id(2) });
    assert_eq!(query(Opcode::GetAllClientSessions, ""), Query::Sessions { group: None });
    let of_group = Query::Sessions { group: Some(group("5")) };
    assert_eq!(query(Opcode::GetClientSessionsByGroup, "5"), of_group);
    assert_eq!(query(Opcode::GetClientCountByGroup, ""), Query::Count { group: None });
    let of_group = Query::Count { group: Some(group("0")) };
    assert_eq!(query(Opcode::GetClientCountByGroup, "0"), of_group);
    assert_eq!(query(Opcode::GetGroupIdList, ""), Query::Groups);
    let of_uid = Query::ClientsOfUids { uids: vec![uid("alice")] };
    assert_eq!(query(Opcode::GetClientIdByUid, "alice"), of_uid);
    let uids = vec![uid("123"), uid("zzz")];
    let batch = query(Opcode::BatchGetClientIdByUid, r#"["123",123,"zzz",["x"],""]"#);
    assert_eq!(batch, Query::ClientsOfUids { uids });
    let groups = vec![group("55"), group("room-a")];
    let batch = query(Opcode::BatchGetClientCountByGroup, r#"["55",55,"room-a"]"#);
    assert_eq!(batch, Query::Counts { groups });
}

#[test]
fn chosen_facts_of_chosen_clients() {
    let select = |fields: &str, filter: Filter| {
        let has = |name| fields.contains(name);
        let fields = Fields { uid: has("uid"), groups: has("groups"), session: has("session") };
        Query::Select { fields, filter }
    };
    let any = |groups: &[&str], uids: &[&str], clients: &[u32]| Filter::Any {
        groups: groups.iter().map(|name| group(name)).collect(),
        uids: uids.iter().map(|name| uid(name)).collect(),
        clients: clients.iter().copied().map(ConnectionId).collect(),
    };
    for (ext, expected) in [
        (r#"{"fields":["uid"],"where":[]}"#, select("uid", Filter::All)),
        (r#"{"fields":["uid"],"where":{}}"#, select("uid", Filter::All)),
        (r#"{"fields":["uid"],"where":""}"#, select("uid", Filter::All)),
        (r#"{"fields":["uid"]}"#, select("uid", Filter::All)),
        (
            r#"{"fields":["groups","uid","session"],"where":[]}"#,
            select("uid groups session", Filter::All),
        ),
        (r#"{"fields":["foo"],"where":[]}"#, select("", Filter::All)),
        (
            r#"{"fields":["uid"],"where":{"groups":["a",5]}}"#,
            select("uid", any(&["a", "5"], &[], &[])),
        ),
        (
            r#"{"fields":["uid"],"where":{"uid":[123,["x"]]}}"#,
            select("uid", any(&[], &["123"], &[])),
        ),
        (
            r#"{"fields":["uid"],"where":{"connection_id":{"5":5}}}"#,
            select("uid", any(&[], &[], &[5])),
        ),
        (
            r#"{"fields":[],"where":{"connection_id":["5","05",-5],"uid":["a"],"foo":["b"]}}"#,
            select("", any(&[], &["a"], &[5])),
        ),
        (r#"{"fields":["uid"],"where":{"foo":["1"]}}"#, select("uid", any(&[], &[], &[]))),
        (r#"{"fields":["uid"],"where":{"uid":"a"}}"#, select("uid", any(&[], &[], &[]))),
    ] {
        assert_eq!(query(Opcode::Select, ext), expected, "{ext}");
    }
}

#[test]
fn what_nobody_should_send_is_ignored() {
    assert!(matches!(ignored(&frame(Opcode::Ping, 0, "")), Ignored::Ping));
    for cmd in [0, 2, 17, 29, 199, 206, 255] {
        let unknown = Frame { cmd, ..frame(Opcode::Ping, 0, "") };
        assert!(matches!(ignored(&unknown), Ignored::Unknown(_)));
    }
    for opcode in
        [Opcode::OnConnect, Opcode::OnMessage, Opcode::OnClose, Opcode::OnWebsocketConnect]
    {
        assert!(matches!(ignored(&frame(opcode, 0, "")), Ignored::NotForGateways(_)));
    }
}
