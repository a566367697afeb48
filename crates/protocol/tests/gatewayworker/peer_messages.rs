//! Decoding of frames from peers, by PHP's rules.

use bytes::Bytes;
use push_suite_protocol::{
    Command, ConnectionId, Fields, Filter, Message, MessageKind, Query, Recipients,
    codec::gateway_worker::{
        BODY_IS_FRAMED, BODY_IS_SCALAR, Frame, InvalidRequest, Opcode,
        from_peer::{Hello, Ignored, PeerMessage, read},
    },
    name::MAX_NAME,
    session::MAX_PHP_SESSION,
};

use crate::{frame, group, id, php, uid};

fn decoded(frame: &Frame) -> PeerMessage {
    read(frame).unwrap()
}

#[track_caller]
fn command(frame: &Frame) -> Command {
    match decoded(frame) {
        PeerMessage::Command(command) => command,
        other => panic!("not a command: {other:?}"),
    }
}

#[track_caller]
fn query(opcode: Opcode, ext: &'static str) -> Query {
    match decoded(&frame(opcode, 2, ext)) {
        PeerMessage::Query(query, _) => query,
        other => panic!("not a query: {other:?}"),
    }
}

#[track_caller]
fn ignored(frame: &Frame) -> Ignored {
    match decoded(frame) {
        PeerMessage::Ignored(reason) => reason,
        other => panic!("not ignored: {other:?}"),
    }
}

/// A frame that carries a message.
fn message_frame(opcode: Opcode, ext: &'static str) -> Frame {
    Frame { body: Bytes::from_static(b"hi"), ..frame(opcode, 7, ext) }
}

fn hi() -> Message {
    Message::text("hi")
}

fn hello_frame(opcode: Opcode, body: &'static str) -> Frame {
    Frame { body: Bytes::from_static(body.as_bytes()), ..frame(opcode, 0, "") }
}

