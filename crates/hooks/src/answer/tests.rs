//! Answers that are read, and answers that are not.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const JSON: &str = "application/json; charset=utf-8";

fn answered(json: Value) -> Result<Answered, Unreadable> {
    message(StatusCode::OK, JSON, &Bytes::from(json.to_string()))
}

fn accepted(json: Value) -> Result<Accepted, Unreadable> {
    connect(JSON, json.to_string().as_bytes())
}

#[test]
fn empty_answers_do_nothing() {
    for (status, kind, body) in [(200, "", ""), (204, "text/plain", "x"), (200, JSON, "{}")] {
        let status = StatusCode::from_u16(status).unwrap();
        let answered = message(status, kind, &Bytes::from(body)).unwrap();
        assert!(answered.reply.is_empty() && answered.commands.is_empty(), "{status} {body}");
        assert!(answered.session.is_none() && answered.close.is_none(), "{status} {body}");
    }
    for (kind, body) in [("", ""), (JSON, "{}"), ("text/html", "ok")] {
        let accepted = connect(kind, body.as_bytes()).unwrap();
        assert!(accepted.uid.is_none() && accepted.session.is_empty(), "{body}");
    }
}

#[test]
fn message_answer_is_read_in_full() {
    let answered = answered(json!({
        "reply": ["a", {"text": "b"}, {"base64": "AP8="}, {"data": {"c": 1}}],
        "commands": [{"op": "join", "group": "g", "client": "7f0000010b5400000001"}],
        "session": {"d": 2},
        "close": {"code": 4001, "reason": "over"},
    }))
    .unwrap();
    let expected = [
        Message::text("a"),
        Message::text("b"),
        Message::binary(vec![0, 255]),
        Message::text(r#"{"c":1}"#),
    ];
    assert_eq!(answered.reply, expected);
    assert!(matches!(&answered.commands[..], [Operation::Join(_)]), "{:?}", answered.commands);
    assert_eq!(Value::Object(answered.session.unwrap()), json!({"d": 2}));
    assert_eq!(answered.close, Some(Close::new(4001, "over").unwrap()));
}

#[test]
fn body_that_is_not_json_is_the_reply() {
    let reply = |kind: &str, body: &'static [u8]| {
        message(StatusCode::OK, kind, &Bytes::from_static(body)).unwrap().reply
    };
    assert_eq!(reply("text/html; charset=utf-8", b"{}"), [Message::text("{}")]);
    assert_eq!(reply("TEXT/plain", b"\xFF"), [Message::binary(b"\xFF".as_slice())]);
    assert_eq!(reply("image/png", b"x"), [Message::binary(b"x".as_slice())]);
    assert_eq!(reply("", b"x"), [Message::binary(b"x".as_slice())]);
    let problem = message(StatusCode::OK, "application/problem+json", &Bytes::from("[]"));
    problem.unwrap_err();
}

#[test]
fn connect_answer_is_read_in_full() {
    let accepted = accepted(json!({
        "uid": 7,
        "groups": ["lobby", 8],
        "session": {"a": 1},
        "subprotocol": "v1",
        "send": ["welcome"],
        "headers": {"set-cookie": ["a=b", "c=d"], "x-one": "1"},
    }))
    .unwrap();
    assert_eq!(accepted.uid, Some(7.into()));
    assert_eq!(accepted.send, [Message::text("welcome")]);
    let grant = accepted.grant().unwrap();
    let groups: Vec<_> = grant.groups().iter().map(ToString::to_string).collect();
    assert_eq!(
        (groups, grant.subprotocol()),
        (vec!["lobby".to_owned(), "8".to_owned()], Some("v1"))
    );
    let headers: Vec<_> = grant.headers().iter().map(ToString::to_string).collect();
    assert_eq!(headers, ["set-cookie: a=b", "set-cookie: c=d", "x-one: 1"]);
}

#[test]
fn answers_of_another_form_are_unreadable() {
    for json in [
        json!([]),
        json!({"replies": []}),
        json!({"reply": [1]}),
        json!({"reply": [{"text": "a", "data": 1}]}),
        json!({"reply": [{"base64": "!"}]}),
        json!({"close": {"code": 1006}}),
        json!({"close": {"code": 4000, "reason": "x".repeat(124)}}),
        json!({"close": {"code": 4000, "because": "x"}}),
        json!({"session": []}),
        json!({"commands": [{"op": "sendd"}]}),
        json!({"commands": [{"op": "join", "group": "g", "client": "x"}]}),
        json!({"commands": vec![json!({"op": "ungroup", "group": "g"}); 1001]}),
    ] {
        assert!(answered(json.clone()).is_err(), "{json}");
    }
    for json in [
        json!({"uid": ""}),
        json!({"uid": 1.5}),
        json!({"uid": "x".repeat(2000)}),
        json!({"groups": [""]}),
        json!({"groups": vec!["g"; 1001]}),
        json!({"session": 1}),
        json!({"subprotocol": "a b"}),
        json!({"headers": {"connection": "close"}}),
        json!({"headers": {"a": "b\r\nc: d"}}),
        json!({"headers": {"a": [1]}}),
        json!({"expires_at": -7}),
        json!({"expires": 7}),
    ] {
        assert!(accepted(json.clone()).is_err(), "{json}");
    }
    let deep = format!("{{\"session\":{}{}}}", "{\"a\":".repeat(10_000), "1");
    message(StatusCode::OK, JSON, &Bytes::from(deep)).unwrap_err();
}

#[test]
fn close_answer_has_commands_only() {
    let commands = r#"{"commands":[{"op":"ungroup","group":"g"}]}"#;
    assert_eq!(close(JSON, commands.as_bytes()).unwrap().len(), 1);
    for (kind, body) in [("", ""), ("text/html", "bye"), (JSON, "{}")] {
        assert!(close(kind, body.as_bytes()).unwrap().is_empty(), "{body}");
    }
    close(JSON, br#"{"reply":["x"]}"#).unwrap_err();
}

#[test]
fn refusal_has_the_message_of_its_error() {
    let json = br#"{"error":{"code":"x","message":"sign in"}}"#;
    assert_eq!(refusal(JSON, json), "sign in");
    assert_eq!((refusal("text/html", json), refusal(JSON, b"no")), (String::new(), String::new()));
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer_or_unreadable(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        is_json in any::<bool>(),
    ) {
        let kind = if is_json { JSON } else { "text/plain" };
        let _ = connect(kind, &body);
        let _ = refusal(kind, &body);
        let _ = close(kind, &body);
        let _ = message(StatusCode::OK, kind, &body.into());
    }
}

#[test]
fn answer_to_a_refresh_is_a_time_or_nothing() {
    for (kind, body, expected) in [
        (JSON, r#"{"expires_at":7}"#, Some(7)),
        (JSON, "{}", None),
        (JSON, "", None),
        ("text/html", "ok", None),
    ] {
        assert_eq!(refresh(kind, body.as_bytes()).unwrap(), expected, "{body}");
    }
    for body in ["{", r#"{"expires_at":"7"}"#, r#"{"expires_at":-1}"#, r#"{"session":{}}"#] {
        assert!(refresh(JSON, body.as_bytes()).is_err(), "{body}");
    }
}
