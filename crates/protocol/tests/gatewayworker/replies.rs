//! Replies to queries, taken from the transcript of a live gateway.

use push_suite_protocol::{
    Answer, Row, Session,
    codec::gateway_worker::{
        InvalidRequest, Opcode,
        from_peer::{PeerMessage, read},
        reply::{NoReply, Reply},
    },
    php::{JsonDecodeError, MAX_DEPTH, MAX_VALUES},
};

use crate::{frame, group, id, php, reply, uid};

const SESSION: &str = r#"a:2:{s:1:"k";d:0.1;s:1:"n";a:2:{i:0;s:1:"z";i:1;s:1:"y";}}"#;

fn row(client: u32, name: Option<&str>, groups: &[&str]) -> Row {
    Row {
        client: id(client),
        uid: name.map(uid),
        groups: groups.iter().map(|name| group(name)).collect(),
        session: None,
        joined: !groups.is_empty(),
    }
}

#[test]
fn is_online_replies_with_one_or_zero() {
    assert_eq!(reply(Opcode::IsOnline, "", &Answer::Online(true)), "i:1;");
    assert_eq!(reply(Opcode::IsOnline, "", &Answer::Online(false)), "i:0;");
}

#[test]
fn session_is_replied_unchanged() {
    let session = |session| reply(Opcode::GetSessionByClientId, "", &Answer::Session(session));
    assert_eq!(session(Some(php(SESSION))), SESSION);
    assert_eq!(session(Some(Session::default())), "a:0:{}");
    assert_eq!(session(Some(php("0"))), "a:0:{}");
    assert_eq!(session(Some(php("garbage"))), "garbage");
    assert_eq!(session(None), "N;");
    let json = Session::from_encoded(r#"{"5":[1.5]}"#.into()).unwrap();
    assert_eq!(session(Some(json)), "a:1:{i:5;a:1:{i:0;d:1.5;}}");
}

#[test]
fn sessions_are_keyed_by_connection() {
    let all = Answer::Sessions(vec![(id(2), php(SESSION)), (id(3), Session::default())]);
    let text = format!(r#"a:2:{{i:2;s:58:"{SESSION}";i:3;s:0:"";}}"#);
    assert_eq!(reply(Opcode::GetAllClientSessions, "", &all), text);
    assert_eq!(reply(Opcode::GetClientSessionsByGroup, "55", &all), text);
    let none = Answer::Sessions(vec![]);
    assert_eq!(reply(Opcode::GetClientSessionsByGroup, "nope", &none), "a:0:{}");
    assert_eq!(reply(Opcode::GetClientSessionsByGroup, "", &all), "a:0:{}");
}

#[test]
fn clients_are_listed_by_uid() {
    let one = |clients| Answer::Clients(vec![(uid("123"), clients)]);
    let of = |ext, answer: &Answer| reply(Opcode::GetClientIdByUid, ext, answer);
    assert_eq!(of("123", &one(vec![id(2)])), "a:1:{i:0;i:2;}");
    assert_eq!(of("123", &one(vec![id(9), id(2)])), "a:2:{i:0;i:9;i:1;i:2;}");
    assert_eq!(of("123", &one(vec![])), "a:0:{}");
    assert_eq!(of("", &one(vec![id(2)])), "a:0:{}");
    let batch = |ext, answer: &Answer| reply(Opcode::BatchGetClientIdByUid, ext, answer);
    let two = |second| Answer::Clients(vec![(uid("123"), vec![id(2)]), (uid(second), vec![])]);
    let text = r#"a:2:{i:123;a:1:{i:0;i:2;}s:3:"zzz";a:0:{}}"#;
    assert_eq!(batch(r#"["123",123,"zzz"]"#, &two("zzz")), text);
    let text = r#"a:2:{i:123;a:1:{i:0;i:2;}s:1:"q";a:0:{}}"#;
    assert_eq!(batch(r#"{"a":"123","b":"q"}"#, &two("q")), text);
    let text = r#"a:3:{s:0:"";a:0:{}i:123;a:1:{i:0;i:2;}s:1:"q";a:0:{}}"#;
    assert_eq!(batch(r#"[null,123,"q","",["nested"]]"#, &two("q")), text);
    for none in ["[]", "", "zzz", "5"] {
        assert_eq!(batch(none, &Answer::Clients(vec![])), "a:0:{}", "{none:?}");
    }
}

#[test]
fn counts_are_listed_by_group() {
    let count = |ext, count| reply(Opcode::GetClientCountByGroup, ext, &Answer::Count(count));
    assert_eq!(count("55", 1), "i:1;");
    assert_eq!(count("", 3), "i:3;");
    let long = "x".repeat(2000).leak();
    assert_eq!(count(long, 7), "i:0;", "no group has such a name");
    let counts = Answer::Counts(vec![(group("55"), 1), (group("room-a"), 1), (group("nope"), 0)]);
    assert_eq!(
        reply(Opcode::BatchGetClientCountByGroup, r#"["55",55,"room-a","nope"]"#, &counts),
        r#"a:3:{i:55;i:1;s:6:"room-a";i:1;s:4:"nope";i:0;}"#
    );
    let none = Answer::Counts(vec![]);
    assert_eq!(reply(Opcode::BatchGetClientCountByGroup, "{", &none), "a:0:{}");
}

#[test]
fn group_named_as_a_canonical_int_is_an_int() {
    let groups = ["55", "room-a", "007", "-5"].map(group).to_vec();
    assert_eq!(
        reply(Opcode::GetGroupIdList, "", &Answer::Groups(groups)),
        r#"a:4:{i:0;i:55;i:1;s:6:"room-a";i:2;s:3:"007";i:3;i:-5;}"#
    );
}

#[test]
fn rows_have_the_requested_columns_in_order() {
    let select = |ext, rows: &[Row]| reply(Opcode::Select, ext, &Answer::Rows(rows.to_vec()));
    let bound = row(2, Some("123"), &["55", "room-a", "007", "-5"]);
    assert_eq!(
        select(r#"{"fields":["uid"],"where":[]}"#, std::slice::from_ref(&bound)),
        r#"a:1:{i:2;a:1:{s:3:"uid";s:3:"123";}}"#
    );
    let full = Row { session: Some(php(SESSION)), ..bound };
    assert_eq!(
        select(r#"{"fields":["session","uid","groups"],"where":[]}"#, &[full]),
        format!(
            concat!(
                r#"a:1:{{i:2;a:3:{{s:7:"session";s:58:"{}";s:3:"uid";s:3:"123";"#,
                r#"s:6:"groups";a:4:{{i:55;s:2:"55";s:6:"room-a";s:6:"room-a";"#,
                r#"s:3:"007";s:3:"007";i:-5;s:2:"-5";}}}}}}"#,
            ),
            SESSION
        )
    );
    let bare = row(3, None, &[]);
    assert_eq!(
        select(
            r#"{"fields":["groups","uid","foo",5,"uid"],"where":[]}"#,
            std::slice::from_ref(&bare)
        ),
        r#"a:1:{i:3;a:4:{s:6:"groups";N;s:3:"uid";N;s:3:"foo";N;i:5;N;}}"#
    );
    let chosen = r#"{"fields":[],"where":{"connection_id":[3]}}"#;
    assert_eq!(select(chosen, std::slice::from_ref(&bare)), "a:1:{i:3;a:0:{}}");
    for none in [
        "",
        "zzz",
        "[]",
        "{}",
        "5",
        "\"x\"",
        r#"{"where":[]}"#,
        r#"{"fields":[]}"#,
        r#"{"fields":["uid"],"where":"x"}"#,
    ] {
        assert_eq!(select(none, std::slice::from_ref(&bare)), "a:0:{}", "{none}");
    }
}

#[test]
fn rows_with_uid_and_groups_come_first() {
    let rows = [
        row(1, None, &[]),
        row(2, Some("a"), &["g"]),
        row(3, None, &["g"]),
        row(4, Some("b"), &["g"]),
        row(5, Some("c"), &[]),
    ];
    let order = |fields: &str| {
        let ext = format!(r#"{{"fields":{fields},"where":[]}}"#).leak();
        let text = reply(Opcode::Select, ext, &Answer::Rows(rows.to_vec()));
        // Groups are maps too, but their keys are not ints here.
        let ids = text.split("i:").skip(1).map(|rest| rest.split(';').next().unwrap().to_owned());
        ids.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(order(r#"["uid","groups"]"#), "2 4 1 3 5");
    assert_eq!(order(r#"["groups"]"#), "2 3 4 1 5");
    assert_eq!(order(r#"["uid"]"#), "1 2 3 4 5");
}

#[test]
fn unordered_rows_keep_the_order_of_the_answer() {
    let rows = Answer::Rows(vec![row(1, None, &[]), row(2, None, &["g"])]);
    let ext = r#"{"fields":["groups"],"where":[]}"#;
    let PeerMessage::Query(_, ordered) = read(&frame(Opcode::Select, 0, ext)).unwrap() else {
        panic!("not a query");
    };
    let text =
        |reply: Reply| String::from_utf8(reply.encode(&rows).unwrap()[4..].to_vec()).unwrap();
    assert!(text(ordered.clone()).starts_with("a:2:{i:2;"));
    assert!(text(ordered.unordered()).starts_with("a:2:{i:1;"));
}

#[test]
fn client_that_left_all_its_groups_has_an_empty_list() {
    let left = Row { joined: true, ..row(1, None, &[]) };
    let select = r#"{"fields":["groups"],"where":[]}"#;
    let groups = |row: Row| reply(Opcode::Select, select, &Answer::Rows(vec![row]));
    assert_eq!(groups(left), r#"a:1:{i:1;a:1:{s:6:"groups";a:0:{}}}"#);
    assert_eq!(groups(row(1, None, &[])), r#"a:1:{i:1;a:1:{s:6:"groups";N;}}"#);
}

/// A query and its reply, read from a frame.
fn query(opcode: Opcode, ext: &'static str) -> Reply {
    match read(&frame(opcode, 2, ext)) {
        Ok(PeerMessage::Query(_, reply)) => reply,
        other => panic!("not a query: {other:?}"),
    }
}

#[test]
fn query_without_an_answer_has_no_reply() {
    for (opcode, ext) in [
        (Opcode::IsOnline, ""),
        (Opcode::GetSessionByClientId, ""),
        (Opcode::GetAllClientSessions, ""),
        (Opcode::GetClientSessionsByGroup, "g"),
        (Opcode::GetClientIdByUid, "u"),
        (Opcode::BatchGetClientIdByUid, r#"["u",5]"#),
        (Opcode::GetClientCountByGroup, "g"),
        (Opcode::BatchGetClientCountByGroup, r#"["g"]"#),
        (Opcode::Select, r#"{"fields":["uid"]}"#),
        (Opcode::GetGroupIdList, ""),
    ] {
        let other = match opcode {
            Opcode::IsOnline => Answer::Count(5),
            _ => Answer::Online(true),
        };
        for answer in [Answer::Unavailable, other] {
            let reply = query(opcode, ext).encode(&answer);
            assert_eq!(reply, Err(NoReply::Unavailable), "{opcode:?}: {answer:?}");
        }
    }
}

#[test]
fn reply_over_the_limit_is_refused_for_every_query() {
    // Clones of one session share its memory.
    let session = php(&format!(r#"a:1:{{i:0;s:7340032:"{}";}}"#, "x".repeat(7 << 20)));
    // A JSON session that is six times as long in PHP's form.
    let numbers = format!(r#"{{"n":[{}0]}}"#, "0,".repeat(120_000));
    let json = Session::from_encoded(numbers.into()).unwrap();
    let many = |count: u32, session: &Session| {
        Answer::Sessions((1..=count).map(|at| (id(at), session.clone())).collect())
    };
    let all = || query(Opcode::GetAllClientSessions, "");
    assert!(all().encode(&many(18, &session)).is_ok());
    for answer in [many(20, &session), many(110, &json)] {
        assert_eq!(all().encode(&answer), Err(NoReply::TooLong));
        let group = query(Opcode::GetClientSessionsByGroup, "g");
        assert_eq!(group.encode(&answer), Err(NoReply::TooLong));
    }
    let rows = |session: &Session, count| {
        let row = |at| Row { session: Some(session.clone()), ..row(at, None, &[]) };
        Answer::Rows((1..=count).map(row).collect())
    };
    for answer in [rows(&session, 20), rows(&json, 110)] {
        let select = query(Opcode::Select, r#"{"fields":["session"]}"#);
        assert_eq!(select.encode(&answer), Err(NoReply::TooLong));
    }
}

#[test]
fn query_beyond_our_limits_is_refused_instead_of_an_empty_reply() {
    let many: &str = format!("[{}0]", "0,".repeat(MAX_VALUES)).leak();
    let deep: &str = format!("[{}{}]", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH)).leak();
    for opcode in
        [Opcode::BatchGetClientIdByUid, Opcode::BatchGetClientCountByGroup, Opcode::Select]
    {
        for (ext, limit) in [(many, JsonDecodeError::TooMany), (deep, JsonDecodeError::TooDeep)] {
            let refused = read(&frame(opcode, 0, ext)).unwrap_err();
            assert_eq!(refused, InvalidRequest::Query(limit), "{opcode:?}");
        }
    }
    // JSON that PHP cannot read either names no uids.
    assert_eq!(reply(Opcode::BatchGetClientIdByUid, "[", &Answer::Clients(vec![])), "a:0:{}");
}