#[test]
fn handshake_has_role_key_and_secret() {
    let worker = hello_frame(Opcode::WorkerConnect, r#"{"worker_key":"BW:0","secret_key":"s\/k"}"#);
    assert!(worker.is_hello());
    let PeerMessage::Hello(hello) = decoded(&worker) else { panic!() };
    assert_eq!(hello, Hello::Worker { key: "BW:0".into(), secret: "s/k".into() });
    assert_eq!(format!("{hello:?}"), r#"Worker("BW:0")"#, "the secret is not printed");
    let client = hello_frame(Opcode::GatewayClientConnect, r#"{"secret_key":""}"#);
    assert!(client.is_hello());
    let PeerMessage::Hello(hello) = decoded(&client) else { panic!() };
    assert_eq!(hello, Hello::Backend { secret: String::new() });
    let unnamed = hello_frame(Opcode::WorkerConnect, r#"{"secret_key":"k"}"#);
    let PeerMessage::Hello(hello) = decoded(&unnamed) else { panic!() };
    assert_eq!(hello, Hello::Worker { key: String::new(), secret: "k".into() });
    assert!(!frame(Opcode::IsOnline, 1, "").is_hello());
}

#[test]
fn handshake_without_a_secret_is_refused_even_if_none_is_configured() {
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
        let refused = read(&hello_frame(Opcode::WorkerConnect, body)).unwrap_err();
        assert_eq!(refused, InvalidRequest::Hello, "{body}");
    }
    for body in ["a:1:{s:10:\"secret_key\";s:1:\"s\";}", "N;", "b:0;", "garbage"] {
        let serialized = Frame { flag: 0, ..hello_frame(Opcode::WorkerConnect, body) };
        assert_eq!(read(&serialized).unwrap_err(), InvalidRequest::Hello, "{body}");
    }
}

#[test]
fn message_to_one_client_is_decoded() {
    let to = id(7);
    let sent = message_frame(Opcode::SendToOne, "");
    assert_eq!(command(&sent), Command::SendToClient { to, message: hi() });
    let framed = Frame { flag: BODY_IS_SCALAR | BODY_IS_FRAMED, ..sent };
    let message = Message { kind: MessageKind::Raw, ..hi() };
    assert_eq!(command(&framed), Command::SendToClient { to, message });
    let array = Frame { flag: BODY_IS_FRAMED, body: Bytes::from_static(b"a:0:{}"), ..framed };
    assert!(matches!(ignored(&array), Ignored::Unframed));
}

#[test]
fn broadcast_selects_clients_by_values_and_excludes_by_keys() {
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
        assert_eq!(command(&message_frame(Opcode::SendToAll, ext)), expected, "{ext}");
    }
}

#[test]
fn message_to_uids_is_decoded() {
    let uids = |ext| match decoded(&message_frame(Opcode::SendToUid, ext)) {
        PeerMessage::Command(Command::SendToUids { uids, message }) if message == hi() => uids,
        PeerMessage::Ignored(Ignored::NoRecipients) => vec![],
        other => panic!("{other:?}"),
    };
    assert_eq!(uids(r#"["alice",7]"#), [uid("alice"), uid("7")]);
    assert_eq!(uids(r#"[1,"1"]"#), [uid("1"), uid("1")], "twice, as listed");
    assert_eq!(uids(r#"{"a":"\u4e2d\/","b":5}"#), [uid("中/"), uid("5")]);
    assert_eq!(uids("[1.5,true,\"05\",5.0]"), [uid("1"), uid("1"), uid("05"), uid("5")]);
    assert_eq!(uids(r#"[["a"],{"a":1},null,""]"#), []);
    for none in ["", "zzz", "5", "\"alice\"", "[", "[]", "{}", "[1,]"] {
        assert_eq!(uids(none), [], "{none}");
    }
}

#[test]
fn message_to_groups_is_decoded() {
    let groups = |ext| match decoded(&message_frame(Opcode::SendToGroup, ext)) {
        PeerMessage::Command(Command::SendToGroups { groups, exclude, message })
            if message == hi() =>
        {
            (groups, exclude)
        }
        PeerMessage::Ignored(Ignored::NoRecipients) => (vec![], vec![]),
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
fn name_that_is_empty_to_php_is_ignored() {
    let long: &'static str = "x".repeat(MAX_NAME + 1).leak();
    for opcode in [Opcode::BindUid, Opcode::JoinGroup, Opcode::LeaveGroup, Opcode::Ungroup] {
        for name in ["", "0"] {
            assert!(matches!(ignored(&frame(opcode, 7, name)), Ignored::EmptyName), "{name:?}");
        }
        assert!(matches!(ignored(&frame(opcode, 7, long)), Ignored::Name(_)));
        for name in ["0.0", "00", " ", "false"] {
            assert!(
                matches!(decoded(&frame(opcode, 7, name)), PeerMessage::Command(_)),
                "{name:?}"
            );
        }
    }
}

#[test]
fn commands_for_one_client_or_group_are_decoded() {
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
fn last_message_may_be_empty_or_absent() {
    let client = id(7);
    let kick = |flag, body: &'static str| {
        let body = Bytes::from_static(body.as_bytes());
        command(&Frame { flag, body, ..frame(Opcode::Kick, 7, "") })
    };
    let close = |text: &str| Command::Close { client, farewell: Some(Message::text(text)) };
    assert_eq!(kick(1, "bye"), close("bye"));
    assert_eq!(kick(1, ""), close(""));
    assert_eq!(kick(0, "N;"), Command::Close { client, farewell: None });
    assert_eq!(kick(0, "a:1:{i:0;i:1;}"), close("[1]"));
    assert_eq!(kick(0, "garbage"), close(""));
    // PHP frames it regardless of the flag.
    assert_eq!(kick(3, "bye"), close("bye"));
}

#[test]
fn sessions_pass_through_without_validation() {
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
fn session_does_not_retain_the_read_buffer() {
    let buffer = Bytes::from(vec![b'x'; 1000]);
    let set = frame(Opcode::SetSession, 7, buffer.slice(10..20));
    let Command::SetSession { session, .. } = command(&set) else { panic!() };
    assert!(!buffer.as_ptr_range().contains(&session.as_encoded().as_ptr()));
}

#[test]
fn simple_queries_are_decoded() {
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
fn select_is_decoded() {
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
fn unexpected_frame_is_ignored() {
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
